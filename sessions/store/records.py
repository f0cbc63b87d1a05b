"""The format of a transcript's index. Plain bytes and values; no I/O.

A session's log is two files. ``transcript`` holds every byte that its commands wrote, in the order of arrival and nothing
else. ``index`` says which of them are whose: 24-byte records, little endian, the first at offset 0:

    offset  size  field
    0       8     time     nanoseconds since 1970, UTC, in whole microseconds (what a float of seconds can carry there
                           and back); never less than in the record before
    8       8     end      size of the transcript after this record; its bytes begin where those of the record before end
    16      4     number   the command's number in the session, from 1
    20      1     kind     1 stdout, 2 stderr; marks, without bytes: 3 started, 4 dropped,
                           16 + r finished for reason r with an exit code, 32 + r finished for reason r without one
                           (r = position in lifecycle.REASONS)
    21      1     value    stdout, stderr: 1 if its bytes have been given up, else 0; finished: the exit code
    22      2     check    CRC-16 (CCITT, from 0xFFFF) of the 22 bytes before

A record's *seq* is its position in the index, from 0.

Valid is a record whose check is right and whose end lies neither before that of the record before it nor beyond the
transcript's size. The writer appends the record first, then the bytes, so every byte has an owner; after a crash the last
record may claim more than is there, and recovery cuts it. A live reader counts the valid records first and never reads
past that count. Where a record is damaged, nobody can say which of the next bytes were its own: they are reported as
dropped, up to the end of the next valid record and as that record's command's.
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from ..lifecycle import REASONS, Outcome
from ..models import StreamName

RECORD_BYTES: Final = 24
BODY: Final = struct.Struct("<QQIBB")
LAYOUT: Final = struct.Struct("<QQIBBH")
OWNER: Final = struct.Struct("<16xIB3x")
"""Number and kind alone."""

STDOUT: Final = 1
STDERR: Final = 2
STARTED: Final = 3
DROPPED: Final = 4
FINISHED: Final = 16
FINISHED_WITHOUT_CODE: Final = 32

KEPT: Final = 0
GIVEN_UP: Final = 1
KIND_OFFSET: Final = 20
"""Where kind, value and check begin in a record: the part that is written again when bytes are given up."""

STREAM_OF: Final[dict[int, StreamName]] = {STDOUT: "stdout", STDERR: "stderr"}
KIND_OF: Final = {"stdout": STDOUT, "stderr": STDERR}


class Span(NamedTuple):
    """A record with the range of the transcript that it owns."""

    seq: int
    time_ns: int
    begin: int
    end: int
    number: int
    kind: int
    value: int

    @property
    def has_bytes(self) -> bool:
        return self.kind <= STDERR

    @property
    def is_finish(self) -> bool:
        return self.kind >= FINISHED


def pack(time_ns: int, end: int, number: int, kind: int, value: int = 0) -> bytes:
    body = BODY.pack(time_ns, end, number, kind, value)
    return body + binascii.crc_hqx(body, 0xFFFF).to_bytes(2, "little")


def pack_outcome(outcome: Outcome) -> tuple[int, int]:
    """The kind and value of a finished mark."""
    reason = REASONS.index(outcome.reason)
    if outcome.exit_code is None:
        return FINISHED_WITHOUT_CODE + reason, 0
    return FINISHED + reason, outcome.exit_code & 0xFF


def unpack_outcome(kind: int, value: int) -> Outcome:
    if kind >= FINISHED_WITHOUT_CODE:
        return Outcome(REASONS[kind - FINISHED_WITHOUT_CODE], None)
    return Outcome(REASONS[kind - FINISHED], value)


def is_kind(kind: int) -> bool:
    return STDOUT <= kind <= DROPPED or (
        0 <= (kind & 0x0F) < len(REASONS) and kind & 0xF0 in (FINISHED, FINISHED_WITHOUT_CODE)
    )


def is_valid(record: bytes) -> bool:
    """Whether a record's check and kind are right."""
    return binascii.crc_hqx(record[:22], 0xFFFF).to_bytes(2, "little") == record[22:] and is_kind(record[20])


def unpack(index: bytes, seq: int, begin: int, size: int, damaged: bool = False) -> Iterator[Span]:
    """The spans in `index`, a piece of an index that starts at record `seq`.

    `begin` is where the last valid record before them ends, `damaged` whether damaged ones come in between, `size` the
    transcript's size. A damaged record yields nothing; the bytes up to the end of the next valid one are then yielded as given up.
    """
    crc = binascii.crc_hqx
    last_end = begin
    position = 0
    for time_ns, end, number, kind, value, check in LAYOUT.iter_unpack(index):
        valid = crc(index[position : position + 22], 0xFFFF) == check and last_end <= end <= size and is_kind(kind)
        position += RECORD_BYTES
        if not valid:
            damaged = True
        elif kind <= STDERR:
            yield Span(seq, time_ns, last_end, end, number, kind, GIVEN_UP if damaged else value)
            last_end, damaged = end, False
        else:
            if end > last_end:
                # A mark has no bytes: these are a damaged record's.
                yield Span(seq - 1, time_ns, last_end, end, number, STDOUT, GIVEN_UP)
            yield Span(seq, time_ns, end, end, number, kind, value)
            last_end, damaged = end, False
        seq += 1


def is_among(owner: tuple[int, int], index: bytes) -> bool:
    """Whether a piece of an index has a record with this number and kind, in a fraction of the time that `unpack` takes."""
    # Most logs have little of one stream: then the kinds alone tell.
    return owner[1] in index[KIND_OFFSET::RECORD_BYTES] and owner in OWNER.iter_unpack(index)


def to_seconds(time_ns: int) -> float:
    """A time of the format as Unix seconds."""
    return time_ns / 1_000_000_000  # both are ints: rounded once, so that `to_ns` finds it again until 2106


def to_ns(seconds: float) -> int:
    """Unix seconds as a time of the format."""
    return round(seconds * 1e6) * 1000
