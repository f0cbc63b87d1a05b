"""What running commands cost: which processes are theirs, and how two looks at them compare. Plain; no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import attrs

from ..doors.own_shells import shown_text
from ..ids import command_id
from ..models import CommandInfo
from ..shell.processes import Seen
from .text import Cell, Column, harmless
from .times import format_size, format_span

Identity: TypeAlias = tuple[int, float]
"""A process: its pid and when it began, as a pid alone is used again."""

COLUMNS: Final = (
    Column("ID"),
    Column("SESSION"),
    Column("CPU%", right=True),
    Column("MEMORY", right=True),
    Column("PROCS", right=True),
    Column("BYTES/S", right=True),
    Column("BYTES", right=True),
    Column("TIME", right=True),
    Column("COMMAND"),
    Column("LAST LINE"),
)
OUTPUT: Final = re.compile(r"/.*/([0-9a-z]{10})\.\d+/(\d+)[oe](?: \(deleted\))?")
"""Where the stdout and stderr of a command go; see `sessions.shell.pipes`."""
COMMAND_CELLS: Final = 30
LINE_BYTES: Final = 500


@attrs.frozen
class Usage:
    """What a command's processes have used so far."""

    cpu_seconds: Mapping[Identity, float]
    memory_bytes: int
    """Resident; pages that several share are counted for each."""


@attrs.frozen
class Sample:
    """One look."""

    time: float
    """Of a clock that no one sets."""
    commands: Sequence[CommandInfo]
    usage: Mapping[str, Usage]
    last_lines: Mapping[str, str]


@attrs.frozen
class Load:
    """What is shown of one command. None: not known (yet, or on this machine)."""

    info: CommandInfo
    cpu_percent: float | None
    memory_bytes: int | None
    processes: int | None
    bytes_per_second: float | None
    last_line: str


def owners(processes: Iterable[Seen]) -> dict[int, str]:
    """For the pids of all processes that belong to a command, its id: their own mark says so, or that of the nearest ancestor."""
    by_pid = {seen.pid: seen for seen in processes}
    found: dict[int, str | None] = {}
    for seen in by_pid.values():
        path = []
        at: Seen | None = seen
        owner = None
        while at is not None and at.pid not in found:
            path.append(at.pid)
            found[at.pid] = None  # parents of a pid that is used again could be a circle
            if at.command_id is not None:
                owner = at.command_id
                break
            at = by_pid.get(at.parent)
        else:
            owner = found[at.pid] if at is not None else None
        found.update(dict.fromkeys(path, owner))
    return {pid: owner for pid, owner in found.items() if owner is not None}


def command_behind(session_id: str, outputs: Iterable[str]) -> str | None:
    """The command in which a process of this session works that carries no command's mark, from where its stdout and stderr go.

    A fork of the shell that has executed nothing, and the shell itself, show in ``/proc`` the environment with which the shell began.
    """
    for output in outputs:
        match = OUTPUT.fullmatch(output)
        if match and match[1] == session_id:
            return command_id(session_id, int(match[2]))
    return None


def compare(before: Sample | None, now: Sample) -> list[Load]:
    """What happened between two looks, per second; the command that began first comes first."""
    earlier = {info.id: info for info in before.commands} if before else {}
    seconds = now.time - before.time if before else 0.0
    loads = []
    for info in sorted(now.commands, key=lambda info: (info.started_at or info.state.queued_at, info.number)):
        usage = now.usage.get(info.id)
        cpu = rate = None
        if before is not None and seconds > 0:
            known = before.usage.get(info.id)
            if usage is not None:
                # A process that was not there before has used all that it has used since then.
                spent = sum(
                    total - (known.cpu_seconds.get(process, 0.0) if known else 0.0)
                    for process, total in usage.cpu_seconds.items()
                )
                cpu = 100 * max(spent, 0.0) / seconds
            old = earlier.get(info.id)
            written = size_of(info) - (size_of(old) if old else 0)
            rate = max(written, 0) / seconds
        loads.append(
            Load(
                info,
                cpu,
                usage.memory_bytes if usage else None,
                len(usage.cpu_seconds) if usage else None,
                rate,
                now.last_lines.get(info.id, ""),
            )
        )
    return loads


def size_of(info: CommandInfo) -> int:
    return info.stdout_bytes + info.stderr_bytes


def last_line_of(output: bytes) -> str:
    """What was written last, as far as it fits. A line that overwrote itself (a progress bar) is what it was last."""
    lines = output[-LINE_BYTES:].replace(b"\r", b"\n").decode("utf-8", "replace").rstrip().splitlines()
    return harmless(lines[-1]) if lines else ""


def load_row(load: Load, session_name: str, now: float) -> list[Cell]:
    """For `COLUMNS`; `now` is in Unix seconds."""
    info = load.info
    busy = load.cpu_percent is not None and load.cpu_percent >= 50
    text = harmless(shown_text(info))
    return [
        Cell(info.id),
        Cell(session_name),
        Cell("-" if load.cpu_percent is None else f"{load.cpu_percent:.0f}", "yellow" if busy else None),
        Cell("-" if load.memory_bytes is None else format_size(load.memory_bytes)),
        Cell("-" if load.processes is None else str(load.processes)),
        Cell("-" if load.bytes_per_second is None else format_size(load.bytes_per_second)),
        Cell(format_size(size_of(info))),
        Cell(format_span(now - info.started_at) if info.started_at is not None else ""),
        Cell(text if len(text) <= COMMAND_CELLS else text[: COMMAND_CELLS - 1] + "…"),
        Cell(load.last_line),
    ]
