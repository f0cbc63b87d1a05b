"""The native door's terminals: open, find, resize, and attach to one over a WebSocket. Otherwise a terminal is a command."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response
from starlette.types import ASGIApp, Message
from starlette.websockets import WebSocket

from ...errors import Conflict, NotFound, SessionsError
from ...terminal import Terminal
from ...wire import CreateTerminal, Resize, TerminalView, WrongField, to_wire, view_command
from ..operations import Call, Operation
from ..requests import count, json_response, read_json, to_bytes, to_json
from ..streaming import INTERNAL_ERROR, NORMAL_CLOSURE, say_goodbye, to_message, to_object
from ..terminal_sockets import TerminalSocket
from .commands import PREFIXES, find_command
from .follow import AFTER

LARGEST_SIZE: Final = 65535
SIZE: Final[dict[str, Any]] = {
    name: count(f"How many {name} the client has: the terminal gets this size.", 1, LARGEST_SIZE)
    for name in ("rows", "columns")
}


class UpgradeRequired(SessionsError):
    """There is nothing to be had here without a WebSocket."""

    code = "upgrade_required"
    status = 426
    headers: Final = {"Upgrade": "websocket", "Connection": "Upgrade"}


async def find_terminal(call: Call) -> Terminal:
    return await call.engine.get_terminal(call.path["terminal"])


async def view(terminal: Terminal) -> TerminalView:
    redraw_after = await terminal.redraw_after()
    return TerminalView(**to_wire(view_command(terminal.info)), redraw_after=redraw_after)


async def create(call: Call) -> ASGIApp:
    asked: CreateTerminal = call.body
    terminal = await call.engine.create_terminal(
        asked.text,
        name=asked.name,
        rows=asked.rows,
        columns=asked.columns,
        cwd=asked.cwd,
        env=asked.env,
        labels=asked.labels,
    )
    return json_response(await view(terminal), 201, {"Location": f"{call.base}/terminals/{terminal.session_id}"})


async def show(call: Call) -> ASGIApp:
    return json_response(await view(await find_terminal(call)))


async def resize(call: Call) -> ASGIApp:
    command = await find_command(call)
    try:
        terminal = await call.engine.get_terminal(command.session_id)
    except NotFound:
        raise Conflict(f"command {command.id} runs in no terminal: it has no size") from None
    await terminal.resize(call.body.rows, call.body.columns)
    return Response(status_code=204)


async def only_over_websocket(call: Call) -> ASGIApp:
    terminal = await find_terminal(call)
    raise UpgradeRequired(f"attach to terminal {terminal.id} over a WebSocket, or follow it and send it input")


async def attach(call: Call, socket: WebSocket) -> None:
    terminal = await find_terminal(call)
    rows, columns, after = (call.query[name] for name in ("rows", "columns", "after"))
    if (rows is None) != (columns is None):
        raise WrongField("give rows and columns, or neither", "?rows" if rows is None else "?columns")
    if rows is not None:
        await terminal.resize(rows, columns)
    if after is None:
        after = await terminal.redraw_after()
    await Attached(call.streams, socket, terminal, after).serve()


class Attached(TerminalSocket):
    """One that speaks our own dialect: bytes are what is drawn and typed, texts are JSON objects about it."""

    async def greet(self) -> None:
        await self._say("attached")

    async def _say(self, event: str) -> None:
        await self.socket.send_text(to_json({"event": event, **to_wire(view_command(self.terminal.info))}, ascii=True))

    async def read(self, message: Message) -> bytes:
        text = message.get("text")
        if text is None:
            return bytes(message.get("bytes") or b"")
        rows, columns = read_size(text)
        await self.terminal.resize(rows, columns)
        return b""

    async def say_error(self, error: SessionsError) -> None:
        await self.socket.send_text(to_object(to_message(error)))

    async def say_end(self) -> None:
        await self._say("end")
        await say_goodbye(self.socket, NORMAL_CLOSURE)

    async def say_failure(self, error: Exception) -> None:
        await self.socket.send_text(to_object(to_message(error)))
        await say_goodbye(self.socket, INTERNAL_ERROR)


def read_size(text: str) -> tuple[int, int]:
    """``{"resize": [rows, columns]}``."""
    match read_json(to_bytes(text)):
        case {"resize": [int(rows), int(columns)], **rest} if not rest:
            return rows, columns
    raise WrongField('expected {"resize": [ROWS, COLUMNS]}; what is typed goes as bytes', "$")


OPERATIONS: Final = [
    Operation(
        method="POST",
        path="/terminals",
        summary="Open a terminal: a program that believes that a person sits in front of it.",
        answer=create,
        body=CreateTerminal,
        status=201,
        result=TerminalView,
    ),
    Operation(
        method="GET",
        path="/terminals/{terminal}",
        summary="One terminal, by its session's name or id.",
        answer=show,
        result=TerminalView,
    ),
    Operation(
        method="GET",
        path="/terminals/{terminal}/attach",
        summary="A WebSocket: what the terminal draws, and what is typed into it.",
        answer=only_over_websocket,
        websocket=attach,
        query={"after": AFTER, **SIZE},
        status=101,
        streams=True,
    ),
    *(
        Operation(
            method="POST",
            path=prefix + "/resize",
            summary="Change a terminal's size.",
            answer=resize,
            body=Resize,
            status=204,
        )
        for prefix in PREFIXES
    ),
]
