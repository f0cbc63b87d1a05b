"""A TCP proxy that cuts connections: after as many bytes of the answer as it is told, neatly or with a reset."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import trio

RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class CuttingProxy:
    """Each connection takes the next of `budgets`: bytes from the server until the cut. When there are no more, none is cut."""

    def __init__(self, target: str, budgets: Iterator[int]) -> None:
        self._port = urlsplit(target).port
        self._budgets = budgets
        self._connections: set[trio.CancelScope] = set()
        self.cuts = 0
        self.passed_bytes = 0
        self.refuses = False
        """Close each new connection at once."""
        self.url = ""

    def cut_all(self) -> None:
        """Cut what is connected now."""
        for scope in self._connections:
            scope.cancel()

    async def serve(self, task_status: trio.TaskStatus[None]) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        await trio.serve_listeners(self._pass, [listener], task_status=task_status)

    async def _pass(self, client: trio.SocketStream) -> None:
        if self.refuses:
            return
        assert self._port is not None
        budget = next(self._budgets, None)
        server = await trio.open_tcp_stream("127.0.0.1", self._port)
        with trio.CancelScope() as scope:
            self._connections.add(scope)
            async with server, trio.open_nursery() as nursery:
                nursery.start_soon(self._there, client, server, nursery.cancel_scope)
                await self._back(server, client, budget)
                nursery.cancel_scope.cancel()
        self._connections.discard(scope)
        await client.aclose()

    async def _there(self, client: trio.SocketStream, server: trio.SocketStream, scope: trio.CancelScope) -> None:
        try:
            async for data in client:
                await server.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()

    async def _back(self, server: trio.SocketStream, client: trio.SocketStream, budget: int | None) -> None:
        try:
            async for data in server:
                if budget is not None and len(data) >= budget:
                    await client.send_all(data[:budget])
                    self._cut(client)
                    return
                await client.send_all(data)
                self.passed_bytes += len(data)
                if budget is not None:
                    budget -= len(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass

    def _cut(self, client: trio.SocketStream) -> None:
        self.cuts += 1
        if self.cuts % 2:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)


@asynccontextmanager
async def cutting_proxy(target: str, budgets: Iterator[int]) -> AsyncIterator[CuttingProxy]:
    """A proxy in front of the server at `target` for the block."""
    proxy = CuttingProxy(target, budgets)
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.serve)
        yield proxy
        nursery.cancel_scope.cancel()
