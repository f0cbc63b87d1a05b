"""Sessions and commands as JSON objects and as rows of a table. Plain; no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..doors.own_shells import shown_text
from ..lifecycle import state_name
from ..models import CommandInfo, SessionInfo
from ..wire import to_wire, view_command
from .outcomes import code_of, describe_end
from .text import Cell, Column, harmless
from .times import format_size, format_span

COMMANDS: Final = (
    Column("ID"),
    Column("SESSION"),
    Column("STATE"),
    Column("EXIT"),
    Column("AGE", right=True),
    Column("DURATION", right=True),
    Column("BYTES", right=True),
    Column("COMMAND"),
)
SESSIONS: Final = (
    Column("ID"),
    Column("NAME"),
    Column("STATE"),
    Column("AGE", right=True),
    Column("SHELL"),
    Column("LABELS"),
    Column("CWD"),
)
STATE_STYLES: Final[Mapping[str, str]] = {
    "running": "green", "queued": "yellow", "open": "green", "stalled": "red", "ended": "yellow", "lost": "red",
}  # fmt: skip


def command_object(info: CommandInfo, session_name: str) -> dict[str, Any]:
    """What the server's answers show of it, and its session's name."""
    view: dict[str, Any] = to_wire(view_command(info))
    return view | {"session": session_name}


def session_object(info: SessionInfo) -> dict[str, Any]:
    view: dict[str, Any] = to_wire(info)
    return view


def command_row(info: CommandInfo, session_name: str, now: float) -> list[Cell]:
    """For the columns `COMMANDS`. Its age is counted from when it was submitted."""
    state = state_name(info.state)
    end = describe_end(info)
    duration = ""
    if info.started_at is not None:
        duration = format_span((now if info.finished_at is None else info.finished_at) - info.started_at)
    return [
        Cell(info.id),
        Cell(session_name),
        Cell(state, STATE_STYLES.get(state)),
        Cell(end, "red" if end and code_of(info) else None),
        Cell(format_span(now - info.state.queued_at)),
        Cell(duration),
        Cell(format_size(info.stdout_bytes + info.stderr_bytes)),
        Cell(harmless(shown_text(info))),
    ]


def session_row(info: SessionInfo, now: float) -> list[Cell]:
    """For the columns `SESSIONS`."""
    labels = ",".join(f"{key}={value}" for key, value in sorted(info.labels.items()))
    return [
        Cell(info.id),
        Cell(info.name),
        Cell(info.state, STATE_STYLES.get(info.state)),
        Cell(format_span(now - info.created_at)),
        Cell(info.shell),
        Cell(harmless(labels)),
        Cell(harmless(info.cwd)),
    ]
