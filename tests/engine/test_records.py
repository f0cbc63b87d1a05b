"""The index's format: what was packed is read back, and whatever is torn, missing or flipped is told as dropped, never as data."""

from __future__ import annotations

import itertools
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from hypothesis import example, given
from hypothesis import strategies as st

from sessions.lifecycle import REASONS, Outcome
from sessions.store.reading import Cursor, TranscriptReader
from sessions.store.records import (
    DROPPED,
    FINISHED,
    FINISHED_WITHOUT_CODE,
    GIVEN_UP,
    KEPT,
    RECORD_BYTES,
    STARTED,
    STDERR,
    STDOUT,
    Span,
    is_kind,
    is_valid,
    pack,
    pack_outcome,
    to_ns,
    to_seconds,
    unpack,
    unpack_outcome,
)

KINDS = [STDOUT, STDERR, STARTED, DROPPED]
KINDS += [base + reason for base in (FINISHED, FINISHED_WITHOUT_CODE) for reason in range(len(REASONS))]
MOMENT = 1_700_000_000_000_000_000

outcomes = st.builds(Outcome, st.sampled_from(REASONS), st.none() | st.integers(0, 255))


@st.composite
def logs(draw: st.DrawFn, min_size: int = 0) -> list[Span]:
    """What the records of a transcript stand for: its spans, one after another."""
    spans: list[Span] = []
    moment, end = MOMENT, 0
    for seq in range(draw(st.integers(min_size, 12))):
        kind = draw(st.sampled_from([STDOUT, STDOUT, STDERR, STDERR, *KINDS]))
        size = draw(st.sampled_from([1, 2, 7, 1000])) if kind <= STDERR else 0
        value = draw(st.sampled_from([KEPT, KEPT, GIVEN_UP])) if kind <= STDERR else draw(st.integers(0, 255))
        moment += draw(st.sampled_from([0, 1000, 5_000_000]))
        spans.append(Span(seq, moment, end, end + size, draw(st.integers(1, 3)), kind, value))
        end += size
    return spans


def index_of(spans: list[Span]) -> bytearray:
    return bytearray(b"".join(pack(s.time_ns, s.end, s.number, s.kind, s.value) for s in spans))


def size_of(spans: list[Span]) -> int:
    return spans[-1].end if spans else 0


@contextmanager
def stored(index: bytes | bytearray, size: int) -> Iterator[TranscriptReader]:
    """A reader of these two files, which nobody writes any more."""
    files = [os.memfd_create(name) for name in ("index", "transcript")]
    try:
        os.write(files[0], index)
        os.truncate(files[1], size)
        yield TranscriptReader("k3v9x2m4ab", *files, None)
    finally:
        for file in files:
            os.close(file)


def read(index: bytes | bytearray, size: int, start: int = 0) -> list[Span]:
    with stored(index, size) as reader:
        return list(reader.spans(start, reader.count()[0]))


@st.composite
def damaged_logs(draw: st.DrawFn) -> tuple[list[Span], set[int], bytes]:
    """Spans, which of their records are damaged, and the index with up to three bits of each of these flipped.

    So many a 16-bit CRC finds for certain.
    """
    spans = draw(logs(min_size=1))
    index = index_of(spans)
    damaged = draw(st.sets(st.integers(0, len(spans) - 1), min_size=1, max_size=4))
    for seq in damaged:
        for bit in draw(st.sets(st.integers(0, RECORD_BYTES * 8 - 1), min_size=1, max_size=3)):
            index[seq * RECORD_BYTES + bit // 8] ^= 1 << bit % 8
    return spans, damaged, bytes(index)


def test_a_record_looks_as_the_format_says() -> None:
    record = pack(MOMENT, 0x1122334455, 7, STDERR, GIVEN_UP)
    assert len(record) == 24
    assert struct.unpack("<QQIBB", record[:22]) == (MOMENT, 0x1122334455, 7, 2, 1)
    # CRC-16 with polynomial 0x1021, from 0xFFFF, bit by bit.
    crc = 0xFFFF
    for byte in record[:22]:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x1021 if crc & 0x8000 else 0)) & 0xFFFF
    assert record[22:] == crc.to_bytes(2, "little")


def test_numbers_of_kinds_and_reasons_never_change() -> None:
    assert (STDOUT, STDERR, STARTED, DROPPED) == (1, 2, 3, 4)
    expected = ("exit", "signal", "timeout", "killed", "session_closed", "shell_died", "lost")
    assert expected == REASONS
    assert [pack_outcome(Outcome(reason, 3)) for reason in REASONS] == [(16 + n, 3) for n in range(7)]
    assert [pack_outcome(Outcome(reason, None)) for reason in REASONS] == [(32 + n, 0) for n in range(7)]
    assert [kind for kind in range(256) if is_kind(kind)] == sorted(KINDS)


@given(outcomes)
def test_an_outcome_comes_back(outcome: Outcome) -> None:
    assert unpack_outcome(*pack_outcome(outcome)) == outcome


@given(st.integers(0, 2**32 * 1_000_000))
@example(3_902_509_430_794_563)
def test_a_time_goes_through_a_float_of_seconds_and_back(microseconds: int) -> None:
    assert to_ns(to_seconds(microseconds * 1000)) == microseconds * 1000


@given(logs(), st.integers(0, 12))
def test_spans_come_back_in_one_piece_or_two(spans: list[Span], at: int) -> None:
    index, size = bytes(index_of(spans)), size_of(spans)
    assert list(unpack(index, 0, 0, size)) == spans
    first, second = index[: at * RECORD_BYTES], index[at * RECORD_BYTES :]
    begin = spans[min(at, len(spans)) - 1].end if at and spans else 0
    assert [*unpack(first, 0, 0, size), *unpack(second, at, begin, size)] == spans


@given(logs(min_size=1), st.data())
def test_before_a_torn_record_all_come_back(spans: list[Span], data: st.DataObject) -> None:
    index = index_of(spans)
    cut = data.draw(st.integers(0, len(index)))
    assert read(index[:cut], size_of(spans)) == spans[: cut // RECORD_BYTES]


@given(logs(min_size=1), st.data())
def test_records_whose_bytes_never_came_are_not_counted(spans: list[Span], data: st.DataObject) -> None:
    size = data.draw(st.integers(0, size_of(spans)))
    assert read(index_of(spans), size) == [span for span in spans if span.end <= size]


@given(damaged_logs())
def test_every_flipped_record_is_seen_to_be_damaged(log: tuple[list[Span], set[int], bytes]) -> None:
    spans, damaged, index = log
    pieces = [index[at : at + RECORD_BYTES] for at in range(0, len(index), RECORD_BYTES)]
    assert [is_valid(piece) for piece in pieces] == [span.seq not in damaged for span in spans]


@given(damaged_logs())
def test_intact_records_come_back_and_damaged_bytes_are_told_as_dropped(
    log: tuple[list[Span], set[int], bytes],
) -> None:
    spans, damaged, index = log
    found = list(unpack(index, 0, 0, size_of(spans)))

    # No gap and no overlap, up to the end of the last intact record.
    assert all(one.end == two.begin and one.seq < two.seq for one, two in itertools.pairwise(found))
    intact = [span for span in spans if span.seq not in damaged]
    assert size_of(found) == size_of(intact)
    assert not found or found[0].begin == 0
    # What is given as data is data, with its own command, stream and time.
    assert all(span in spans for span in found if span.has_bytes and span.value != GIVEN_UP)
    # No intact record is lost; only bytes that stand behind damage are taken for damaged too.
    assert {span for span in intact if not span.has_bytes or span.seq - 1 not in damaged} <= set(found)
    for span in intact:
        assert any(
            other.seq == span.seq and (other.end, other.kind, other.number) == (span.end, span.kind, span.number)
            for other in found
        )


@given(damaged_logs(), st.integers(1, 5))
def test_reading_on_from_any_record_gives_the_rest(log: tuple[list[Span], set[int], bytes], block: int) -> None:
    spans, _, index = log
    size = size_of(spans)
    whole = list(unpack(index, 0, 0, size))
    with mock.patch("sessions.store.reading.BLOCK_RECORDS", block):
        for start in range(len(spans) + 1):
            assert read(index, size, start) == [span for span in whole if span.seq >= start]


@given(damaged_logs(), st.integers(1, 5))
def test_backwards_is_the_same_from_the_end(log: tuple[list[Span], set[int], bytes], block: int) -> None:
    spans, _, index = log
    size = size_of(spans)
    with mock.patch("sessions.store.reading.BLOCK_RECORDS", block), stored(index, size) as reader:
        assert list(reader.spans_backwards(0, len(spans)))[::-1] == list(unpack(index, 0, 0, size))


@given(damaged_logs(), st.integers(1, 3), st.sampled_from([1, 1000, 1 << 20]))
def test_a_cursor_gets_through_damage_and_tells_each_thing_once(
    log: tuple[list[Span], set[int], bytes], max_records: int, max_bytes: int
) -> None:
    spans, _, index = log
    expected = [span for span in read(index, size_of(spans)) if span.has_bytes or span.is_finish]
    with stored(index, size_of(spans)) as reader:
        cursor = Cursor(reader, None, None, 0)
        items = []
        for _ in range(3 * len(spans) + 1):
            items += cursor.read(max_bytes, max_records)
            if cursor.at_end:
                break
        assert cursor.at_end
    assert [(number, record and record.seq) for number, record in items] == [
        (span.number, None if span.is_finish else span.seq) for span in expected
    ]
    dropped = sum(record.dropped_bytes for _, record in items if record)
    assert dropped == sum(span.end - span.begin for span in expected if span.value == GIVEN_UP and span.has_bytes)


@given(st.binary(max_size=20 * RECORD_BYTES), st.integers(0, 1 << 20))
def test_noise_is_no_data(noise: bytes, size: int) -> None:
    whole = noise[: len(noise) // RECORD_BYTES * RECORD_BYTES]
    pieces = [whole[at : at + RECORD_BYTES] for at in range(0, len(whole), RECORD_BYTES)]
    valid = {seq for seq, piece in enumerate(pieces) if is_valid(piece)}
    for span in read(noise, size):
        assert 0 <= span.begin <= span.end <= size
        assert span.seq in valid or span.seq + 1 in valid


@given(logs(min_size=1))
def test_a_moment_is_found_by_bisection(spans: list[Span]) -> None:
    with stored(index_of(spans), size_of(spans)) as reader:
        for moment in {span.time_ns + off for span in spans for off in (-1000, 0, 1000)}:
            expected = next((span.seq for span in spans if span.time_ns >= moment), len(spans))
            assert reader.first_since(moment, 0, len(spans)) == expected
        assert reader.first_since(time.time_ns() * 2, 0, len(spans)) == len(spans)
