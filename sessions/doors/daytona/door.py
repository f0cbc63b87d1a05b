"""The Daytona dialect, mounted at ``/daytona``: sandboxes are spaces, below each is a toolbox that runs its processes."""

from __future__ import annotations

from typing import Final

from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Scope

from ...errors import NotFound, SessionsError
from ...spaces import Spaces
from ..dialects import running
from ..open_streams import Streams
from ..requests import json_response
from . import attach, follow, run, sessions, terminals
from .errors import error_answer
from .routing import DOOR, Call, Door, Row, Table, split_path
from .routing import refuse as refuse_request
from .sandboxes import CONTROL

PUSH: Final = "socket.io"
"""Where clients would like to be told of changes. Without an answer they ask instead; they try before they have a token."""


async def home(call: Call) -> ASGIApp:
    return json_response({"dir": call.space.info.home})


TOOLBOX: Final = Table(
    rows=running(
        [
            Row("GET", "work-dir", home),
            Row("GET", "user-home-dir", home),
            *run.ROWS,
            *sessions.ROWS,
            *follow.ROWS,
            *attach.ROWS,
            *terminals.ROWS,
        ]
    ),
    absent={
        "files": "files",
        "git": "git operations",
        "lsp": "language servers",
        "computeruse": "desktops",
        "process/interpreter": "code interpreters",
        "env": "changes of a sandbox's environment",
        "system": "metrics",
        "port": "ports",
        "proxy": "ports",
    },
)


def routes(spaces: Spaces, streams: Streams) -> list[BaseRoute]:
    """The door on `spaces`. `streams` is shared by all doors of a server."""
    spaces.resting[DOOR] = ("stopped",)  # what is paused keeps its processes, which are to go on
    door = Door(spaces, streams, CONTROL, TOOLBOX)
    return [Route("/{path:path}", door), WebSocketRoute("/{path:path}", door)]


def refuse(scope: Scope, error: SessionsError) -> ASGIApp:
    """The answer to a request that the server does not let in."""
    segments = split_path(scope)
    if PUSH in segments[:2]:
        return error_answer(scope, "DAYTONA_API", f"/{PUSH}", NotFound("no events are pushed here: ask for states"))
    return refuse_request(scope, error)
