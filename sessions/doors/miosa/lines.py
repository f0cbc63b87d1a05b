"""What a program writes, as lines. No I/O.

A line is told when it is whole, with its newline; the last one may have none. A line that does not end is cut, never inside a
character, so that a client has bounded messages and the server a bounded memory.

    >>> lines = Lines()
    >>> lines.feed("stdout", b"one\\ntw"), lines.feed("stderr", b"oops\\n"), lines.feed("stdout", b"o"), lines.end()
    ([('stdout', 'one\\n')], [('stderr', 'oops\\n')], [], [('stdout', 'two')])
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ...decoding import TextDecoder
from ...models import Record

LONGEST: Final = 1 << 16
"""Characters of one piece."""
STREAMS: Final = ("stdout", "stderr")


class Lines:
    """The lines of one program."""

    def __init__(self) -> None:
        self._decoders = {stream: TextDecoder() for stream in STREAMS}
        self._open: dict[str, list[str]] = {}
        """Lines that have begun, in the order of their beginnings."""
        self._sizes = dict.fromkeys(STREAMS, 0)

    def feed_all(self, records: Iterable[Record]) -> list[tuple[str, str]]:
        """Pairs of stream and line."""
        return [pair for record in records if record.data for pair in self.feed(record.stream, record.data)]

    def feed(self, stream: str, data: bytes) -> list[tuple[str, str]]:
        return self._take(stream, self._decoders[stream].feed(data))

    def _take(self, stream: str, text: str) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        # Not splitlines, which knows more ends of lines than the newline.
        *whole, rest = text.split("\n")
        for line in whole:
            found += self._add(stream, line + "\n")
            found += self._flush(stream)
        return found + self._add(stream, rest)

    def _add(self, stream: str, text: str) -> list[tuple[str, str]]:
        """What does not fit into one piece goes out."""
        found: list[tuple[str, str]] = []
        while self._sizes[stream] + len(text) > LONGEST:
            room = LONGEST - self._sizes[stream]
            self._open.setdefault(stream, []).append(text[:room])
            text = text[room:]
            found += self._flush(stream)
        if text:
            self._open.setdefault(stream, []).append(text)
            self._sizes[stream] += len(text)
        return found

    def _flush(self, stream: str) -> list[tuple[str, str]]:
        line = "".join(self._open.pop(stream, []))
        self._sizes[stream] = 0
        return [(stream, line)] if line else []

    def end(self) -> list[tuple[str, str]]:
        """What is left of lines and characters that were not completed."""
        found: list[tuple[str, str]] = []
        for stream in dict.fromkeys([*self._open, *STREAMS]):
            found += self._take(stream, self._decoders[stream].finish())
            found += self._flush(stream)
        return found
