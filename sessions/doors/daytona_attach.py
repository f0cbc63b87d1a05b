"""Clients of a terminal, over WebSocket: what it draws goes to all of them, what they type goes to it.

The first frame says ``connected``, at once: one client waits for it for a tenth of a second. A client that leaves ends
nothing, one that reads slowly holds up nobody. When the program has ended, each is told its exit code, by a message and by the
close frame.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import trio
from starlette.websockets import WebSocket

from ..arguments import check_env
from ..errors import Closed, NotFound
from ..following import Follower
from .daytona_errors import Refusal
from .daytona_follow import DONE, GOING_AWAY, cut, say_goodbye
from .daytona_routing import Call, Row
from .daytona_terminals import Pty, exit_of, find_pty, open_pty
from .daytona_versions import version_token
from .following_logs import collect
from .open_streams import OpenStream, ServerCloses, Streams
from .operations import Disconnected, while_connected
from .requests import to_json

EXIT_TOKEN: Final = "X-Daytona-Pty-Exit-Control"
"""The subprotocol of clients that read how a program ended from a message."""
ENV_TOKEN: Final = "X-Daytona-Pty-Envs~"
"""The beginning of one that carries an environment. It is secret, so never chosen."""
FAILED: Final = 1011
KEYS_AHEAD: Final = 64
"""Messages of input that may wait for a program to read; then the client waits. Until then its pings are answered."""


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
            await while_connected(socket.receive, partial(say_goodbye, socket, FAILED, "PTY session not found"))
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
    await Client(call.streams, socket, pty, after).serve()


class Client:
    """One WebSocket on one terminal."""

    def __init__(self, streams: Streams, socket: WebSocket, pty: Pty, after: int | None) -> None:
        self._streams = streams
        self._socket = socket
        self._terminal = pty.terminal
        self._after = after
        self._token = choose_token(socket.scope["subprotocols"])

    async def serve(self) -> None:
        with self._streams.one_more() as stream, suppress(Disconnected):
            await self._socket.accept(self._token)
            await self._socket.send_text(control("connected"))
            send, receive = trio.open_memory_channel[bytes](KEYS_AHEAD)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, send, nursery.cancel_scope)
                nursery.start_soon(self._type, receive)
                nursery.start_soon(self._until_over, partial(self._draw, stream), nursery.cancel_scope)

    async def _listen(self, keys: trio.MemorySendChannel[bytes], scope: trio.CancelScope) -> None:
        while (message := await self._socket.receive())["type"] != "websocket.disconnect":
            data = message.get("bytes") or (message.get("text") or "").encode()
            if data:
                await keys.send(data)
        scope.cancel()

    async def _type(self, keys: trio.MemoryReceiveChannel[bytes]) -> None:
        async for data in keys:
            with suppress(Closed):  # its end is being told
                await self._terminal.send_input(data)

    async def _until_over(self, draw: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
        try:
            await draw()
            await self._terminal.wait()
            await self._say_exit()
        except ServerCloses:
            await say_goodbye(self._socket, GOING_AWAY, "the server is about to end")
        scope.cancel()

    async def _draw(self, stream: OpenStream) -> None:
        follower = Follower(None, late=False)
        try:
            info = self._terminal.info
            follower.add_commands(self._terminal.archive, info.session_id, [info], self._after)
            over = False
            while not over:
                found = await self._streams.wait_aloud(partial(collect, follower), trio.lowlevel.checkpoint)
                assert found is not None
                records, ended, over = found
                for frame in cut(b"".join([record.data for record in records])):
                    with stream.waiting():
                        await self._socket.send_bytes(frame)
                over = over or ended is not None
        finally:
            follower.close()

    async def _say_exit(self) -> None:
        code, reason = exit_of(self._terminal)
        facts = {"exitCode": code} if reason is None else {"exitCode": code, "exitReason": reason}
        if self._token == EXIT_TOKEN:
            await self._socket.send_text(control("exited", **facts))
        await say_goodbye(self._socket, DONE if code == 0 else FAILED, to_json(facts))


ROWS: Final = [
    Row("GET", "process/pty/create-connect", socket=create),
    Row("GET", "process/pty/*/connect", socket=connect),
]
