"""Terminals of the Nullspace dialect (PTY sessions): opened and found, and over HTTP listed, resized and killed."""

from __future__ import annotations

import uuid
from typing import Any, Final
from weakref import WeakKeyDictionary

import attrs
from starlette.responses import Response
from starlette.types import ASGIApp

from ...spaces import Space
from ...terminal import Terminal
from ..endings import end
from ..fields import Fields
from ..requests import json_response
from .errors import Refusal
from .processes import directory_of
from .routing import Call, Row

COLUMNS: Final = 120
ROWS_OF_SCREEN: Final = 30
LARGEST: Final = 65535


@attrs.define(eq=False)
class Pty:
    """A terminal, as this door's clients know it."""

    id: str
    pid: int
    """Its number among the processes of its machine."""
    terminal: Terminal
    columns: int
    rows: int

    async def resize(self, fields: Fields) -> None:
        columns, rows = fields.needed_count("cols", 1, LARGEST), fields.needed_count("rows", 1, LARGEST)
        await self.terminal.resize(rows, columns)
        self.columns, self.rows = columns, rows


PTYS: Final[WeakKeyDictionary[Space, dict[str, Pty]]] = WeakKeyDictionary()
"""Those of each machine, by id. One whose program has ended is there until somebody looks."""


def ptys_of(machine: Space) -> dict[str, Pty]:
    found = PTYS.setdefault(machine, {})
    for pty in list(found.values()):
        if pty.terminal.state == "finished":
            del found[pty.id]
    return found


def find_pty(machine: Space, id: str | None, pid: int | None = None) -> Pty:
    for pty in ptys_of(machine).values():
        if id == pty.id or (id is None and pid == pty.pid):
            return pty
    named = f"session {id!r}" if id is not None else f"process {pid}"
    raise Refusal(404, "pty_session_not_found", f"machine {machine.id} has no PTY {named}")


async def open_pty(call: Call, fields: Fields) -> Pty:
    machine = await call.awake()
    columns = fields.count("cols", 1, LARGEST) or COLUMNS
    rows = fields.count("rows", 1, LARGEST) or ROWS_OF_SCREEN
    cwd, env = directory_of(machine, fields.text("cwd")), fields.texts("envs")
    id, number = f"pty_{uuid.uuid4().hex[:16]}", call.spaces.next_number(machine)
    terminal = await machine.create_terminal(id, rows=rows, columns=columns, cwd=cwd, env=env)
    pty = Pty(id, number, terminal, columns, rows)
    PTYS.setdefault(machine, {})[id] = pty
    return pty


def view(pty: Pty) -> dict[str, Any]:
    return {
        "session_id": pty.id,
        "pid": pty.pid,
        "cols": pty.columns,
        "rows": pty.rows,
        "exec_id": pty.terminal.id,
    }


async def show_all(call: Call) -> ASGIApp:
    return json_response([view(pty) for pty in ptys_of(call.machine).values()])


def pty_of(call: Call) -> Pty:
    return find_pty(call.machine, call.ids["pty"])


async def show(call: Call) -> ASGIApp:
    return json_response(view(pty_of(call)))


async def kill(call: Call) -> ASGIApp:
    await end(pty_of(call).terminal)
    return Response(status_code=204)


async def resize(call: Call) -> ASGIApp:
    await pty_of(call).resize(call.body)
    return Response(status_code=204)


ROWS: Final = [
    Row("GET", "/v1/machines/{machine}/pty", show_all),
    Row("GET", "/v1/machines/{machine}/pty/{pty}", show),
    Row("DELETE", "/v1/machines/{machine}/pty/{pty}", kill),
    Row("POST", "/v1/machines/{machine}/pty/{pty}/resize", resize),
]
