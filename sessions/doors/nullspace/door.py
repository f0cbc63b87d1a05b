"""The Nullspace dialect, mounted at ``/nullspace``: machines are spaces, below each are its processes and terminals."""

from __future__ import annotations

from typing import Final

from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Scope
from starlette.websockets import WebSocket

from ...errors import Invalid, SessionsError
from ...spaces import Spaces
from ..open_streams import Streams
from . import attach, exec, machines, processes, run, terminals
from .errors import error_answer
from .routing import DOOR, Answer, Call, Endpoint

CHANNELS: Final = {"exec": exec.serve, "pty": attach.serve}


async def check_health(call: Call) -> ASGIApp:
    return PlainTextResponse("ok\n")


async def open_channel(call: Call, socket: WebSocket) -> None:
    name = call.query.get("channel", "")
    if name not in CHANNELS:
        raise Invalid(f"channel: expected {' or '.join(CHANNELS)}, not {name!r}")
    await CHANNELS[name](call, socket)


ABOUT: Final[dict[str, dict[str, Answer]]] = {"/healthz": {"GET": check_health}, **machines.ROWS}
INSIDE: Final[dict[str, dict[str, Answer]]] = {
    **run.ROWS,
    **processes.ROWS,
    **terminals.ROWS,
}
"""What counts as a use of the machine."""


def routes(spaces: Spaces, streams: Streams) -> list[BaseRoute]:
    """The door on `spaces`. `streams` is shared by all doors of a server."""
    spaces.looks[DOOR] = machines.look
    nothing = Endpoint(spaces, streams, {})
    return [
        *[Route(path, Endpoint(spaces, streams, answers)) for path, answers in ABOUT.items()],
        *[Route(path, Endpoint(spaces, streams, answers, uses_machine=True)) for path, answers in INSIDE.items()],
        WebSocketRoute("/v1/machines/{machine}/ws", Endpoint(spaces, streams, {}, open_channel)),
        Route("/{path:path}", nothing),
        WebSocketRoute("/{path:path}", nothing),
    ]


def refuse(scope: Scope, error: SessionsError) -> ASGIApp:
    """The answer to a request that the server does not let in."""
    return error_answer(scope, error)
