"""What `logs` and `excerpt` return: from what is asked for to bytes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Final, TypeVar

from .archive import Archive
from .arguments import check_count
from .models import CommandInfo, Excerpt, Logs, Record
from .selection import Selection as Selection
from .store.reading import BLOCK_RECORDS, TranscriptReader, cut, gather, last_lines, materialise_shared, narrow, select
from .store.records import GIVEN_UP, KIND_OF, STDERR, Span
from .threads import run_in_thread

T = TypeVar("T")

LARGE_BYTES: Final = 16 << 20
"""A transcript of this size takes 10 ms to be read: others should not have to wait for more."""
LARGE_RECORDS: Final = 4096
"""So many records take as long, however small they are."""
PIECE_BYTES: Final = 1 << 18
"""About so much of a log is in memory at a time while it is read piece by piece."""
CHARACTER_BYTES: Final = 3
"""The most of a character in UTF-8 that can be there while it is not complete."""


def read_logs(archive: Archive, target: CommandInfo | str, asked: Selection) -> Logs:
    """The log of a command, or of the session with the id `target`."""
    log = archive.open_log(target if isinstance(target, str) else target.session_id)
    try:
        return gather(log.reader, list(find_spans(log.reader, target, asked)))
    finally:
        log.close()


async def read_logs_beside(archive: Archive, target: CommandInfo | str, asked: Selection) -> Logs:
    """The same, while the event loop goes on."""
    return await read_beside(archive, target, lambda reader: gather(reader, list(find_spans(reader, target, asked))))


async def read_beside(archive: Archive, target: CommandInfo | str, read: Callable[[TranscriptReader], T]) -> T:
    """What `read` makes of a log; of a large one in a thread, which would cost a small one more than the reading."""
    log = archive.open_log(target if isinstance(target, str) else target.session_id)
    try:
        first, beyond = bounds(log.reader, target)
        if log.reader.count()[1] < LARGE_BYTES and beyond - first < LARGE_RECORDS:
            return read(log.reader)
        try:
            return await run_in_thread(read, log.reader)
        except RuntimeError:  # there are no more threads: it takes longer than others should wait, but is there
            return read(log.reader)
    finally:
        log.close()


def read_pieces(archive: Archive, target: CommandInfo | str, asked: Selection) -> Generator[Record, None, None]:
    """The same, piece by piece in the order of arrival, for logs that are larger than memory.

    Holds the log open until it is exhausted or closed.
    """
    log = archive.open_log(target if isinstance(target, str) else target.session_id)
    try:
        for spans in batches(find_spans(log.reader, target, asked)):
            yield from read_batch(log.reader, spans)
    finally:
        log.close()


def read_batch(reader: TranscriptReader, spans: list[Span]) -> list[Record]:
    """The records of `spans`, which may have been found some time ago: what has been given up since is told as dropped."""
    return [record for _, record in materialise_shared(reader, spans) if record is not None]


def batches(spans: Iterable[Span]) -> Iterator[list[Span]]:
    """Few enough at a time to be read together."""
    batch: list[Span] = []
    size = 0
    for span in spans:
        batch.append(span)
        size += span.end - span.begin
        if size >= PIECE_BYTES or len(batch) >= BLOCK_RECORDS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def find_spans(reader: TranscriptReader, target: CommandInfo | str, asked: Selection) -> Iterable[Span]:
    number = None if isinstance(target, str) else target.number
    first, beyond = bounds(reader, target)
    first, beyond = narrow(reader, first, beyond, asked.after, asked.since, asked.until)
    if asked.tail is not None:
        return last_lines(reader, number, first, beyond, asked.stream, asked.tail)
    spans = select(reader, number, first, beyond, stream=asked.stream)
    if asked.start is not None or asked.stop is not None:
        spans = cut(spans, asked.start or 0, asked.stop)
    return spans


def read_before(archive: Archive, record: Record) -> bytes:
    """The end of what the same command had written to the same stream before `record`: as much as a character may begin in."""
    log = archive.open_log(record.command_id.partition("-")[0])
    try:
        reader = log.reader
        command = archive.command(record.command_id)
        kind = KIND_OF[record.stream]
        end = b""
        for span in reader.spans_backwards(command.first_seq, record.seq, (command.number, kind)):
            if span.number == command.number and span.kind == kind:
                if span.value == GIVEN_UP:
                    break
                end = reader.read(max(span.begin, span.end - CHARACTER_BYTES), span.end) + end
                if len(end) >= CHARACTER_BYTES:
                    break
        return end[-CHARACTER_BYTES:]
    finally:
        log.close()


def bounds(reader: TranscriptReader, target: CommandInfo | str) -> tuple[int, int]:
    """The records among which a log is found."""
    count, _ = reader.count()
    if isinstance(target, str):
        return 0, count
    # Of one that is over, the catalog knows the last record; a few that came since are late output.
    return target.first_seq, count if target.finished_at is None else min(count, target.last_seq + 1)


async def read_excerpt(archive: Archive, command: CommandInfo, max_bytes: int) -> Excerpt:
    """See `Command.excerpt`."""
    check_count("max_bytes", max_bytes, 1)
    return await read_beside(archive, command, lambda reader: cut_down(reader, command, max_bytes))


def cut_down(reader: TranscriptReader, command: CommandInfo, max_bytes: int) -> Excerpt:
    spans = list(select(reader, command.number, *bounds(reader, command)))
    size = sum(span.end - span.begin for span in spans)
    if size <= max_bytes:
        return Excerpt(gather(reader, spans).output, b"", b"", 0, size, size)
    # A third each for the beginning, where commands say what they do, for errors in between, and for the end.
    head_stop = third = max_bytes // 3
    tail_start = size - third
    errors = gather(reader, [span for span in cut(iter(spans), head_stop, tail_start) if span.kind == STDERR]).output
    if not errors:
        tail_start = size - (max_bytes - head_stop)
    return Excerpt(
        gather(reader, list(cut(iter(spans), 0, head_stop))).output,
        gather(reader, list(cut(iter(spans), tail_start, None))).output,
        errors[-third:] if third else b"",
        tail_start - head_stop,
        head_stop,
        tail_start,
    )
