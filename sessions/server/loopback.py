"""An address on this machine that a server opens once somebody asks for it.

A server that a verb of the command line has started listens on its unix socket alone. Programs that speak TCP only are helped
by ``POST /server/loopback``: who may ask that may do anything here already, so it opens no door that was shut to them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import trio
from starlette.requests import Request
from starlette.responses import Response

from ..doors.requests import json_response
from .entrances import Entrance, Wanted, rules_for_tcp
from .limits import ServerLimits
from .listening import Addresses, open_tcp, resolve, url_of

PATH: Final = "/server/loopback"
ANY_PORT: Final = "127.0.0.1:0"


class Loopback:
    """The URLs of one server, of which there is one without TLS as soon as it is asked for."""

    def __init__(
        self,
        addresses: Addresses,
        open_entrance: Callable[[], Awaitable[tuple[Entrance, str]]],
        tell: Callable[[], None],
    ) -> None:
        """`tell` writes down what `addresses` holds."""
        self.take: Callable[[Entrance], Awaitable[None]] | None = None
        """What takes connections from an entrance."""
        self._addresses = addresses
        self._open_entrance = open_entrance
        self._tell = tell
        self._lock = trio.Lock()

    async def url(self) -> str:
        async with self._lock:
            found = plain_url(self._addresses.urls)
            if found is None:
                assert self.take is not None
                entrance, found = await self._open_entrance()
                await self.take(entrance)
                self._addresses.urls.append(found)
                self._tell()
            return found

    async def answer(self, request: Request) -> Response:
        return json_response({"url": await self.url()})


def plain_url(urls: Sequence[str]) -> str | None:
    """The first that programs on this machine can use as it is. TLS is for others: its certificate names no loopback address.

    >>> plain_url(["https://0.0.0.0:443", "http://0.0.0.0:80"]), plain_url(["http://[::]:80"])
    ('http://127.0.0.1:80', 'http://[::1]:80')
    """
    for url in urls:
        if url.startswith("http:"):
            return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    return None


async def open_loopback(
    wanted: Wanted, root: Path, limits: ServerLimits, stack: AsyncExitStack
) -> tuple[Entrance, str]:
    """A socket on this machine, and its URL; `stack` closes it."""
    bind = await resolve(ANY_PORT)
    rules = rules_for_tcp(wanted, root, [bind], limits)
    sock = stack.enter_context(open_tcp(bind))
    return Entrance(trio.SocketListener(trio.socket.from_stdlib_socket(sock)), rules), url_of(sock, "http")
