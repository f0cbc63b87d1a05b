"""A command's log over a WebSocket: all from the beginning, then live, until the command ends, for any number of clients.

Records go out as soon as they are there; those that are there together share frames. The stream ends with code 1000, which
clients need to see, since they never connect again.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Final

import trio
from starlette.websockets import WebSocket

from ...command import Command
from ...models import Record
from ..following_logs import PIECE_BYTES
from ..open_streams import OpenStream, ServerCloses, Streams
from ..operations import Disconnected, while_connected
from ..passing_on import pass_on
from ..streaming import GOING_AWAY, NORMAL_CLOSURE, cut, say_goodbye
from .frames import FRAME_BYTES, Framer, runs
from .routing import Call, Row
from .sessions import COMMAND, command_of, no_entrypoint, whole
from .versions import version_token

SOURCE: Final = "x-daytona-source"
"""The header that tells which client it is."""


class LogSocket:
    """One client that follows one command."""

    def __init__(
        self, streams: Streams, command: Command, socket: WebSocket, framer: Framer | None, live: bool
    ) -> None:
        self._streams = streams
        self._command = command
        self._socket = socket
        self._framer = framer
        self._live = live

    async def serve(self, subprotocol: str | None) -> None:
        with self._streams.one_more() as stream, suppress(Disconnected):
            await self._socket.accept(subprotocol)
            # What it sends is of no interest, but pings are answered only while somebody reads.
            await while_connected(self._socket.receive, partial(self._tell, stream))

    async def _tell(self, stream: OpenStream) -> None:
        code = NORMAL_CLOSURE
        try:
            await (self._follow(stream) if self._live else self._replay(stream))
        except ServerCloses:
            code = GOING_AWAY
        await say_goodbye(self._socket, code, "the server is about to end" if code != NORMAL_CLOSURE else None)

    async def _follow(self, stream: OpenStream) -> None:
        await pass_on(
            self._command,
            None,
            lambda read: self._streams.wait_aloud(read, trio.lowlevel.checkpoint),
            lambda records: self._send(records, stream),
        )

    async def _replay(self, stream: OpenStream) -> None:
        """What is there now."""
        batch: list[Record] = []
        size = 0
        for record in whole(self._command):
            batch.append(record)
            size += len(record.data)
            if size >= PIECE_BYTES:
                await self._send(batch, stream)
                batch, size = [], 0
        await self._send(batch, stream)

    async def _send(self, records: list[Record], stream: OpenStream) -> None:
        for name, data in runs(records):
            for frame in self._framer.frames(name, data) if self._framer is not None else cut(data, FRAME_BYTES):
                with stream.waiting():
                    await self._socket.send_bytes(frame)


async def follow(call: Call, socket: WebSocket) -> None:
    command = await command_of(call)
    live = call.first("follow").lower() == "true"
    subprotocol = version_token(socket.scope["subprotocols"])
    framer = Framer(eager=call.headers.get(SOURCE, "").startswith("sdk-python")) if call.form != "plain" else None
    await LogSocket(call.streams, command, socket, framer, live).serve(subprotocol)


async def follow_entrypoint(call: Call, socket: WebSocket) -> None:
    await no_entrypoint(call)


ROWS: Final = [
    Row("GET", "process/session/entrypoint/logs", socket=follow_entrypoint),
    Row("GET", f"{COMMAND}/logs", socket=follow),
]
