"""What an engine that died has left: processes to end, commands to mark as lost, files to remove.

Whoever holds a dead engine's lock does this, once. Nothing is ended by a stored pid: only processes that carry the mark of one
of its sessions in their environment, and their descendants.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Final

import attrs

from .errors import SessionsError
from .lifecycle import OPEN_STATES, SESSION_MOVES, Outcome, finish, move
from .models import CommandInfo, SessionInfo
from .shell import processes
from .store.catalog import Catalog
from .store.owners import Owner
from .store.reading import TranscriptReader
from .store.records import GIVEN_UP, LAYOUT, RECORD_BYTES, STDERR, STDOUT, is_valid, pack, to_seconds, unpack_outcome
from .store.transcript import Transcript

LATE_RECORDS: Final = 10_000
"""So many of a log's last records are looked through for output that came after a command's end."""
KILL_SECONDS: Final = 10.0
"""How long processes in uninterruptible sleep are waited for."""


def recover(root: Path, catalog: Catalog, owner: Owner) -> None:
    """Clean up after the dead engine whose lock is `owner`, and release that. Blocks: call it in a thread."""
    try:
        sessions = catalog.list_sessions(engine_id=owner.engine_id)
        end_processes({info.id for info in sessions})
        for info in sessions:
            # Closed ones too: detached commands may have outlived them, but not their engine.
            finish_commands(root, catalog, info)
            if info.state in OPEN_STATES:
                count_late_output(root, catalog, info.id)
                state = move(SESSION_MOVES, info.state, "lose", f"session {info.id}")
                catalog.update_session(
                    attrs.evolve(info, state=state, closed_at=time.time(), ended_by=None, problem=None)
                )
        wake_keeper(owner.run_directory)
        remove_run_directory(owner.run_directory)
    except BaseException:
        owner.drop()
        raise
    owner.release()


def end_processes(session_ids: set[str]) -> None:
    """Kill everything that belongs to these sessions. Their keeper, if it still lives, is doing the same."""
    deadline = time.monotonic() + KILL_SECONDS
    while session_ids and time.monotonic() < deadline:
        found = processes.of_sessions(processes.snapshot(), session_ids, set(), {})
        if not found:
            return
        processes.send(found, signal.SIGKILL)
        time.sleep(0.01)


def wake_keeper(run_directory: Path) -> None:
    """A keeper that was stopped can't end what it keeps, nor itself: continue it, and give it a moment."""
    import psutil

    keepers = []
    for pid in psutil.pids():
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if run_directory.is_absolute() and process.cmdline()[-1:] == [str(run_directory)]:
                keepers.append(process)
                process.resume()
    psutil.wait_procs(keepers, timeout=KILL_SECONDS)


def finish_commands(root: Path, catalog: Catalog, info: SessionInfo) -> None:
    """Give each unfinished command of a dead engine's session its end: the one in its log, else "lost"."""
    unfinished = {
        command.number: command for state in ("queued", "running") for command in catalog.list_commands(info.id, state)
    }
    directory: Path | None = root / "sessions" / info.id
    assert directory is not None
    try:
        repair(directory)
        ends = read_ends(info.id, directory, unfinished) if unfinished else {}
    except (OSError, SessionsError):
        # Its log is damaged or gone. What is known of its commands stays known.
        ends = {number: (command, 0.0, None) for number, command in unfinished.items()}
        directory = None
    for number, (known, finished_at, outcome) in ends.items():
        if outcome is None:
            outcome, finished_at = Outcome("lost", None), time.time()
            if directory is not None and not catalog.is_copy:
                known = attrs.evolve(known, last_seq=mark_finished(info.id, directory, number, outcome))
        over = finish(known.state, finished_at, outcome, f"command {known.id}")
        catalog.finish_command(attrs.evolve(known, state=over))


def mark_finished(session_id: str, directory: Path, number: int, outcome: Outcome) -> int:
    """Write the end of a command into the log of a session that nobody writes any more; its seq."""
    transcript = Transcript(session_id, directory)
    try:
        return transcript.mark_finished(number, outcome)
    finally:
        transcript.close()


def repair(directory: Path) -> None:
    """Make a log that nobody writes any more whole: cut half a record, a claim to bytes that are not there, and bytes without an owner."""
    with open(directory / "index", "r+b") as index:
        transcript = os.stat(directory / "transcript").st_size
        index.truncate(os.fstat(index.fileno()).st_size // RECORD_BYTES * RECORD_BYTES)
        end = cut_claims(index.fileno(), transcript)
    if end is not None and end < transcript:
        os.truncate(directory / "transcript", end)


def cut_claims(index: int, size: int) -> int | None:
    """Records are written before their bytes: let the last ones claim no more than there are.

    More than one is at fault if the machine went down, for the file system may store the two files in any order. Returns
    where the last record ends; None if it is damaged.
    """
    last_end: int | None = 0
    records = os.fstat(index).st_size // RECORD_BYTES
    for seq in range(records - 1, -1, -1):
        record = os.pread(index, RECORD_BYTES, seq * RECORD_BYTES)
        end = None
        if is_valid(record):
            time_ns, claimed, number, kind, value, _ = LAYOUT.unpack(record)
            end = min(int(claimed), size)
            if claimed > size:
                os.pwrite(index, pack(time_ns, size, number, kind, value), seq * RECORD_BYTES)
            elif seq < records - 1:
                break
        if seq == records - 1:
            last_end = end
            if end is not None and end < size:
                break
    return last_end


def read_ends(
    session_id: str, directory: Path, commands: dict[int, CommandInfo]
) -> dict[int, tuple[CommandInfo, float, Outcome | None]]:
    """What the log says of these commands: their sizes, and how and when they ended."""
    ends: dict[int, tuple[CommandInfo, float, Outcome | None]] = {n: (c, 0.0, None) for n, c in commands.items()}
    reader = TranscriptReader.open(session_id, directory)
    try:
        first = min(command.first_seq for command in commands.values())
        for span in reader.spans(first, reader.count()[0]):
            if span.number not in ends:
                continue
            info, finished_at, outcome = ends[span.number]
            size = span.end - span.begin
            if span.is_finish:
                finished_at, outcome = to_seconds(span.time_ns), unpack_outcome(span.kind, span.value)
            info = attrs.evolve(
                info,
                last_seq=span.seq,
                stdout_bytes=info.stdout_bytes + (size if span.kind == STDOUT else 0),
                stderr_bytes=info.stderr_bytes + (size if span.has_bytes and span.kind != STDOUT else 0),
                dropped_bytes=info.dropped_bytes + (size if span.has_bytes and span.value == GIVEN_UP else 0),
            )
            ends[span.number] = info, finished_at, outcome
    finally:
        reader.close()
    return ends


def count_late_output(root: Path, catalog: Catalog, session_id: str) -> None:
    """What finished commands' processes wrote last may not have come to the catalog, which is told of it each second."""
    with contextlib.suppress(OSError, SessionsError):
        reader = TranscriptReader.open(session_id, root / "sessions" / session_id)
        try:
            count, _ = reader.count()
            spans = [span for span in reader.spans(max(0, count - LATE_RECORDS), count) if span.has_bytes]
        finally:
            reader.close()
        for number in {span.number for span in spans}:
            info = catalog.get_command(session_id, number)
            late = [span for span in spans if info and span.number == number and span.seq > info.last_seq]
            if info is not None and late:
                sizes = {kind: sum(s.end - s.begin for s in late if s.kind == kind) for kind in (STDOUT, STDERR)}
                catalog.update_command_log(
                    attrs.evolve(
                        info,
                        last_seq=late[-1].seq,
                        stdout_bytes=info.stdout_bytes + sizes[STDOUT],
                        stderr_bytes=info.stderr_bytes + sizes[STDERR],
                    )
                )


def remove_run_directory(path: Path) -> None:
    """Only what looks like one of ours, and is ours, is removed: the path comes from a file."""
    with contextlib.suppress(OSError):
        status = path.lstat()
        if path.is_absolute() and path.parent.name.startswith(("sessions", "run")) and status.st_uid == os.getuid():
            shutil.rmtree(path, ignore_errors=True)
