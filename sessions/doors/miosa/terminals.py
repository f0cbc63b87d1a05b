"""Terminals of the Miosa dialect: made, resized and deleted over HTTP, and those of a sandbox used over a WebSocket."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

import trio
from starlette.types import ASGIApp, Message
from starlette.websockets import WebSocket

from ...errors import NotFound, SessionsError
from ...spaces import Space
from ...terminal import Terminal
from ..fields import read_fields
from ..open_streams import ServerCloses
from ..outcomes import told_exit_code
from ..requests import json_response, to_json
from ..starting import find_directory
from ..streaming import GOING_AWAY, INTERNAL_ERROR, NORMAL_CLOSURE, say_goodbye
from ..terminal_sockets import TerminalSocket
from .launch import SHELLS, program
from .routing import Call, Row

ROWS_OF_SCREEN: Final = 24
COLUMNS: Final = 80
LARGEST: Final = 65535


async def open_terminal(
    space: Space,
    text: str | None,
    *,
    rows: int | None,
    columns: int | None,
    cwd: str | None,
    env: Mapping[str, str],
) -> tuple[str, Terminal]:
    """Its name, and a program on a terminal: a login shell if `text` is None."""
    name = f"pty_{uuid.uuid4().hex}"
    rows, columns, cwd = rows or ROWS_OF_SCREEN, columns or COLUMNS, find_directory(space, cwd or "")
    return name, await space.create_terminal(name, text, rows=rows, columns=columns, cwd=cwd, env=env)


def find(call: Call) -> Terminal:
    terminal = call.space.terminals.get(call.ids["terminal"])
    if terminal is None:
        raise NotFound(f"{call.kind} {call.space.id} has no terminal {call.ids['terminal']!r}")
    return terminal


async def create(call: Call) -> ASGIApp:
    body = call.body
    shell = body.text("shell") or ""
    rows, columns = body.count("rows", 1, LARGEST), body.count("cols", 1, LARGEST)
    name, _ = await open_terminal(
        call.space,
        None if shell in SHELLS else program([shell]),
        rows=rows,
        columns=columns,
        cwd=body.text("cwd"),
        env=body.texts("env"),
    )
    facts = {"session_id": name, "id": name, "rows": rows or ROWS_OF_SCREEN, "cols": columns or COLUMNS}
    return json_response(facts, 201)


async def resize(call: Call) -> ASGIApp:
    terminal = find(call)
    rows, columns = call.body.needed_count("rows", 1, LARGEST), call.body.needed_count("cols", 1, LARGEST)
    await terminal.resize(rows, columns)
    return json_response({"success": True, "rows": rows, "cols": columns})


async def delete(call: Call) -> ASGIApp:
    terminal = find(call)
    with trio.CancelScope(shield=True):
        await terminal.kill(grace=0)
    call.space.terminals.pop(call.ids["terminal"], None)  # somebody else may have been faster
    return json_response({"success": True})


class Screen(TerminalSocket):
    """What is drawn goes out as it is. What comes in is typed, but for a text that is a wish for another size."""

    async def greet(self) -> None:
        """Nothing is said before the terminal has something to show."""
        await trio.lowlevel.checkpoint()

    async def read(self, message: Message) -> bytes:
        data = message.get("bytes") or (message.get("text") or "").encode("utf-8", "replace")
        wish = read_wish(message.get("text") or "")
        if wish is None:
            return data
        if wish.get("type") == "resize":
            await self.terminal.resize(wish["rows"], wish["cols"])
            return b""
        return str(wish.get("data", "")).encode("utf-8", "replace")

    async def say_error(self, error: SessionsError) -> None:
        """There is no word for it."""
        await trio.lowlevel.checkpoint()

    async def say_end(self) -> None:
        await self.socket.send_text(to_json({"type": "exit", "code": told_exit_code(self.terminal)}))
        await say_goodbye(self.socket, NORMAL_CLOSURE)

    async def say_failure(self, error: Exception) -> None:
        code = GOING_AWAY if isinstance(error, ServerCloses) else INTERNAL_ERROR
        await say_goodbye(self.socket, code, str(error)[:100])


def read_wish(text: str) -> dict[str, Any] | None:
    """A message of the kinds that spawned programs take; None if it is something to type."""
    if not text.startswith("{"):
        return None
    try:
        fields = read_fields(text.encode("utf-8", "replace"))
        match fields.text("type"):
            case "resize":
                size = fields.needed_count("rows", 1, LARGEST), fields.needed_count("cols", 1, LARGEST)
                return {"type": "resize", "rows": size[0], "cols": size[1]}
            case "stdin" | "input":
                return {"type": "stdin", "data": fields.text("data")}
    except SessionsError:
        pass
    return None


async def attach(call: Call, socket: WebSocket) -> None:
    """To the terminal that the query names, else to the newest one that runs, else to a fresh one."""
    wanted = call.first("session_id") or call.first("id")
    terminals = {name: found for name, found in call.space.terminals.items() if found.state != "finished"}
    if wanted and wanted not in terminals:
        raise NotFound(f"sandbox {call.space.id} has no terminal {wanted!r} that runs")
    if terminals:
        terminal = terminals[wanted or list(terminals)[-1]]
    else:
        size = {"rows": call.count("rows", 1, LARGEST), "columns": call.count("cols", 1, LARGEST)}
        _, terminal = await open_terminal(call.space, None, cwd=None, env={}, **size)
    await Screen(call.streams, socket, terminal, await terminal.redraw_after()).serve()


ROWS: Final = [
    Row("POST", "/computers/{space}/terminal", create, runs=True),
    Row("DELETE", "/computers/{space}/terminal/{terminal}", delete),
    Row("POST", "/computers/{space}/pty/{terminal}/resize", resize),
    Row("POST", "/sandboxes/{space}/terminal", create, runs=True),
    Row("DELETE", "/sandboxes/{space}/terminal/{terminal}", delete),
    Row("POST", "/sandboxes/{space}/pty/{terminal}/resize", resize),
    Row("GET", "/sandboxes/{space}/terminal/stream", socket=attach, runs=True),
]
