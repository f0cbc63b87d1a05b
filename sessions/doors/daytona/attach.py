"""Clients of a terminal that speak Daytona's dialect.

The first frame says ``connected``, at once: one client waits for it for a tenth of a second. When the program has ended, each is
told its exit code, by a message and by the close frame.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from starlette.types import Message
from starlette.websockets import WebSocket

from ...arguments import check_env
from ...errors import NotFound, SessionsError
from ..open_streams import ServerCloses
from ..operations import Disconnected, while_connected
from ..requests import to_json
from ..streaming import GOING_AWAY, INTERNAL_ERROR, NORMAL_CLOSURE, say_goodbye
from ..terminal_sockets import TerminalSocket
from .errors import Refusal
from .routing import Call, Row
from .terminals import Pty, exit_of, find_pty, open_pty
from .versions import version_token

EXIT_TOKEN: Final = "X-Daytona-Pty-Exit-Control"
"""The subprotocol of clients that read how a program ended from a message."""
ENV_TOKEN: Final = "X-Daytona-Pty-Envs~"
"""The beginning of one that carries an environment. It is secret, so never chosen."""


def control(status: str, **facts: Any) -> str:
    return to_json({"type": "control", "status": status, **facts})


async def create(call: Call, socket: WebSocket) -> None:
    offered = socket.scope["subprotocols"]
    columns, rows = read_size(call, "cols", 80), read_size(call, "rows", 24)
    cwd, env = call.first("cwd") or None, read_env(offered)
    pty = await open_pty(call, call.first("id"), columns, rows, cwd, env, True)
    await attach(call, socket, pty)


async def connect(call: Call, socket: WebSocket) -> None:
    try:
        pty = find_pty(call)
    except NotFound as error:
        # Clients show the text of this message, but nothing of an upgrade that is refused.
        await socket.accept(choose_token(socket.scope["subprotocols"]))
        await socket.send_text(control("error", error=str(error)))
        with suppress(Disconnected):
            await while_connected(socket.receive, partial(say_goodbye, socket, INTERNAL_ERROR, "PTY session not found"))
        return
    await attach(call, socket, pty)


def read_size(call: Call, name: str, otherwise: int) -> int:
    text = call.first(name)
    if text and not (text.isdecimal() and len(text) < 9):
        raise Refusal(400, "BAD_REQUEST", f"{name}: expected a whole number, not {text!r}")
    return int(text) if text else otherwise


def read_env(offered: Sequence[str]) -> dict[str, str]:
    token = next((token for token in offered if token.startswith(ENV_TOKEN)), None)
    if token is None:
        return {}
    data = token[len(ENV_TOKEN) :]
    try:
        found = json.loads(base64.urlsafe_b64decode(data + "=" * (-len(data) % 4)))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Refusal(400, "BAD_REQUEST", f"what follows {ENV_TOKEN!r} is not base64url of a JSON object")
    return check_env(found)


def choose_token(offered: Sequence[str]) -> str | None:
    return EXIT_TOKEN if EXIT_TOKEN in offered else version_token(offered)


async def attach(call: Call, socket: WebSocket, pty: Pty) -> None:
    after = None if pty.from_start else pty.terminal.info.last_seq
    pty.from_start = False
    token = choose_token(socket.scope["subprotocols"])
    await Client(call.streams, socket, pty.terminal, after).serve(token)


class Client(TerminalSocket):
    """One that speaks Daytona's dialect."""

    async def greet(self) -> None:
        await self.socket.send_text(control("connected"))

    async def read(self, message: Message) -> bytes:
        return message.get("bytes") or (message.get("text") or "").encode()

    async def say_error(self, error: SessionsError) -> None:
        await self.socket.send_text(control("error", error=str(error)))

    async def say_end(self) -> None:
        code, reason = exit_of(self.terminal)
        facts = {"exitCode": code} if reason is None else {"exitCode": code, "exitReason": reason}
        if EXIT_TOKEN in self.socket.scope["subprotocols"]:
            await self.socket.send_text(control("exited", **facts))
        await say_goodbye(self.socket, NORMAL_CLOSURE if code == 0 else INTERNAL_ERROR, to_json(facts))

    async def say_failure(self, error: Exception) -> None:
        if not isinstance(error, ServerCloses):
            raise error
        await say_goodbye(self.socket, GOING_AWAY, "the server is about to end")


ROWS: Final = [
    Row("GET", "process/pty/create-connect", socket=create),
    Row("GET", "process/pty/{pty}/connect", socket=connect),
]
