"""Reading a transcript: all of it, a part of it, or on and on from a position. Works on one that is being written."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final

from ..errors import Expired
from ..ids import command_id
from ..models import InterleavedLogs, Logs, Record
from .records import (
    GIVEN_UP,
    KIND_OF,
    KIND_OFFSET,
    RECORD_BYTES,
    STDOUT,
    STREAM_OF,
    Span,
    is_among,
    to_ns,
    to_seconds,
    unpack,
)

BLOCK_RECORDS: Final = 2048
"""How much of an index is read at a time: 48 KiB."""


class TranscriptReader:
    """Random access to one session's transcript and index."""

    def __init__(
        self, session_id: str, index: int, transcript: int, count: Callable[[], tuple[int, int]] | None
    ) -> None:
        self.session_id = session_id
        self._index = index
        self._transcript = transcript
        self._count = count or self._count_files
        self.is_shared = count is None
        """Whether something else may be writing these files right now."""

    @classmethod
    def open(cls, session_id: str, directory: Path) -> TranscriptReader:
        """A reader of files that something else writes, or that nothing writes any more. Close it."""
        try:
            index = os.open(directory / "index", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Expired(f"the logs of session {session_id} have been removed") from None
        try:
            transcript = os.open(directory / "transcript", os.O_RDONLY | os.O_CLOEXEC)
        except BaseException:
            os.close(index)
            raise
        return cls(session_id, index, transcript, None)

    def close(self) -> None:
        os.close(self._index)
        os.close(self._transcript)

    def _count_files(self) -> tuple[int, int]:
        # The index first: what it claims then has had time to arrive in the transcript.
        records = os.fstat(self._index).st_size // RECORD_BYTES
        size = os.fstat(self._transcript).st_size
        while records and self._end_of(records - 1) > size:
            records -= 1
        return records, size

    def count(self) -> tuple[int, int]:
        """How many records are there to be read, and the size of the transcript."""
        return self._count()

    def _end_of(self, seq: int) -> int:
        return int.from_bytes(os.pread(self._index, 8, seq * RECORD_BYTES + 8), "little")

    def spans(self, start: int, stop: int) -> Iterator[Span]:
        """The spans of records ``start`` to ``stop - 1``, in order."""
        if start >= stop:
            return  # `start` may be far behind the end: nothing before it is looked for
        _, size = self.count()
        asked = start
        begin, damaged = self._end_before(start, size)
        while start < stop:
            piece = os.pread(self._index, min(BLOCK_RECORDS, stop - start) * RECORD_BYTES, start * RECORD_BYTES)
            if len(piece) < RECORD_BYTES:
                return
            piece = piece[: len(piece) // RECORD_BYTES * RECORD_BYTES]
            start += len(piece) // RECORD_BYTES
            seq = -1
            for span in unpack(piece, start - len(piece) // RECORD_BYTES, begin, size, damaged):
                # What a damaged record before the first one lost was told to who asked for that.
                if span.seq >= asked:
                    yield span
                seq, begin = span.seq, span.end
            damaged = seq != start - 1

    def _end_before(self, seq: int, size: int) -> tuple[int, bool]:
        """Where the last valid record before `seq` ends, and whether it is not the one right before it."""
        for back in range(seq - 1, -1, -1):
            for span in unpack(os.pread(self._index, RECORD_BYTES, back * RECORD_BYTES), back, 0, size):
                if span.seq == back:
                    return span.end, back != seq - 1
        return 0, seq > 0

    def spans_backwards(self, start: int, stop: int, owner: tuple[int, int] | None = None) -> Iterator[Span]:
        """The same, the last one first. Blocks without a record of `owner`, a command's number and a kind, may be left out."""
        while stop > start:
            middle = max(start, stop - BLOCK_RECORDS)
            # What damaged records lost is told with the record after them: never cut in between.
            while middle > start and self._end_before(middle, self.count()[1])[1]:
                middle -= 1
            piece = os.pread(self._index, (stop - middle) * RECORD_BYTES, middle * RECORD_BYTES) if owner else b""
            if owner is None or is_among(owner, piece):
                yield from reversed(list(self.spans(middle, stop)))
            stop = middle

    def is_given_up(self, seq: int) -> bool:
        """Whether the bytes of this record, of stdout or stderr, are no longer kept."""
        return os.pread(self._index, 1, seq * RECORD_BYTES + KIND_OFFSET + 1) == bytes([GIVEN_UP])

    def as_kept(self, spans: list[Span]) -> list[Span]:
        """These spans as they are now: those whose bytes have gone since they were found are flagged. `spans` itself if none has.

        A record is flagged before its bytes go, so what is not flagged once it has been read was read in time. A command's
        oldest bytes go first: only where its first record has gone are the others looked at.
        """
        first = {span.number: span.seq for span in reversed(spans) if span.has_bytes and span.value != GIVEN_UP}
        shortened = {number for number, seq in first.items() if self.is_given_up(seq)}
        if not shortened:
            return spans
        return [
            span._replace(value=GIVEN_UP)
            if span.has_bytes and span.number in shortened and self.is_given_up(span.seq)
            else span
            for span in spans
        ]

    def read(self, begin: int, end: int) -> bytes:
        """The transcript's bytes in ``[begin, end)``."""
        data = os.pread(self._transcript, end - begin, begin)
        while len(data) < end - begin:  # Linux moves at most 2 GiB - 4 KiB in one call
            more = os.pread(self._transcript, end - begin - len(data), begin + len(data))
            if not more:
                break
            data += more
        return data

    def first_since(self, time_ns: int, start: int, stop: int) -> int:
        """The first record in ``[start, stop)`` that is not older than `time_ns`; `stop` if there is none."""
        while start < stop:
            middle = (start + stop) // 2
            if int.from_bytes(os.pread(self._index, 8, middle * RECORD_BYTES), "little") < time_ns:
                start = middle + 1
            else:
                stop = middle
        return start


class Cursor:
    """A position in a transcript from which some commands' records are read, piece by piece."""

    def __init__(self, reader: TranscriptReader, numbers: Collection[int] | None, kind: int | None, seq: int) -> None:
        self.reader = reader
        self.numbers = numbers
        """Whose records are wanted; None for everybody's."""
        self.kind = kind
        """The wanted stream's kind; None for both."""
        self.seq = seq
        """The next record to look at."""
        self.at_end = False
        """Whether the last `read` came to the end of what is there."""

    def read(self, max_bytes: int = 1 << 20, max_records: int = 512) -> list[tuple[int, Record | None]]:
        """The next records with their commands' numbers; None in a record's place says that the command finished there.

        May be empty; `at_end` tells whether there is more. Bytes that have been given up are told as a notice.
        """
        count, _ = self.reader.count()
        chosen: list[Span] = []
        size = 0
        # Bounded, so that one who skips over much of others' output still lets others run.
        stop = min(count, self.seq + BLOCK_RECORDS)
        for span in self.reader.spans(self.seq, stop):
            self.seq = span.seq + 1
            if not self.wants(span):
                continue
            chosen.append(span)
            size += span.end - span.begin
            if size >= max_bytes or len(chosen) >= max_records:
                break
        else:
            self.seq = max(self.seq, stop)
        self.at_end = self.seq >= count
        read = materialise_shared if self.reader.is_shared else materialise
        return [(span.number, record) for span, record in read(self.reader, chosen)]

    def wants(self, span: Span) -> bool:
        if self.numbers is not None and span.number not in self.numbers:
            return False
        return span.is_finish or (span.has_bytes and self.kind in (None, span.kind))


def materialise(reader: TranscriptReader, spans: list[Span]) -> Iterator[tuple[Span, Record | None]]:
    """The records of `spans`; neighbours in the transcript are read in one go."""
    runs = list(join(spans))
    data = b""
    run_begin = run_end = -1
    position = 0
    for span in spans:
        if span.is_finish:
            yield span, None
            continue
        owner = command_id(reader.session_id, span.number)
        time = to_seconds(span.time_ns)
        if span.value == GIVEN_UP:
            yield span, Record(span.seq, time, "dropped", b"", owner, span.end - span.begin)
            continue
        if not run_begin <= span.begin <= span.end <= run_end:
            run_begin, run_end = runs[position]
            position += 1
            data = reader.read(run_begin, run_end)
        piece = data[span.begin - run_begin : span.end - run_begin]
        yield span, Record(span.seq, time, "stdout" if span.kind == STDOUT else "stderr", piece, owner)


def materialise_shared(reader: TranscriptReader, spans: list[Span]) -> list[tuple[Span, Record | None]]:
    """The same while bytes are being given up: what has gone since the spans were found is told as dropped."""
    items = list(materialise(reader, spans))
    now = reader.as_kept(spans)
    return items if now is spans else materialise_shared(reader, now)


def join(spans: list[Span]) -> Iterator[tuple[int, int]]:
    """The ranges of the transcript that kept spans cover, neighbours joined."""
    begin = end = -1
    for span in spans:
        if not span.has_bytes or span.value == GIVEN_UP:
            continue
        if span.begin == end:
            end = span.end
        else:
            if end > begin:
                yield begin, end
            begin, end = span.begin, span.end
    if begin >= 0:
        yield begin, end


def narrow(
    reader: TranscriptReader, first: int, stop: int, after: int | None, since: float | None, until: float | None
) -> tuple[int, int]:
    """Which of the records ``[first, stop)`` lie behind a record and between two times."""
    start = first if after is None else max(first, after + 1)
    if since is not None:
        start = reader.first_since(to_ns(since), start, stop)
    if until is not None:
        stop = reader.first_since(to_ns(until) + 1, start, stop)
    return start, stop


def select(
    reader: TranscriptReader,
    number: int | None,
    first: int,
    stop: int,
    *,
    stream: str | None = None,
    after: int | None = None,
    since: float | None = None,
    until: float | None = None,
) -> Iterator[Span]:
    """The spans with bytes of command `number` (None: of all) among records ``[first, stop)`` that fit."""
    start, stop = narrow(reader, first, stop, after, since, until)
    kind = KIND_OF[stream] if stream else None
    return (
        span
        for span in reader.spans(start, stop)
        if span.has_bytes and kind in (None, span.kind) and (number is None or span.number == number)
    )


def cut(spans: Iterator[Span], start: int, stop: int | None) -> Iterator[Span]:
    """The part of `spans` that is bytes ``[start, stop)`` of their concatenation (given up ones count as if there)."""
    offset = 0
    for span in spans:
        size = span.end - span.begin
        low, high = max(start - offset, 0), size if stop is None else min(stop - offset, size)
        if low < high:
            yield span._replace(begin=span.begin + low, end=span.begin + high)
        offset += size
        if stop is not None and offset >= stop:
            return


def last_lines(
    reader: TranscriptReader, number: int | None, first: int, stop: int, stream: str | None, lines: int
) -> list[Span]:
    """The spans that hold the last `lines` lines, read from the end; the first one is cut to where its line begins."""
    kind = KIND_OF[stream] if stream else None
    found: list[Span] = []
    missing = lines
    last_byte = True
    for span in reader.spans_backwards(first, stop):
        if missing <= 0:
            break
        if not span.has_bytes or kind not in (None, span.kind) or (number is not None and span.number != number):
            continue
        if span.value == GIVEN_UP:
            found.append(span)
            break
        end = span.end
        while end > span.begin:
            begin = max(span.begin, end - 65536)
            data = reader.read(begin, end)
            at = len(data)
            if last_byte and at:
                # A newline at the very end closes the last line; it doesn't begin another.
                last_byte = False
                at -= data.endswith(b"\n")
            while missing and (at := data.rfind(b"\n", 0, at)) >= 0:
                missing -= 1
                if not missing:
                    found.append(span._replace(begin=begin + at + 1))
            if not missing:
                break
            end = begin
        else:
            found.append(span)
    found.reverse()
    return [span for span in found if span.end > span.begin]


def gather(reader: TranscriptReader, spans: list[Span]) -> Logs:
    """The bytes of `spans`. Streams that are alone share their bytes with the whole."""
    kept = [span for span in spans if span.value != GIVEN_UP]
    dropped = sum(span.end - span.begin for span in spans if span.value == GIVEN_UP)
    runs = list(join(kept))
    output = reader.read(*runs[0]) if len(runs) == 1 else b"".join(reader.read(*run) for run in runs)
    if (now := reader.as_kept(spans)) is not spans:
        return gather(reader, now)  # some of it was given up meanwhile
    last_seq = spans[-1].seq if spans else -1
    kinds = {STREAM_OF[span.kind] for span in kept if span.end > span.begin}
    if len(kinds) < 2:
        stdout, stderr = (output if kinds == {name} else b"" for name in ("stdout", "stderr"))
        return Logs(stdout, stderr, output, dropped, last_seq)
    return InterleavedLogs(output, [(STREAM_OF[span.kind], span.end - span.begin) for span in kept], dropped, last_seq)
