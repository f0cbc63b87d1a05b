"""Requests of the Superserve dialect: which row of a table they are for, and what they carry.

What a body has beyond what is known here is ignored, for newer clients; what is known must be of its type. Doubled slashes count as
one: clients add their paths to a base URL that may end with one.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property
from typing import Final, TypeAlias
from urllib.parse import parse_qsl

import attrs
from starlette.requests import Request
from starlette.routing import BaseRoute, Route, Router, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from ...errors import NotFound
from ...spaces import Spaces
from ..fields import Fields, read_fields
from ..open_streams import Streams
from ..operations import answer_or_refuse
from ..requests import MethodNotAllowed
from .errors import error_answer

SLASHES: Final = re.compile("//+")


@attrs.define(slots=False)
class Call:
    """One request."""

    spaces: Spaces
    streams: Streams
    scope: Scope
    data: bytes

    @property
    def ids(self) -> Mapping[str, str]:
        """What stands in the path in places of ``{...}``."""
        found: Mapping[str, str] = self.scope["path_params"]
        return found

    @cached_property
    def body(self) -> Fields:
        return read_fields(self.data)

    @cached_property
    def query(self) -> Mapping[str, str]:
        return dict(parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True))


Answer: TypeAlias = Callable[[Call], Awaitable[ASGIApp]]
SocketAnswer: TypeAlias = Callable[[Call, WebSocket], Awaitable[None]]


@attrs.frozen
class Row:
    """One line of the dialect's table."""

    method: str
    path: str
    answer: Answer | None = None
    socket: SocketAnswer | None = None
    """What answers instead if it is asked for with an upgrade to WebSocket."""


class Endpoint:
    """All methods of one path, as an ASGI application for HTTP and WebSocket."""

    def __init__(self, spaces: Spaces, streams: Streams, rows: Sequence[Row]) -> None:
        self._spaces = spaces
        self._streams = streams
        self._answers = {row.method: row.answer for row in rows if row.answer is not None}
        self._socket = next((row.socket for row in rows if row.socket is not None), None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        serve = self._serve_socket if scope["type"] == "websocket" else self._serve
        await answer_or_refuse(serve, error_answer, scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Before anything is refused: what stays unread would hold up the connection's reader.
        data = await Request(scope, receive).body()
        answer = self._answers.get(scope["method"])
        if answer is None and self._answers:
            allowed = ", ".join(sorted(self._answers))
            raise MethodNotAllowed(f"{scope['method']} is not possible here: {allowed} is", allowed)
        if answer is None:
            raise NotFound(f"there is nothing at {scope['path']!r}")
        await (await answer(Call(self._spaces, self._streams, scope, data)))(scope, receive, send)

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        await socket.receive()  # that it would like to connect
        if self._socket is None:
            raise NotFound(f"no WebSocket is served at {scope['path']!r}")
        await self._socket(Call(self._spaces, self._streams, scope, b""), socket)


def build_routes(spaces: Spaces, streams: Streams, rows: Sequence[Row]) -> list[BaseRoute]:
    """A route for each path, for HTTP and WebSocket."""
    by_path: dict[str, list[Row]] = {}
    for row in rows:
        by_path.setdefault(row.path, []).append(row)
    found: list[BaseRoute] = []
    for path, group in by_path.items():
        endpoint = Endpoint(spaces, streams, group)
        found += [Route(path, endpoint), WebSocketRoute(path, endpoint)]
    return found


class Table:
    """All paths below a mount, as an ASGI application: what is not in the table is refused in this dialect, too."""

    def __init__(self, spaces: Spaces, streams: Streams, rows: Sequence[Row]) -> None:
        nothing = Endpoint(spaces, streams, [])
        self._router = Router(build_routes(spaces, streams, rows), redirect_slashes=False, default=nothing)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        root = scope.get("root_path", "")
        below = SLASHES.sub("/", scope["path"].removeprefix(root))
        await self._router({**scope, "path": root + below}, receive, send)
