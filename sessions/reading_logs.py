"""What `logs` and `excerpt` return: from what is asked for to bytes."""

from __future__ import annotations

import math

from .archive import Archive
from .arguments import check_count, check_stream
from .errors import Invalid
from .models import CommandInfo, Excerpt, Logs
from .store.reading import TranscriptReader, cut, gather, last_lines, select
from .store.records import STDERR


def read_logs(
    archive: Archive,
    target: CommandInfo | str,
    *,
    tail: int | None = None,
    since: float | None = None,
    until: float | None = None,
    after: int | None = None,
    stream: str | None = None,
    start: int | None = None,
    stop: int | None = None,
) -> Logs:
    """The log of a command, or of the session with the id `target`."""
    check_stream(stream)
    for name, value in (("tail", tail), ("start", start), ("stop", stop)):
        check_count(name, value)
    check_count("after", after, -1)
    for name, time in (("since", since), ("until", until)):
        if time is not None and (
            isinstance(time, bool) or not isinstance(time, int | float) or not math.isfinite(time)
        ):
            raise Invalid(f"{name}={time!r}: pass Unix seconds")
    if tail is not None and not (since is until is after is start is stop is None):
        raise Invalid("tail goes with stream only: leave out since, until, after, start and stop")
    session_id, number = (target, None) if isinstance(target, str) else (target.session_id, target.number)
    log = archive.open_log(session_id)
    try:
        reader = log.reader
        first, beyond = bounds(reader, target)
        if tail is not None:
            return gather(reader, last_lines(reader, number, first, beyond, stream, tail))
        spans = select(reader, number, first, beyond, stream=stream, after=after, since=since, until=until)
        if start is not None or stop is not None:
            spans = cut(spans, start or 0, stop)
        return gather(reader, list(spans))
    finally:
        log.close()


def bounds(reader: TranscriptReader, target: CommandInfo | str) -> tuple[int, int]:
    """The records among which a log is found."""
    count, _ = reader.count()
    if isinstance(target, str):
        return 0, count
    # Of one that is over, the catalog knows the last record; a few that came since are late output.
    return target.first_seq, count if target.finished_at is None else min(count, target.last_seq + 1)


def read_excerpt(archive: Archive, command: CommandInfo, max_bytes: int) -> Excerpt:
    check_count("max_bytes", max_bytes, 1)
    log = archive.open_log(command.session_id)
    try:
        reader = log.reader
        spans = list(select(reader, command.number, *bounds(reader, command)))
        size = sum(span.end - span.begin for span in spans)
        if size <= max_bytes:
            return Excerpt(gather(reader, spans).output, b"", b"", 0, size, size)
        # A third each for the beginning, where commands say what they do, for errors in between, and for the end.
        head_stop = third = max_bytes // 3
        tail_start = size - third
        errors = gather(
            reader, [span for span in cut(iter(spans), head_stop, tail_start) if span.kind == STDERR]
        ).output
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
    finally:
        log.close()
