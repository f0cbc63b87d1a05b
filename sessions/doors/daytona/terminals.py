"""Terminals of the Daytona dialect (PTY sessions), over HTTP: made, listed, resized, killed."""

from __future__ import annotations

from typing import Any, Final
from weakref import WeakKeyDictionary

import attrs
import trio
from starlette.types import ASGIApp

from ...errors import NotFound
from ...models import SessionInfo
from ...spaces import Space
from ...terminal import Terminal
from ..rendering import rfc3339
from ..requests import json_response
from .errors import Refusal
from .routing import Call, Row

LARGEST: Final = 1000
"""Rows or columns."""
KILLED: Final = 137
REASONS: Final = {130: "Ctrl+C", 137: "SIGKILL", 143: "SIGTERM"}


@attrs.define(eq=False)
class Pty:
    """A terminal, as this door's clients know it."""

    id: str
    terminal: Terminal
    session: SessionInfo
    columns: int
    rows: int
    from_start: bool
    """Whether its next client sees all that it has drawn so far."""


PTYS: Final[WeakKeyDictionary[Space, dict[str, Pty]]] = WeakKeyDictionary()
"""Those of each space, by the ids that clients gave. One whose program has ended is there until somebody looks."""


def ptys_of(space: Space) -> dict[str, Pty]:
    found = PTYS.setdefault(space, {})
    for pty in list(found.values()):
        if pty.terminal.state == "finished":
            del found[pty.id]
    return found


def find_pty(call: Call) -> Pty:
    pty = ptys_of(call.space).get(call.ids["pty"])
    if pty is None:
        raise NotFound(f"PTY session {call.ids['pty']!r} not found")
    return pty


async def open_pty(
    call: Call, pty_id: str, columns: int, rows: int, cwd: str | None, env: dict[str, str], from_start: bool
) -> Pty:
    """`Conflict` if one of this id runs."""
    if not pty_id:
        raise Refusal(400, "BAD_REQUEST", "id is missing: a PTY session needs one")
    check_size(columns, rows)
    terminal = await call.space.create_terminal(pty_id, rows=rows, columns=columns, cwd=cwd, env=env)
    session = await call.spaces.engine.get_session(terminal.session_id)
    pty = Pty(pty_id, terminal, session.info, columns, rows, from_start)
    PTYS.setdefault(call.space, {})[pty_id] = pty
    return pty


def check_size(columns: int, rows: int) -> None:
    for name, value in (("cols", columns), ("rows", rows)):
        if not 1 <= value <= LARGEST:
            raise Refusal(400, "BAD_REQUEST", f"{name}: expected a whole number from 1 to {LARGEST}")


def view(pty: Pty) -> dict[str, Any]:
    return {
        "id": pty.id,
        "cwd": pty.session.cwd,
        "envs": {"TERM": "xterm-256color", **pty.session.env},
        "cols": pty.columns,
        "rows": pty.rows,
        "createdAt": rfc3339(pty.session.created_at),
        "active": pty.terminal.state != "finished",
        "lazyStart": False,
    }


def exit_of(terminal: Terminal) -> tuple[int, str | None]:
    """The exit code that clients are told, and the reason in words, None for 0."""
    code = terminal.exit_code
    if terminal.reason in ("killed", "session_closed", "lost") or code is None:
        code = KILLED
    if code == 0:
        return 0, None
    return code, REASONS.get(code, f"signal {code - 128}" if code > 128 else "non-zero exit")


async def create(call: Call) -> ASGIApp:
    body = call.body
    pty_id, cwd, env = body.needed_text("id"), body.text("cwd"), body.texts("envs")
    columns, rows = body.integer("cols") or 80, body.integer("rows") or 24
    await open_pty(call, pty_id, columns, rows, cwd, env, body.flag("lazyStart"))
    return json_response({"sessionId": pty_id}, 201)


async def show_all(call: Call) -> ASGIApp:
    return json_response({"sessions": [view(pty) for pty in ptys_of(call.space).values()]})


async def show(call: Call) -> ASGIApp:
    return json_response(view(find_pty(call)))


async def kill(call: Call) -> ASGIApp:
    pty = find_pty(call)
    with trio.CancelScope(shield=True):
        await pty.terminal.kill(grace=0)
    return json_response({"message": f"PTY session {pty.id} was killed"})


async def resize(call: Call) -> ASGIApp:
    pty = find_pty(call)
    columns, rows = call.body.integer("cols") or 0, call.body.integer("rows") or 0
    check_size(columns, rows)
    await pty.terminal.resize(rows, columns)
    pty.columns, pty.rows = columns, rows
    return json_response(view(pty))


ROWS: Final = [
    Row("GET", "process/pty", show_all),
    Row("POST", "process/pty", create),
    Row("GET", "process/pty/{pty}", show),
    Row("DELETE", "process/pty/{pty}", kill),
    Row("POST", "process/pty/{pty}/resize", resize),
]
