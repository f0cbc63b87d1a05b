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
    except (re.error, TypeError, AttributeError) as error:
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
