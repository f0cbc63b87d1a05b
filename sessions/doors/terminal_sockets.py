"""A terminal's clients over WebSocket: what it draws goes to all of them, what they type goes to it.

A client that leaves ends nothing, one that reads slowly holds up nobody. How a client is greeted, what its messages mean and how
it is told the end is a door's dialect.
"""

from __future__ import annotations

from typing import Final

import trio
from starlette.types import Message
from starlette.websockets import WebSocket

from ..errors import SessionsError
from ..models import Record
from ..terminal import Terminal
from .open_streams import OpenStream, Streams
from .passing_on import pass_on
from .streaming import cut
from .waiting_input import WaitingInput

FRAME_BYTES: Final = 1 << 16
"""Clients bound the size of a message."""
LEAVING_SECONDS: Final = 1.0
"""What was typed before its client left has so long to be taken by the program."""


class TerminalSocket:
    """One WebSocket on one terminal; its door's own says the rest."""

    def __init__(self, streams: Streams, socket: WebSocket, terminal: Terminal, after: int | None) -> None:
        """It is shown what comes behind the record `after`, or all."""
        self.socket = socket
        self.terminal = terminal
        self._streams = streams
        self._after = after

    async def greet(self) -> None:
        """The first message."""
        raise NotImplementedError

    async def read(self, message: Message) -> bytes:
        """What is to be typed of a message; nothing if that is done with."""
        raise NotImplementedError

    async def say_error(self, error: SessionsError) -> None:
        """A message could not be followed. It goes on."""
        raise NotImplementedError

    async def say_end(self) -> None:
        """Its program has ended: tell that, and close."""
        raise NotImplementedError

    async def say_failure(self, error: Exception) -> None:
        """It can't go on: tell why, and close."""
        raise NotImplementedError

    async def serve(self, subprotocol: str | None = None) -> None:
        with self._streams.one_more() as stream, WaitingInput() as keys:
            await self.socket.accept(subprotocol)
            await self.greet()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, keys, nursery.cancel_scope)
                nursery.start_soon(self._type, keys, nursery.cancel_scope)
                nursery.start_soon(self._show, stream, nursery.cancel_scope)

    async def _listen(self, keys: WaitingInput, everything: trio.CancelScope) -> None:
        while (message := await self.socket.receive())["type"] != "websocket.disconnect":
            try:
                data = await self.read(message)
            except SessionsError as error:
                await self.say_error(error)
                continue
            await keys.add(data)
        keys.complete()
        await trio.sleep(LEAVING_SECONDS)
        everything.cancel()

    async def _type(self, keys: WaitingInput, everything: trio.CancelScope) -> None:
        await keys.feed(self.terminal)
        everything.cancel()

    async def _show(self, stream: OpenStream, everything: trio.CancelScope) -> None:
        try:
            await self._draw(stream)
            await self.terminal.wait()
        except Exception as error:
            await self.say_failure(error)
        else:
            await self.say_end()
        everything.cancel()

    async def _draw(self, stream: OpenStream) -> None:
        async def take(records: list[Record]) -> None:
            for frame in cut(b"".join([record.data for record in records]), FRAME_BYTES):
                with stream.waiting():
                    await self.socket.send_bytes(frame)

        await pass_on(
            self.terminal, self._after, lambda read: self._streams.wait_aloud(read, trio.lowlevel.checkpoint), take
        )
