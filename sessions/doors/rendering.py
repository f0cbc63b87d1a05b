"""Records as what a file of them would hold: raw bytes, plain text, text with times. And logs as JSON. No I/O.

Times stand in front of each line, and of the rest of a line that another stream or command has interrupted; so nothing has to
be kept until a line is complete, which may be never.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

import attrs

from ..decoding import TextDecoder
from ..models import Record
from ..texts import Texts

SLICE_BYTES: Final = 3 << 16
"""A multiple of 3, so that pieces of base64 can be put together."""


class Rendering(Protocol):
    def feed(self, records: Sequence[Record]) -> bytes: ...

    def finish(self) -> bytes:
        """What is left at the end."""


class Raw:
    def feed(self, records: Sequence[Record]) -> bytes:
        return b"".join([record.data for record in records])

    def finish(self) -> bytes:
        return b""


class PlainText:
    """What is not UTF-8 is U+FFFD; a character that another stream has interrupted is put together again."""

    def __init__(self, before: Callable[[Record], bytes] | None) -> None:
        self._texts = Texts(before)

    def feed(self, records: Sequence[Record]) -> bytes:
        return "".join([self._texts.feed(record) for record in records if record.data]).encode()

    def finish(self) -> bytes:
        return "".join(text for _, text in self._texts.end_all()).encode()


class Losses:
    """What a log at its size cap has given up is told in thousands of records, one behind the other: here they become one."""

    def __init__(self) -> None:
        self._lost: Record | None = None

    def feed(self, records: Sequence[Record]) -> list[Record]:
        told: list[Record] = []
        for record in records:
            lost = self._lost
            if record.stream != "dropped":
                told += [*self.finish(), record]
            elif lost is not None and lost.command_id == record.command_id:
                self._lost = attrs.evolve(lost, seq=record.seq, dropped_bytes=lost.dropped_bytes + record.dropped_bytes)
            else:
                told += self.finish()
                self._lost = record
        return told

    def finish(self) -> list[Record]:
        """What is left at the end."""
        lost, self._lost = self._lost, None
        return [] if lost is None else [lost]


class StampedText:
    """The same with a time and the name of the stream in front of each line."""

    def __init__(self, before: Callable[[Record], bytes] | None) -> None:
        self._texts = Texts(before)
        self._losses = Losses()
        self._open: tuple[str, str] | None = None
        """Whose line has not ended yet."""
        self._time = 0.0

    def feed(self, records: Sequence[Record]) -> bytes:
        parts: list[str] = []
        for record in self._losses.feed(records):
            self._tell(parts, record)
        return "".join(parts).encode()

    def _tell(self, parts: list[str], record: Record) -> None:
        self._time = record.time
        if record.stream == "dropped":
            self._add(parts, record.command_id, "dropped", f"{record.dropped_bytes} bytes are no longer kept\n")
        else:
            self._add(parts, record.command_id, record.stream, self._texts.feed(record))

    def _add(self, parts: list[str], command_id: str, stream: str, text: str) -> None:
        if not text:
            return
        stamp = f"{rfc3339(self._time)} {stream} "
        if self._open is not None and self._open != (command_id, stream):
            parts.append("\n")
            self._open = None
        if self._open is None:
            parts.append(stamp)
        ends = text.endswith("\n")
        parts.append((text[:-1] if ends else text).replace("\n", "\n" + stamp))
        if ends:
            parts.append("\n")
        self._open = None if ends else (command_id, stream)

    def finish(self) -> bytes:
        parts: list[str] = []
        for record in self._losses.finish():
            self._tell(parts, record)
        for stream, text in self._texts.end_all():
            self._add(parts, self._open[0] if self._open else "", stream, text)
        return "".join([*parts, "\n" if self._open else ""]).encode()


def rfc3339(time: float) -> str:
    """Unix seconds as a date and time in UTC.

    >>> rfc3339(1700000000.25)
    '2023-11-14T22:13:20.250000Z'
    """
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def to_string(data: bytes, as_base64: bool) -> Iterator[bytes]:
    """A JSON string, piece by piece."""
    yield b'"'
    decoder = TextDecoder()
    for begin in range(0, len(data), SLICE_BYTES):
        piece = data[begin : begin + SLICE_BYTES]
        yield (
            binascii.b2a_base64(piece, newline=False)
            if as_base64
            else json.dumps(decoder.feed(piece), ensure_ascii=False)[1:-1].encode()
        )
    yield json.dumps(decoder.finish())[1:-1].encode() + b'"'


def to_object(records: Sequence[Record], as_base64: bool) -> Iterator[bytes]:
    """A log as one JSON object, piece by piece."""
    for name in ("stdout", "stderr", "output"):
        yield b'%c"%s":' % (b"{" if name == "stdout" else b",", name.encode())
        yield from to_string(b"".join([r.data for r in records if name in ("output", r.stream)]), as_base64)
    yield b',"dropped_bytes":%d}\n' % sum(record.dropped_bytes for record in records)
