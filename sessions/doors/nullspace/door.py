"""The Nullspace dialect, mounted at ``/nullspace``: machines are spaces, below each are its processes and terminals."""

from __future__ import annotations

from typing import Final

from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Scope
from starlette.websockets import WebSocket

from ...errors import Invalid, SessionsError
from ...spaces import Spaces
from ..dialects import running
from ..open_streams import Streams
from . import attach, exec, machines, processes, run, terminals
from .errors import error_answer, not_here
from .routing import DOOR, Call, Row, dialect

CHANNELS: Final = {"exec": exec.serve, "pty": attach.serve}


async def check_health(call: Call) -> ASGIApp:
    return PlainTextResponse("ok\n")


async def open_channel(call: Call, socket: WebSocket) -> None:
    await call.awake()
    name = call.first("channel")
    if not name:
        raise not_here("watches of files")  # they alone name no channel
    if name not in CHANNELS:
        raise Invalid(f"channel: expected {' or '.join(CHANNELS)}, not {name!r}")
    await CHANNELS[name](call, socket)


ROWS: Final = [
    Row("GET", "/healthz", check_health),
    *machines.ROWS,
    *running([*run.ROWS, *processes.ROWS, *terminals.ROWS]),
    Row("GET", "/v1/machines/{machine}/ws", socket=open_channel, runs=True),
]


def routes(spaces: Spaces, streams: Streams) -> list[BaseRoute]:
    """The door on `spaces`. `streams` is shared by all doors of a server."""
    spaces.looks[DOOR] = machines.look
    found = dialect(spaces, streams)
    return [*found.build_routes(ROWS), *found.nothing()]


def refuse(scope: Scope, error: SessionsError) -> ASGIApp:
    """The answer to a request that the server does not let in."""
    return error_answer(scope, error)
