r"""Two streams in one, as Daytona's clients take them apart. No I/O.

A marker of three bytes, ``01 01 01`` for stdout and ``02 02 02`` for stderr, switches the stream; what follows belongs to it
until the next marker, whatever the borders of frames. There is no length and no escape, but a marker that changes nothing
costs nothing: output that looks like a marker is interrupted by one, so that no three equal bytes of it stand together. Each
frame begins with a marker, ends with output (but for an eager client), and is of a size that all clients can take.

    >>> Framer().frames("stdout", b"\x01\x01\x01 x")
    [b'\x01\x01\x01\x01\x02\x02\x02\x01\x01\x01\x01\x01 x']
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

from ...models import Record

MARKERS: Final = {"stdout": b"\1\1\1", "stderr": b"\2\2\2"}
OTHERS: Final = {"stdout": b"\2\2\2", "stderr": b"\1\1\1"}
MARKER_BYTES: Final = (b"\1", b"\2")
FRAME_BYTES: Final = 1 << 16
"""The client on Node copies a frame to its stack, which holds about twice as much."""
HEAD_BYTES: Final = 12
"""The most that markers around output take: two in front of it, two behind."""
LOOKALIKE: Final = re.compile(rb"\x01{3,}|\x02{3,}")
GROWTH: Final = 4
"""Two bytes of a lookalike become eight at most."""


class Framer:
    """Makes the frames of one connection, in their order."""

    def __init__(self, eager: bool = False) -> None:
        """`eager` is for the client in Python, which keeps back the last two bytes if they may begin a marker, and fewer than
        three bytes behind a marker always. Another marker brings them out at once. The client on Node could not take it.
        """
        self._eager = eager
        self._last = b""
        """The last byte that went out."""

    def frames(self, stream: str, data: bytes) -> list[bytes]:
        found = []
        looks_alike = LOOKALIKE.search(data) is not None
        most = (FRAME_BYTES - HEAD_BYTES) // (GROWTH if looks_alike else 1)
        for begin in range(0, len(data), most):
            piece = data[begin : begin + most]
            frame = self._head(stream) + (interrupt(stream, piece) if looks_alike else piece)
            self._last = piece[-1:]
            if self._eager and (len(piece) < 3 or self._last in MARKER_BYTES):
                frame += self._head(stream)
                self._last = b""
            found.append(frame)
        return found

    def _head(self, stream: str) -> bytes:
        marker = MARKERS[stream]
        # Output that ended with the byte of this marker would be taken for its beginning.
        return OTHERS[stream] + marker if self._last == marker[:1] else marker


def interrupt(stream: str, data: bytes) -> bytes:
    """Output of `stream` in which nothing can be taken for a marker that is none."""
    marker, detour = MARKERS[stream], OTHERS[stream] + MARKERS[stream]

    def split(match: re.Match[bytes]) -> bytes:
        run = match[0]
        # An odd one comes first: the client on Node fails at a frame that ends with a marker and one such byte.
        head = len(run) % 2 or 2
        parts = [run[:head], *(run[begin : begin + 2] for begin in range(head, len(run), 2))]
        return (detour if run[:1] == marker[:1] else marker).join(parts)

    return LOOKALIKE.sub(split, data)


def runs(records: Iterable[Record]) -> Iterator[tuple[str, bytes]]:
    """Neighbouring records of one stream put together: fewer frames."""
    for stream, group in groupby(records, key=lambda record: record.stream):
        data = b"".join([record.data for record in group])
        if data:
            yield stream, data


def mark(records: Iterable[Record]) -> bytes:
    """A whole log with markers."""
    framer = Framer()
    return b"".join([frame for stream, data in runs(records) for frame in framer.frames(stream, data)])
