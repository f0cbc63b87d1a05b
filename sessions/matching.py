"""Looking for a pattern in a stream that arrives in pieces. Plain; no I/O."""

from __future__ import annotations

import re
from typing import Final

from .errors import Invalid

WINDOW_BYTES: Final = 1 << 16
"""How far back a match may begin. Of a stream that never matches, no more than this is kept."""

CONTEXT_BYTES: Final = 64
"""Kept in front of that, so that ``^`` and look-behind see what really stands there."""


def compile_pattern(pattern: str | bytes | re.Pattern[str] | re.Pattern[bytes]) -> re.Pattern[bytes]:
    """A pattern for bytes. Lines are what ``^`` and ``$`` mean: it is compiled with ``re.MULTILINE`` unless it is compiled already."""
    try:
        if isinstance(pattern, re.Pattern):
            if isinstance(pattern.pattern, bytes):
                return pattern
            return re.compile(pattern.pattern.encode(), pattern.flags & ~re.UNICODE)
        return re.compile(pattern.encode() if isinstance(pattern, str) else pattern, re.MULTILINE)
    except (re.error, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise Invalid(f"pattern {pattern!r} is no regular expression: {error}") from None


class PatternSearch:
    """Searches one stream. A match that touches the end of what is there may still grow: it is *tentative*."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self._pattern = pattern
        self._seen = b""
        self._begin = 0

    def feed(self, data: bytes) -> tuple[re.Match[bytes], bool] | None:
        """The first match so far, and whether it is tentative."""
        seen, begin = self._seen + data, self._begin
        cut = max(0, len(seen) - WINDOW_BYTES - CONTEXT_BYTES)
        self._seen = seen[cut:]
        self._begin = max(begin - cut, len(self._seen) - WINDOW_BYTES, 0)
        match = self._pattern.search(seen, begin)
        return (match, match.end() == len(seen)) if match else None


GROW_SECONDS: Final = 0.05
"""How long a match may grow that ends where the output ends: "port 80" may be the beginning of "port 8080"."""
PIECES: Final = 512
"""So many pieces are searched together, if they are there."""


class OutputSearch:
    """Searches what a command writes, each stream by itself, and decides when a match is the one.

    A match that is followed by more output is. One that touches the end is tentative: it is taken at `deadline`, or when the
    command has ended, if what comes until then does not make it longer or undo it.
    """

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self._searches = {"stdout": PatternSearch(pattern), "stderr": PatternSearch(pattern)}
        self._waiting: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        self._tentative: dict[str, re.Match[bytes]] = {}
        self.deadline = float("inf")
        """When a tentative match is old enough."""

    @property
    def tentative(self) -> re.Match[bytes] | None:
        """The match that would be taken now."""
        return next(iter(self._tentative.values()), None)

    def add(self, stream: str, data: bytes) -> bool:
        """A piece of output; whether there is so much that it must be searched before more is added."""
        if stream not in self._waiting:
            return False
        self._waiting[stream].append(data)
        return len(self._waiting[stream]) >= PIECES

    def search(self, now: float) -> re.Match[bytes] | None:
        """Search what was added; the match, if it is final or old enough."""
        for stream, pieces in self._waiting.items():
            if not pieces:
                continue
            found = self._searches[stream].feed(b"".join(pieces))
            pieces.clear()
            if found is None:
                self._tentative.pop(stream, None)  # what came made it something else
            elif found[1]:
                self._tentative[stream] = found[0]
            else:
                return found[0]
        if not self._tentative:
            self.deadline = float("inf")
        elif self.deadline == float("inf"):
            self.deadline = now + GROW_SECONDS
        return self.tentative if now >= self.deadline else None
