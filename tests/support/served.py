"""A real server for tests: ours, on real sockets, in the test's own nursery; and clients without manners."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import httpx
import trio

import sessions
from sessions.server.limits import ServerLimits
from sessions.server.listening import Addresses
from sessions.server.serving import serve

TOKEN = "a-token-of-the-tests"


@asynccontextmanager
async def served(engine: sessions.Engine, *, stop_seconds: float = 1.0, **options: Any) -> AsyncIterator[Addresses]:
    """Serve `engine` for the block. Options that `ServerLimits` has go there, others to `serve`."""
    names = ServerLimits.__annotations__
    limits = ServerLimits(stop_seconds=stop_seconds, **{key: options.pop(key) for key in list(options) if key in names})
    options = {"bind": ["127.0.0.1:0"], "token": TOKEN, **options}
    async with trio.open_nursery() as nursery:
        yield await nursery.start(partial(serve, engine, limits=limits, **options))
        nursery.cancel_scope.cancel()


def over_tcp(addresses: Addresses, token: str | None = TOKEN, **options: Any) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    return httpx.AsyncClient(base_url=addresses.urls[0], headers=headers, trust_env=False, **options)


def over_unix(addresses: Addresses) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(uds=str(addresses.unix))
    return httpx.AsyncClient(base_url="http://localhost", transport=transport)


def port_of(addresses: Addresses) -> int:
    return int(addresses.urls[0].rpartition(":")[2])


async def connect(addresses: Addresses) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", port_of(addresses))


async def rest_of(stream: trio.abc.ReceiveStream) -> bytes:
    """All that comes until the other side ends it, or resets it."""
    found = b""
    with suppress(trio.BrokenResourceError):
        async for piece in stream:
            found += piece
    return found


async def raw(addresses: Addresses, request: bytes) -> bytes:
    """What comes back for these bytes."""
    async with await connect(addresses) as stream:
        with suppress(trio.BrokenResourceError):  # refused before all was sent
            await stream.send_all(request)
        return await rest_of(stream)


def get(path: str, *headers: str, host: str = "localhost", token: str | None = TOKEN) -> bytes:
    """A request as bytes."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", *([f"Authorization: Bearer {token}"] if token else []), *headers]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


def upgrade(path: str, *headers: str, host: str = "localhost", token: str | None = TOKEN) -> bytes:
    """A WebSocket's handshake as bytes."""
    wanted = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    return get(path, *wanted, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *headers, host=host, token=token)
