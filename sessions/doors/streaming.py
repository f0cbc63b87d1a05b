"""Streams of messages: as server-sent events, and over a WebSocket.

A source is read until it is over; it tells its end itself, with its last message, so a stream that just stops is a broken
one. The client is waited for: one that stops reading holds up its own stream alone, of which nothing but a piece is in memory.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Final, Protocol

import trio
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from ..errors import SessionsError
from .open_streams import OpenStream, Streams
from .operations import Answer, Call, Disconnected, SocketAnswer, Unexpected, while_connected
from .requests import error_json
from .telling import Message

LOGGER: Final = logging.getLogger("sessions.server")

HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
]
SILENCE: Final = b": \n\n"
"""A comment, which every client skips."""


class Source(Protocol):
    """Where messages come from, for the length of a block. What it refuses, it refuses on entering, before anything is sent."""

    async def __aenter__(self) -> object: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    async def read(self) -> Sequence[Message]:
        """The next messages, at least one; none when it is over. May be cancelled and called again without a loss."""


def to_events(messages: Sequence[Message]) -> bytes:
    """The text of server-sent events."""
    return "".join([to_event(message) for message in messages]).encode("ascii")


def to_event(message: Message) -> str:
    event, id, data = message
    if not event:
        return f"id: {id}\n: \n\n"  # a comment with a place: clients remember it and tell of nothing
    return f"event: {event}\ndata: {data}\n\n" if id is None else f"id: {id}\nevent: {event}\ndata: {data}\n\n"


def to_object(message: Message) -> str:
    """One JSON object that says the same."""
    head = f'{{"event":"{message.event}"' + (f',"id":"{message.id}"' if message.id is not None else "")
    return head + ("," if len(message.data) > 2 else "") + message.data[1:]


def to_message(error: Exception) -> Message:
    """The last message of a stream that can't go on."""
    if not isinstance(error, SessionsError):
        LOGGER.error("a stream failed", exc_info=error)
        error = Unexpected("the server failed; its log says how")
    return Message("error", None, error_json(error, ascii=True))


async def read(
    source: Source, streams: Streams, silence: Callable[[], Awaitable[None]]
) -> tuple[Sequence[Message], bool]:
    """The next messages, and whether they are the last. A failure is a message, too."""
    try:
        messages = await streams.wait_aloud(source.read, silence)
    except Exception as error:
        return [to_message(error)], True
    return messages or [], not messages


class EventStream:
    """Server-sent events as an answer."""

    def __init__(self, source: Source, streams: Streams) -> None:
        self._source = source
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._streams.one_more() as stream, suppress(Disconnected):
            async with self._source:
                await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
                await while_connected(receive, partial(self._tell, send, stream))

    async def _tell(self, send: Send, stream: OpenStream) -> None:
        async def say(data: bytes = SILENCE, more: bool = True) -> None:
            with stream.waiting():
                await send({"type": "http.response.body", "body": data, "more_body": more})

        await say()  # so that proxies pass on that it has begun
        over = False
        while not over:
            messages, over = await read(self._source, self._streams, say)
            if messages:
                await say(to_events(messages))
        await say(b"", more=False)


NORMAL_CLOSURE: Final = 1000
GOING_AWAY: Final = 1001
INTERNAL_ERROR: Final = 1011
GOODBYE_SECONDS: Final = 2.0


async def say_goodbye(socket: WebSocket, code: int, reason: str | None = None) -> None:
    """Close it, and leave the connection for as long as the client takes to close it, too: one that is about to answer a ping
    fails if there is nobody any more. Somebody else must be listening, and cancels this when the client has gone.
    """
    await socket.close(code, reason)
    await trio.sleep(GOODBYE_SECONDS)


def cut(data: bytes, size: int) -> list[bytes]:
    """In pieces of at most `size` bytes."""
    return [data[begin : begin + size] for begin in range(0, len(data), size)]


class MessageSocket:
    """The same over a WebSocket, whose own pings are the signs of life. What the client sends is of no interest."""

    def __init__(self, source: Source, streams: Streams, socket: WebSocket) -> None:
        self._source = source
        self._streams = streams
        self._socket = socket

    async def serve(self) -> None:
        with self._streams.one_more() as stream, suppress(Disconnected):
            async with self._source:
                await self._socket.accept()
                await while_connected(self._socket.receive, partial(self._tell, stream))

    async def _tell(self, stream: OpenStream) -> None:
        over = False
        code = NORMAL_CLOSURE
        while not over:
            messages, over = await read(self._source, self._streams, trio.lowlevel.checkpoint)
            for message in messages:
                with stream.waiting():
                    await self._socket.send_text(to_object(message))
                if message.event == "error":
                    code = INTERNAL_ERROR
        await say_goodbye(self._socket, code)


def events(open_source: Callable[[Call], Awaitable[Source]]) -> Answer:
    """An operation's answer from its source."""

    async def answer(call: Call) -> ASGIApp:
        return EventStream(await open_source(call), call.streams)

    return answer


def socket(open_source: Callable[[Call], Awaitable[Source]]) -> SocketAnswer:
    async def answer(call: Call, socket: WebSocket) -> None:
        await MessageSocket(await open_source(call), call.streams, socket).serve()

    return answer
