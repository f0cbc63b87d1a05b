"""A WebSocket client that shows each frame as it came."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)


class Refused(Exception):
    """The upgrade was answered otherwise."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status} {body!r}")
        self.status = status
        self.body = body


class WebSocketClient:
    """One connection."""

    def __init__(self, stream: trio.SocketStream, request: Request) -> None:
        self._stream = stream
        self._request = request
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self.subprotocol: str | None = None
        self.closed: tuple[int, str | None] | None = None
        """How the server closed it: code and reason."""
        self.pongs = 0

    async def open(self) -> None:
        await self._send(self._request)
        event = await self._next()
        if isinstance(event, RejectConnection):
            body = b""
            while not isinstance(event := await self._next(), RejectData) or not event.body_finished:
                body += bytes(event.data) if isinstance(event, RejectData) else b""
            raise Refused(self._status, body + bytes(event.data))
        assert isinstance(event, AcceptConnection)
        self.subprotocol = event.subprotocol

    async def _send(self, event: Event) -> None:
        await self._stream.send_all(self._protocol.send(event))

    async def _next(self) -> Event:
        while True:
            for event in self._protocol.events():
                if isinstance(event, RejectConnection):
                    self._status = event.status_code
                return event
            data = await self._stream.receive_some()
            self._protocol.receive_data(bytes(data) or None)

    async def receive(self) -> bytes | str | None:
        """The next whole message; None once the server has closed."""
        parts: list[bytes | str] = []
        while self.closed is None:
            event = await self._next()
            if isinstance(event, BytesMessage | TextMessage):
                parts.append(event.data if isinstance(event, TextMessage) else bytes(event.data))
                if event.message_finished:
                    return "".join(parts) if isinstance(event, TextMessage) else b"".join(parts)  # type: ignore[arg-type]
            elif isinstance(event, Ping):
                await self._send(event.response())
            elif isinstance(event, Pong):
                self.pongs += 1
                return b""
            elif isinstance(event, CloseConnection):
                self.closed = (event.code, event.reason)
        return None

    async def rest(self) -> list[bytes | str]:
        """All messages until the end."""
        found = []
        while (message := await self.receive()) is not None:
            found.append(message)
        return found

    async def send(self, data: bytes) -> None:
        await self._send(BytesMessage(data=data))

    async def send_text(self, text: str) -> None:
        await self._send(TextMessage(data=text))

    async def send_and_close(self, *messages: bytes) -> None:
        """All of it in one piece: the server finds the close right behind the last message."""
        events = [*(BytesMessage(data=data) for data in messages), CloseConnection(code=1000)]
        await self._stream.send_all(b"".join(self._protocol.send(event) for event in events))
        with trio.fail_after(10):
            while await self._stream.receive_some():
                pass

    async def answer_close(self) -> None:
        """What a client does that has seen the server's close: send its own, and wait for the end of the connection.

        Until then the server leaves it open.
        """
        assert self.closed is not None
        with trio.move_on_after(0.2) as waiting:
            assert await self._stream.receive_some(), "the connection was cut before our close"
        assert waiting.cancelled_caught
        await self._send(CloseConnection(code=self.closed[0]))
        with trio.fail_after(10):
            assert await self._stream.receive_some() == b""

    async def ping(self) -> None:
        """And wait for the answer."""
        await self._send(Ping())
        before = self.pongs
        while self.pongs == before:
            assert await self.receive() == b""


@asynccontextmanager
async def websocket(
    port: int,
    target: str,
    headers: Sequence[tuple[str, str]] = (),
    subprotocols: Sequence[str] = (),
    host: str | None = None,
) -> AsyncIterator[WebSocketClient]:
    """`Refused` if the server says no."""
    extra = [(name.encode(), value.encode()) for name, value in headers]
    request = Request(
        host=host or f"127.0.0.1:{port}", target=target, extra_headers=extra, subprotocols=list(subprotocols)
    )
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        client = WebSocketClient(stream, request)
        await client.open()
        yield client
