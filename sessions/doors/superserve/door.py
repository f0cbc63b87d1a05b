"""The Superserve dialect: sandboxes are spaces. Its control plane is mounted at ``/superserve``; its data plane, which runs
commands, is at the root, because clients ask a fixed name for it, with no path before ``/exec``.
"""

from __future__ import annotations

from typing import Final

from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Scope

from ...errors import SessionsError
from ...spaces import Spaces
from ..open_streams import Streams
from . import exec, spawn
from .errors import BadToken, error_answer, not_here
from .routing import Call, Row, Table, build_routes
from .sandboxes import ROWS, look
from .tokens import BAD_TOKEN, DOOR
from .tokens import HOSTS as HOSTS
from .tokens import lets_in as lets_in

DESKTOP: Final = "/superserve.boxd.v1.DesktopService"
DATA: Final = ("/exec", "/files", DESKTOP)
"""Where the data plane is: below these, a sandbox's own token lets in."""


async def files(call: Call) -> ASGIApp:
    raise not_here("files")


async def desktop(call: Call) -> ASGIApp:
    raise not_here("desktops")


DATA_ROWS: Final = [
    *exec.ROWS,
    *spawn.ROWS,
    Row("GET", "/files", files),
    Row("POST", "/files", files),
    Row("POST", f"{DESKTOP}/{{method}}", desktop),
]


def routes(spaces: Spaces, streams: Streams) -> list[BaseRoute]:
    """The control plane on `spaces`. `streams` is shared by all doors of a server."""
    spaces.looks[DOOR] = look
    table = Table(spaces, streams, ROWS)
    return [Route("/{path:path}", table), WebSocketRoute("/{path:path}", table)]


def data_routes(spaces: Spaces, streams: Streams) -> list[BaseRoute]:
    """The data plane, for the root of a server."""
    return build_routes(spaces, streams, DATA_ROWS)


def refuse(scope: Scope, error: SessionsError) -> ASGIApp:
    """The answer to a request that the server does not let in. On the data plane, its own token is not what is missing."""
    if error.status == BadToken.status and scope.get("root_path") in DATA:
        error = BadToken(BAD_TOKEN)
    return error_answer(scope, error)
