"""A server: the doors, on sockets, over an engine that somebody else owns."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, Literal

import attrs
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from ..doors.daytona import door as daytona
from ..doors.declaw import door as declaw
from ..doors.miosa import door as miosa
from ..doors.native import door as native
from ..doors.nullspace import door as nullspace
from ..doors.open_streams import Streams
from ..doors.operations import is_devious
from ..doors.requests import MethodNotAllowed, error_response
from ..doors.superserve import door as superserve
from ..engine import Engine
from ..errors import NotFound, SessionsError
from ..spaces import Spaces, open_spaces
from .connections import Connections, configure, load_certificate
from .entrances import AnyPath, Entrance, Wanted, open_entrances
from .front import PATH as front_path
from .front import Front, open_front
from .guard import Admitter, Guard
from .limits import ServerLimits
from .listening import Addresses
from .lock import locked
from .loopback import PATH as loopback_path
from .loopback import Loopback, open_loopback

LOGGER: Final = logging.getLogger("sessions.server")

DOORS: Final[Mapping[str, Callable[[Spaces, Streams], list[BaseRoute]]]] = {
    "/v1": lambda spaces, streams: native.routes(spaces.engine, streams),
    "/daytona": daytona.routes,
    "/declaw": declaw.routes,
    "/miosa": miosa.routes,
    "/nullspace": nullspace.routes,
    "/superserve": superserve.routes,
}
"""Where each dialect is spoken."""
ROOTS: Final[Sequence[Callable[[Spaces, Streams], list[BaseRoute]]]] = [declaw.root_routes, superserve.data_routes]
"""What clients look for at the root, because they take no path."""
REFUSALS: Final[Mapping[str, Callable[[Scope, SessionsError], ASGIApp]]] = {
    "/daytona": daytona.refuse,
    "/declaw": declaw.refuse,
    declaw.SANDBOXES: declaw.refuse,
    "/miosa": miosa.refuse,
    "/nullspace": nullspace.refuse,
    "/superserve": superserve.refuse,
    **dict.fromkeys(superserve.DATA, superserve.refuse),
}
"""How those whose errors are not ours say no to a request that is not let in."""
ADMITTERS: Final[Mapping[str, Callable[[Spaces], Admitter]]] = {
    "/miosa": lambda spaces: miosa.admit,
    **dict.fromkeys(superserve.DATA, lambda spaces: partial(superserve.lets_in, spaces)),
}
"""Who may come in there by what they bring in place of the server's token."""


def build_app(spaces: Spaces, streams: Streams, loopback: Loopback, front: Front) -> ASGIApp:
    mounts = [
        Mount(path, app=Router(routes(spaces, streams), redirect_slashes=False)) for path, routes in DOORS.items()
    ]
    roots = [route for routes in ROOTS for route in routes(spaces, streams)]
    own = [Route(loopback_path, Posted(loopback.answer)), Route(front_path, Posted(front.answer))]
    return Router([*mounts, *roots, *own], redirect_slashes=False, default=nothing_here)


@attrs.frozen
class Posted:
    """A path of the server's own, for POST alone. What it raises is answered by the guard."""

    _answer: Callable[[Request], Awaitable[Response]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if is_devious(scope):
            await nothing_here(scope, receive, send)
        elif scope["method"] != "POST":
            raise MethodNotAllowed(f"{scope['method']} is not possible here: POST is", "POST")
        else:
            await (await self._answer(Request(scope, receive)))(scope, receive, send)


async def nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    known = ", ".join(DOORS)
    await error_response(NotFound(f"there is nothing at {scope['path']!r}: try {known}"))(scope, receive, send)


@attrs.frozen
class Server:
    """A server that is up."""

    addresses: Addresses
    _guard: Guard
    _streams: Streams
    _limits: ServerLimits

    def refuse(self) -> None:
        """Let nobody in any more; those who are in are answered."""
        self._guard.close()

    async def let_finish(self) -> None:
        """Wait until all are answered, but not for long. Feeds, which have no end of their own, end now."""
        self._streams.end_feeds()
        with trio.move_on_after(self._limits.stop_seconds):
            await self._guard.drained()


@asynccontextmanager
async def open_server(engine: Engine, wanted: Wanted, limits: ServerLimits) -> AsyncIterator[Server]:
    """A server for the block. It has ended when the block has, and the engine goes on."""
    config = configure(limits, wanted)
    certificate = load_certificate(config)
    async with AsyncExitStack() as stack:
        lock = stack.enter_context(locked(engine.root))
        close_to_others(engine.root)
        entrances, addresses = await open_entrances(wanted, engine.root, certificate, limits, stack)

        front = Front(partial(open_front, wanted, engine.root, limits, stack))
        if wanted.superserve_front is not None:
            entrances.append(await front.open(wanted.superserve_front))

        def tell() -> None:
            lock.tell(urls=addresses.urls, unix=str(addresses.unix) if addresses.unix else None)

        tell()
        streams = Streams(limits.followers, limits.heartbeat_seconds)
        spaces = await stack.enter_async_context(open_spaces(engine))
        loopback = Loopback(addresses, partial(open_loopback, wanted, engine.root, limits, stack), tell)
        admitters = {path: make(spaces) for path, make in ADMITTERS.items()}
        guard = Guard(build_app(spaces, streams, loopback, front), limits, REFUSALS, admitters)
        connections = Connections(guard, config, limits)
        loopback.take = front.take = connections.take
        server = Server(addresses, guard, streams, limits)
        async with trio.open_nursery() as nursery:
            await nursery.start(run_shielded, connections, entrances)
            LOGGER.info("serving %s at %s, pid %d", engine.root, addresses, os.getpid())
            try:
                yield server
            finally:
                with trio.CancelScope(shield=True):
                    server.refuse()
                    streams.close()
                    await server.let_finish()
                    await connections.end()
                    LOGGER.info("no longer serving %s", engine.root)


async def run_shielded(
    connections: Connections, entrances: Sequence[Entrance], task_status: trio.TaskStatus[None]
) -> None:
    """Only `Connections.end` ends it: whoever is cancelled has answers to finish."""
    with trio.CancelScope(shield=True):
        await connections.serve(entrances, task_status)


def close_to_others(root: Path) -> None:
    """What is in a root is for its owner alone. A directory that many share, such as /tmp, is left as it is."""
    found = root.stat()
    if found.st_uid == os.geteuid() and found.st_mode & 0o077 and not found.st_mode & stat.S_ISVTX:
        root.chmod(0o700)


async def serve(
    engine: Engine,
    *,
    bind: Sequence[str] = (),
    unix: AnyPath | Literal[False] | None = None,
    token: str | None = None,
    certfile: AnyPath | None = None,
    keyfile: AnyPath | None = None,
    insecure: bool = False,
    hosts: Sequence[str] = (),
    superserve_front: str | None = None,
    limits: ServerLimits | None = None,
    task_status: trio.TaskStatus[Addresses] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an engine to other processes until this is cancelled. The engine is yours and goes on; its followers over HTTP are
    told that the server closes.

    :param bind: addresses to listen on with TCP, ``HOST:PORT``; port 0 is any that is free.
    :param unix: where the unix socket is; ``serve.sock`` in the root if left out, none if False.
    :param token: what requests over TCP must bring; ``$SESSIONS_TOKEN`` if left out, else one that is made once and kept in the
        root's file ``token``. Who may open the unix socket needs none.
    :param certfile: with `keyfile`, the TLS certificate for `bind`, as files in PEM.
    :param insecure: allows a `bind` that other machines reach without TLS: something else encrypts.
    :param hosts: names that clients call this server by, beside ``localhost``, addresses and the names in `bind`.
    :param superserve_front: where on this machine to listen as the proxy that Superserve's SDKs need, ``127.0.0.1:PORT``.
    :param limits: see `ServerLimits`.

    Reports its real addresses when it is up. Raises `Invalid`, and `Conflict` if the root is served already.

    ::

        addresses = await nursery.start(partial(sessions.serve, engine, bind=["127.0.0.1:0"]))
    """
    wanted = Wanted(
        bind=bind, unix=unix, token=token, certfile=certfile, keyfile=keyfile, insecure=insecure, hosts=hosts,
        superserve_front=superserve_front,
    )  # fmt: skip
    async with open_server(engine, wanted, limits or ServerLimits()) as server:
        task_status.started(server.addresses)
        await trio.sleep_forever()
