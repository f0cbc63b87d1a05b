"""A transcript against a plain list: appends, marks, reads, followers, given up bytes, and crashes in between.

The list holds what each record stands for, by seq. After a crash the records that were whole before must still be there,
exactly; of one that lost bytes there may be a beginning, or it is told as dropped. What is written from then on is exact again.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from sessions.lifecycle import REASONS, Outcome
from sessions.models import Record
from sessions.recovery import repair
from sessions.store.reading import Cursor, TranscriptReader, cut, gather, last_lines, select
from sessions.store.records import (
    DROPPED,
    FINISHED,
    GIVEN_UP,
    KIND_OF,
    RECORD_BYTES,
    STARTED,
    STDERR,
    STDOUT,
    STREAM_OF,
    pack_outcome,
)
from sessions.store.transcript import EVERYBODY, Transcript

SESSION = "k3v9x2m4ab"

numbers = st.integers(1, 3)
streams = st.none() | st.sampled_from(["stdout", "stderr"])
texts = st.lists(st.sampled_from([b"a", b"\n", b"line\n", b"\0", b"\xff\xfe", b"0123456789"]), min_size=1).map(b"".join)
outcomes = st.builds(Outcome, st.sampled_from(REASONS), st.none() | st.integers(0, 255))


@attrs.define
class Entry:
    """What one record stands for."""

    number: int
    kind: int
    data: bytes = b""
    value: int = 0
    given_up: bool = False
    dropped: int = 0
    """So many bytes are told as dropped here."""
    time_ns: int = 0

    @property
    def has_bytes(self) -> bool:
        return self.kind <= STDERR

    @property
    def size(self) -> int:
        return len(self.data) + self.dropped

    def fits(self, number: int | None, stream: str | None) -> bool:
        return self.has_bytes and number in (None, self.number) and stream in (None, STREAM_OF[self.kind])


@attrs.define(eq=False)
class Follower:
    cursor: Cursor
    seq: int
    """All before it has been seen."""


class TranscriptMachine(RuleBasedStateMachine):
    followers = Bundle("followers")

    def __init__(self) -> None:
        super().__init__()
        self.temporary = tempfile.TemporaryDirectory()
        self.directory = Path(self.temporary.name)
        self.entries: list[Entry] = []
        self.wakes: Counter[int] = Counter()
        self.expected_wakes: Counter[int] = Counter()
        self._open()

    def _open(self) -> None:
        self.transcript = Transcript(SESSION, self.directory)
        self.wakers: dict[int, Callable[[], None]] = {}
        for number in (EVERYBODY, 1, 2, 3):
            self.wakers[number] = partial(self.wakes.update, [number])
            self.transcript.subscribe(number, self.wakers[number])

    def teardown(self) -> None:
        self.transcript.close()
        self.temporary.cleanup()

    # Writing

    def _added(self, seq: int, entry: Entry) -> None:
        assert seq == len(self.entries)
        (span,) = self.transcript.reader.spans(seq, seq + 1)
        entry.time_ns = span.time_ns
        self.entries.append(entry)
        self.expected_wakes.update([entry.number, EVERYBODY])

    @rule(number=numbers, kind=st.sampled_from([STDOUT, STDERR]), data=texts)
    def append(self, number: int, kind: int, data: bytes) -> None:
        seq = self.transcript.append(number, kind, memoryview(data))
        self._added(seq, Entry(number, kind, data))

    @rule(number=numbers)
    def mark_started(self, number: int) -> None:
        self._added(self.transcript.mark_started(number), Entry(number, STARTED))

    @rule(number=numbers, outcome=outcomes)
    def mark_finished(self, number: int, outcome: Outcome) -> None:
        kind, value = pack_outcome(outcome)
        self._added(self.transcript.mark_finished(number, outcome), Entry(number, kind, value=value))

    @rule(number=numbers, size=st.sampled_from([1, 10, 100, 1 << 30]))
    def give_up(self, number: int, size: int) -> None:
        freed = 0
        for entry in self.entries:
            if freed < size and entry.fits(number, None) and not entry.given_up:
                freed += len(entry.data)
                entry.data, entry.given_up, entry.dropped = b"", True, len(entry.data)
        before = len(self.entries)
        assert self.transcript.give_up(number, 0, size)[0] == freed
        if freed:
            self._added(before, Entry(number, DROPPED))

    # Reading

    def _expect(self, number: int | None, stream: str | None, first: int = 0, stop: int | None = None) -> list[Entry]:
        return [entry for entry in self.entries[first:stop] if entry.fits(number, stream)]

    def _check(self, found: object, expected: list[Entry]) -> None:
        by_kind = {kind: b"".join(e.data for e in expected if e.kind == kind) for kind in (STDOUT, STDERR)}
        whole = b"".join(entry.data for entry in expected)
        assert attrs.astuple(found)[:4] == (by_kind[STDOUT], by_kind[STDERR], whole, sum(e.dropped for e in expected))  # type: ignore[arg-type]

    @rule(number=st.none() | numbers, stream=streams, data=st.data(), foreign=st.booleans())
    def read_after(self, number: int | None, stream: str | None, data: st.DataObject, foreign: bool) -> None:
        after = data.draw(st.integers(-1, len(self.entries)), "after")
        reader = TranscriptReader.open(SESSION, self.directory) if foreign else self.transcript.reader
        try:
            assert reader.count()[0] == len(self.entries)
            spans = select(reader, number, 0, len(self.entries), stream=stream, after=after)
            self._check(gather(reader, list(spans)), self._expect(number, stream, after + 1))
        finally:
            if foreign:
                reader.close()

    @rule(number=st.none() | numbers, stream=streams, data=st.data())
    def read_between_times(self, number: int | None, stream: str | None, data: st.DataObject) -> None:
        moments = sorted({entry.time_ns for entry in self.entries} | {0})
        since, until = (data.draw(st.sampled_from(moments), name) for name in ("since", "until"))
        reader = self.transcript.reader
        spans = select(reader, number, 0, len(self.entries), stream=stream, since=since / 10**9, until=until / 10**9)
        expected = [e for e in self._expect(number, stream) if since <= e.time_ns <= until]
        self._check(gather(reader, list(spans)), expected)

    @rule(number=st.none() | numbers, stream=streams, start=st.integers(0, 60), length=st.integers(0, 60))
    def read_bytes(self, number: int | None, stream: str | None, start: int, length: int) -> None:
        reader = self.transcript.reader
        spans = cut(select(reader, number, 0, len(self.entries), stream=stream), start, start + length)
        # Given up bytes keep their places.
        places = [(e, at) for e in self._expect(number, stream) for at in range(e.size)][start : start + length]
        output = bytes(entry.data[at] for entry, at in places if not entry.given_up)
        found = gather(reader, list(spans))
        assert (found.output, found.dropped_bytes) == (output, sum(1 for entry, _ in places if entry.given_up))

    @rule(number=st.none() | numbers, stream=streams, lines=st.integers(0, 6))
    def read_tail(self, number: int | None, stream: str | None, lines: int) -> None:
        spans = last_lines(self.transcript.reader, number, 0, len(self.entries), stream, lines)
        data = b""
        for entry in self._expect(number, stream):
            data = b"" if entry.given_up else data + entry.data  # no further back than to a gap
        kept = data.split(b"\n")
        whole = [line + b"\n" for line in kept[:-1]] + ([kept[-1]] if kept[-1] else [])
        assert gather(self.transcript.reader, spans).output == b"".join(whole[len(whole) - min(lines, len(whole)) :])

    # Following

    @rule(target=followers, wanted=st.none() | st.sets(numbers, min_size=1), stream=streams, data=st.data())
    def follow(self, wanted: set[int] | None, stream: str | None, data: st.DataObject) -> Follower:
        seq = data.draw(st.integers(0, len(self.entries)), "seq")
        return Follower(Cursor(self.transcript.hold(), wanted, KIND_OF[stream] if stream else None, seq), seq)

    @rule(follower=followers, max_bytes=st.sampled_from([1, 30, 1 << 20]), max_records=st.sampled_from([1, 3, 512]))
    def read_on(self, follower: Follower, max_bytes: int, max_records: int) -> None:
        cursor = follower.cursor
        if cursor.reader is not self.transcript.reader:
            return  # of before a crash
        items = cursor.read(max_bytes, max_records)
        assert len(items) <= max_records
        assert cursor.seq > follower.seq or cursor.at_end
        assert cursor.at_end == (cursor.seq == len(self.entries))
        expected: list[tuple[int, tuple[object, ...] | None]] = []
        for seq in range(follower.seq, cursor.seq):
            entry = self.entries[seq]
            if cursor.numbers is not None and entry.number not in cursor.numbers:
                continue
            if entry.kind >= FINISHED:
                expected.append((entry.number, None))
            elif entry.has_bytes and cursor.kind in (None, entry.kind):
                told = "dropped" if entry.given_up else STREAM_OF[entry.kind]
                expected.append((entry.number, (seq, entry.time_ns / 10**9, told, entry.data, entry.dropped)))
        assert [(number, record and self._facts(number, record)) for number, record in items] == expected
        follower.seq = cursor.seq

    def _facts(self, number: int, record: Record) -> tuple[object, ...]:
        assert record.command_id == f"{SESSION}-{number}"
        return record.seq, record.time, record.stream, record.data, record.dropped_bytes

    @rule(follower=consumes(followers))
    def stop_following(self, follower: Follower) -> None:
        if follower.cursor.reader is self.transcript.reader:
            self.transcript.release()

    # Crashing

    @rule(data=st.data(), which=st.sampled_from(["transcript", "index", "both"]))
    def crash(self, data: st.DataObject, which: str) -> None:
        self.transcript.close()
        left = {}
        for name in ("transcript", "index"):
            size = os.stat(self.directory / name).st_size
            left[name] = data.draw(st.integers(0, size), name) if which in (name, "both") else size
            os.truncate(self.directory / name, left[name])
        repair(self.directory)
        self.wakes.clear()
        self.expected_wakes.clear()
        self._open()
        self._take_what_is_left(left["index"] // RECORD_BYTES, left["transcript"])

    def _take_what_is_left(self, records: int, size: int) -> None:
        """Check the log after a crash that left so much, and go on from there."""
        reader = self.transcript.reader
        found = {span.seq: span for span in reader.spans(0, self.transcript.records)}
        entries, end = [], 0
        for seq in range(self.transcript.records):
            before = self.entries[seq] if seq < records else None
            end += before.size if before else 0
            span = found.get(seq)
            after = Entry(EVERYBODY, DROPPED)
            if span is not None:
                after = Entry(span.number, span.kind, time_ns=span.time_ns)
                if not span.has_bytes:
                    after.value = span.value
                elif span.value == GIVEN_UP:
                    after.given_up, after.dropped = True, span.end - span.begin
                else:
                    after.data = reader.read(span.begin, span.end)
            if before is None:
                assert not after.data, "bytes for which there never was a record"
            elif end <= size:
                assert after == before, "a whole record is not what it was"
            elif span is not None and not after.given_up:
                assert before.data.startswith(after.data)
                assert (after.number, after.kind, after.value) == (before.number, before.kind, before.value)
            entries.append(after)
        assert len(entries) >= min(records, len(self.entries))
        self.entries = entries

    # Always

    @invariant()
    def counts_and_times_and_wakes_are_right(self) -> None:
        assert self.transcript.reader.count()[0] == len(self.entries)
        assert self.wakes == self.expected_wakes
        times = [entry.time_ns for entry in self.entries if entry.time_ns]
        assert times == sorted(times)

    @invariant()
    def nothing_but_the_bytes_is_in_the_transcript(self) -> None:
        # `less` and `grep` work on it.
        if not any(entry.given_up for entry in self.entries):
            whole = b"".join(entry.data for entry in self.entries)
            assert (self.directory / "transcript").read_bytes()[: len(whole)] == whole


TestTranscript = TranscriptMachine.TestCase
TestTranscript.settings = settings(
    max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
