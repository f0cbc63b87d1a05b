"""The Daytona dialect, mounted at ``/daytona``: sandboxes are spaces, below each is a toolbox that runs its processes."""

from __future__ import annotations

from typing import Final

from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Scope

from ..errors import NotFound, SessionsError
from ..spaces import Spaces
from . import daytona_attach, daytona_follow, daytona_run, daytona_sessions, daytona_terminals
from .daytona_errors import error_answer
from .daytona_routing import Call, Door, Row, Table, split_path
from .daytona_routing import refuse as refuse_request
from .daytona_sandboxes import CONTROL
from .open_streams import Streams
from .requests import json_response

PUSH: Final = "socket.io"
"""Where clients would like to be told of changes. Without an answer they ask instead; they try before they have a token."""


async def home(call: Call) -> ASGIApp:
    return json_response({"dir": call.space.info.home})


TOOLBOX: Final = Table(
    rows=[
        Row("GET", "work-dir", home),
        Row("GET", "user-home-dir", home),
        *daytona_run.ROWS,
        *daytona_sessions.ROWS,
        *daytona_follow.ROWS,
        *daytona_attach.ROWS,
        *daytona_terminals.ROWS,
    ],
    absent={
        "files": "files",
        "git": "git operations",
        "lsp": "language servers",
        "computeruse": "desktops",
        "process/interpreter": "code interpreters",
        "port": "ports",
        "proxy": "ports",
    },
)


def routes(spaces: Spaces, streams: Streams) -> list[BaseRoute]:
    """The door on `spaces`. `streams` is shared by all doors of a server."""
    door = Door(spaces, streams, CONTROL, TOOLBOX)
    return [Route("/{path:path}", door), WebSocketRoute("/{path:path}", door)]


def refuse(scope: Scope, error: SessionsError) -> ASGIApp:
    """The answer to a request that the server does not let in."""
    segments = split_path(scope)
    if PUSH in segments[:2]:
        return error_answer(scope, "DAYTONA_API", f"/{PUSH}", NotFound("no events are pushed here: ask for states"))
    return refuse_request(scope, error)
