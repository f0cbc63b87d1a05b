"""A way in for clients that ask a fixed name by TLS: a proxy on this machine that ends it, for exactly those names.

Superserve's SDKs run commands at a name of the vendor's, wherever their base URL points, and honour ``HTTPS_PROXY``. So a client's
``CONNECT NAME:443`` is answered by us: what it then believes to be that name's server is this one, with a certificate that an
authority has signed which was made for this run of the server. The authority's key is forgotten at once, its certificate is a
file in the root, for ``SSL_CERT_FILE``. Other names are refused: it leads nowhere else.

A connection that has come in is like any other. Its requests need the same tokens.
"""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import attrs
import trio
from starlette.requests import Request
from starlette.responses import Response

from ..doors.requests import json_response
from ..doors.superserve.door import HOSTS
from ..errors import Broken, Invalid
from ..threads import run_in_thread
from .admission import is_known
from .entrances import Entrance, Wanted, rules_for_tcp
from .limits import ServerLimits
from .listening import open_tcp, resolve, url_of
from .loopback import ANY_PORT

LOGGER: Final = logging.getLogger("sessions.server")
PATH: Final = "/server/superserve-front"
CERTIFICATE: Final = "superserve-ca.pem"
"""In the root: the authority that clients must trust."""
HEAD_BYTES: Final = 1 << 13
PIECE_BYTES: Final = 1 << 14
"""As much as TLS sends at once."""
REQUEST: Final = re.compile(rb"CONNECT ([^\s:]+):([0-9]{1,5}) HTTP/1\.[01]\r\n")
NAMES: Final = frozenset(HOSTS)


@attrs.frozen
class FrontAddress:
    """Where a front is, and what its clients must trust."""

    url: str
    certificate: str
    """The path of a file in PEM."""


def make_certificate(path: Path) -> ssl.SSLContext:
    """A certificate for all of the names; its authority's is written to `path`."""
    try:
        import trustme
    except ImportError:
        raise Broken(
            "the front for Superserve makes certificates by trustme, which is not installed: pip install '.[superserve]' in a checkout"
        ) from None
    authority = trustme.CA(organization_name="sessions serve")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    authority.issue_cert(*HOSTS).configure_cert(context)
    # Readers find the old one or the new one, never half of one.
    draft = path.with_name(f".{path.name}.new")
    authority.cert_pem.write_to_path(draft)
    draft.replace(path)
    return context


class Tunnel(trio.abc.Stream):
    """A client's connection: first it says by which name it asks, then it is TLS."""

    def __init__(self, transport: trio.SocketStream, context: ssl.SSLContext) -> None:
        self.transport_stream = transport
        self._tls = trio.SSLStream(transport, context, server_side=True, https_compatible=True)

    async def do_handshake(self) -> None:
        """`trio.BrokenResourceError` if the client wants something else, which it has been told."""
        problem = refusal(await self._read_head())
        if problem is not None:
            await self.transport_stream.send_all(problem)
            raise trio.BrokenResourceError
        await self.transport_stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        await self._tls.do_handshake()

    async def _read_head(self) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n") and len(head) < HEAD_BYTES:
            piece = await self.transport_stream.receive_some(HEAD_BYTES - len(head))
            if not piece:
                raise trio.BrokenResourceError
            head += piece
        return head

    def selected_alpn_protocol(self) -> str | None:
        found: str | None = self._tls.selected_alpn_protocol()
        return found

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._tls.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        # In pieces: TLS has room for as much as was sent at once, and gives it back only when a dead connection is collected.
        view = memoryview(data)
        for begin in range(0, len(view), PIECE_BYTES):
            await self._tls.send_all(view[begin : begin + PIECE_BYTES])

    async def wait_send_all_might_not_block(self) -> None:
        await self._tls.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._tls.aclose()


def refusal(head: bytes) -> bytes | None:
    """What to answer to the head of a request instead of letting it in. No I/O."""
    match = REQUEST.match(head)
    if match is None or not head.endswith(b"\r\n\r\n"):
        return say_no("405 Method Not Allowed", "only CONNECT is possible here")
    name, port = match[1].decode("latin-1").lower().removesuffix("."), int(match[2])
    if port != 443 or not is_known(name, NAMES):
        return say_no("403 Forbidden", f"this proxy leads to Superserve's data plane alone, not to {name}:{port}")
    return None


def say_no(status: str, message: str) -> bytes:
    body = f"{message}\n".encode("latin-1", "replace")
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode("ascii") + body


@attrs.frozen
class TunnelListener(trio.abc.Listener[Tunnel]):
    _plain: trio.SocketListener
    _context: ssl.SSLContext

    async def accept(self) -> Tunnel:
        return Tunnel(await self._plain.accept(), self._context)

    async def aclose(self) -> None:
        await self._plain.aclose()


class Front:
    """The front of one server, which there is as soon as it is asked for."""

    def __init__(self, open_entrance: Callable[[str], Awaitable[tuple[Entrance, FrontAddress]]]) -> None:
        self.take: Callable[[Entrance], Awaitable[None]] | None = None
        """What takes connections from an entrance."""
        self._open_entrance = open_entrance
        self._address: FrontAddress | None = None
        self._lock = trio.Lock()

    async def open(self, bind: str) -> Entrance:
        """It, for who takes connections from it himself."""
        entrance, self._address = await self._open_entrance(bind)
        LOGGER.info("a front for Superserve's SDKs is at %s", self._address.url)
        return entrance

    async def address(self) -> FrontAddress:
        async with self._lock:
            if self._address is None:
                assert self.take is not None
                await self.take(await self.open(ANY_PORT))
            assert self._address is not None
            return self._address

    async def answer(self, request: Request) -> Response:
        """Who may ask this may run anything here already, and tells one client, on this machine, where to go."""
        return json_response(await self.address())


async def open_front(
    wanted: Wanted, root: Path, limits: ServerLimits, stack: AsyncExitStack, bind: str
) -> tuple[Entrance, FrontAddress]:
    """A socket on this machine, and its address; `stack` closes it."""
    found = await resolve(bind)
    if found.is_exposed:
        raise Invalid(f"a front at {bind!r} could be reached from other machines: choose 127.0.0.1, and any port")
    path = root / CERTIFICATE
    context = await run_in_thread(make_certificate, path)
    stack.callback(path.unlink, missing_ok=True)
    sock = stack.enter_context(open_tcp(found))
    listener = TunnelListener(trio.SocketListener(trio.socket.from_stdlib_socket(sock)), context)
    entrance = Entrance(listener, rules_for_tcp(wanted, root, [found], limits))
    return entrance, FrontAddress(url_of(sock, "http"), str(path))
