"""A WebSocket of the Nullspace dialect: JSON messages both ways, about any number of things at a time.

Clients use a socket for one command or terminal, but each message says which it is about, so there may be more. A socket on which
nothing has been told of for a moment is closed with 1000, after the last end was told. Whenever something can't be told to its end it
is closed with 1011: there is a client that takes 1000 without an end, and 1001, for success.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, Final

import trio
from starlette.websockets import WebSocket

from ...command import Command
from ...errors import Closed, SessionsError
from ...models import Record
from ..fields import Fields, read_fields
from ..open_streams import OpenStream
from ..operations import Disconnected, while_connected
from ..passing_on import pass_on
from ..requests import to_bytes, to_json
from ..streaming import INTERNAL_ERROR, NORMAL_CLOSURE, say_goodbye
from .errors import status_and_code
from .routing import Call

LINGER_SECONDS: Final = 1.0
"""How long a socket on which nothing is told of may be silent."""
INPUT_AHEAD: Final = 64 << 20
"""Bytes or characters that may wait for programs to read; then the client waits. Until then all that it sends is heard: a kill,
a ping."""
MESSAGE_SIZE: Final = 1 << 10
"""What a message that waits takes beside its input, and somewhat more."""


class Channel:
    """One socket. Which messages there are, and what they mean, is said by those derived from it."""

    def __init__(self, call: Call, socket: WebSocket) -> None:
        self.call = call
        self._socket = socket
        self._stream = OpenStream()
        self._sending = trio.Lock()
        self._listening = trio.CancelScope()
        self._under_way = 0
        """What is being told of, and input that has not been taken yet."""
        self._handling = False
        self._failure: Exception | None = None
        self._inputs: dict[object, trio.MemorySendChannel[tuple[Callable[[], Awaitable[None]], int]]] = {}
        self._ahead = 0
        """How much waits, as `INPUT_AHEAD` counts it."""
        self._was_taken = trio.Event()
        self._telling: trio.Nursery
        self._putting: trio.Nursery

    async def handle(self, kind: str, fields: Fields) -> None:
        """Follow one message. What it raises on purpose is answered with an error; the socket goes on."""
        raise NotImplementedError

    async def say(self, kind: str, id: str, **facts: Any) -> None:
        message = to_bytes(to_json({"type": kind, "id": id, **facts})).decode()
        async with self._sending:
            with self._stream.waiting():
                await self._socket.send_text(message)

    async def serve(self) -> None:
        gone = False
        with ExitStack() as held:
            self._stream = held.enter_context(self.call.streams.one_more())
            await self._socket.accept()
            async with trio.open_nursery() as self._putting:
                async with trio.open_nursery() as self._telling:
                    with self._listening:
                        await self._listen()
                        gone = True
                    self._telling.cancel_scope.cancel()
                if gone:
                    # It has still sent what it has sent, and an end of input may be the last of it. Until all is taken, it
                    # takes nobody's place, and its machine may rest.
                    held.close()
                    self.call.leave()
                    for send in self._inputs.values():
                        send.close()
                else:
                    self._putting.cancel_scope.cancel()
            if not gone:
                code, reason = (INTERNAL_ERROR, str(self._failure)[:100]) if self._failure else (NORMAL_CLOSURE, None)
                with suppress(Disconnected):
                    await while_connected(self._socket.receive, partial(say_goodbye, self._socket, code, reason))

    async def _listen(self) -> None:
        while (message := await self._socket.receive())["type"] != "websocket.disconnect":
            self._listening.deadline = float("inf")
            self._handling = True
            fields = None
            try:
                fields = read_fields(message.get("bytes") or (message.get("text") or "").encode())
                await self.handle(fields.text("type") or "", fields)
            except SessionsError as error:
                await self._say_error(fields, error)
            self._handling = False
            self._rest()

    async def _say_error(self, fields: Fields | None, error: SessionsError) -> None:
        about = fields.values.get("id") if fields is not None else None
        _, code = status_and_code(error)
        await self.say("error", about if isinstance(about, str) else "", message=str(error), code=code)

    def _rest(self) -> None:
        """If there is nothing to do, end it soon."""
        if not self._under_way and not self._handling:
            self._listening.deadline = trio.current_time() + LINGER_SECONDS

    def tell(self, work: Callable[[], Awaitable[None]]) -> None:
        """Let `work` tell of something to its end. If it fails, so does the socket."""
        self._under_way += 1
        self._telling.start_soon(self._tell, work)

    async def _tell(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as error:
            if not isinstance(error, SessionsError):
                raise
            self._failure = error
            self._listening.cancel()
        self._under_way -= 1
        self._rest()

    async def follow(
        self, command: Command, after: int | None, take: Callable[[list[Record]], Awaitable[None]]
    ) -> None:
        """Pass on its records behind `after`, or all, then live; returns when it is finished."""
        streams = self.call.streams
        await pass_on(command, after, lambda read: streams.wait_aloud(read, trio.lowlevel.checkpoint), take)
        await self.call.streams.wait_aloud(command.wait, trio.lowlevel.checkpoint)

    async def put_in(self, whose: object, fields: Fields, size: int, work: Callable[[], Awaitable[None]]) -> None:
        """Do what gives input of this size to something when that has taken the input before."""
        send = self._inputs.get(whose)
        if send is None:
            send, receive = trio.open_memory_channel[tuple[Callable[[], Awaitable[None]], int]](float("inf"))
            self._inputs[whose] = send
            self._putting.start_soon(self._put_in, receive)

        async def put() -> None:
            try:
                await work()
            except Closed:
                pass  # its end is being told
            except SessionsError as error:
                await self._say_error(fields, error)

        self._under_way += 1
        size += MESSAGE_SIZE
        while self._ahead and self._ahead + size > INPUT_AHEAD:
            self._was_taken = trio.Event()
            await self._was_taken.wait()
        self._ahead += size
        send.send_nowait((put, size))

    async def _put_in(self, receive: trio.MemoryReceiveChannel[tuple[Callable[[], Awaitable[None]], int]]) -> None:
        async for put, size in receive:
            await put()
            self._ahead -= size
            self._was_taken.set()
            self._under_way -= 1
            self._rest()
