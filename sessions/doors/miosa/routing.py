"""Requests of the Miosa dialect: which row of the table they are for, whose computer or sandbox, and the rim around all answers.

A path may have two answers to the same method: one over HTTP, one over a WebSocket.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Final, TypeAlias
from urllib.parse import parse_qsl

import attrs
from starlette.requests import Request
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from ...errors import Invalid, NotFound
from ...spaces import Space, Spaces
from ..fields import Fields, read_fields
from ..open_streams import Streams
from ..operations import answer_or_refuse, is_devious
from ..requests import MethodNotAllowed
from .errors import error_answer, not_here, not_running

DOOR: Final = "miosa"
"""The name of this door, on the spaces that are made through it."""
API: Final = "/api/v1"
"""What clients put behind the address that they are given."""
KINDS: Final = {"computers": "computer", "sandboxes": "sandbox"}


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
        return read_fields(self.data or b"{}")

    @cached_property
    def query(self) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, value in parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True):
            found.setdefault(name, []).append(value)
        return found

    def first(self, name: str, default: str = "") -> str:
        return self.query.get(name, [default])[0]

    def count(self, name: str, least: int = 0, most: int = 10**9) -> int | None:
        """A whole number of the query; None if it is left out."""
        text = self.first(name)
        if text and not (text.isdecimal() and len(text) < 12 and least <= int(text) <= most):
            raise Invalid(f"{name}: expected a whole number from {least} to {most}, not {text!r}")
        return int(text) if text else None

    @cached_property
    def headers(self) -> Mapping[str, str]:
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self.scope["headers"]}

    @property
    def path(self) -> str:
        """From the root of the server."""
        return str(self.scope["path"])

    @cached_property
    def kind(self) -> str:
        """``computer`` or ``sandbox``."""
        segment = self.path.removeprefix(str(self.scope.get("root_path", ""))).removeprefix(API).split("/")[1]
        return KINDS.get(segment, "machine")

    @cached_property
    def space(self) -> Space:
        """Whose path it is."""
        return find_space(self.spaces, self.kind, self.ids["space"])


def find_space(spaces: Spaces, kind: str, space_id: str) -> Space:
    """`NotFound` if there is none of this kind: a computer is no sandbox."""
    try:
        space = spaces.get(DOOR, space_id)
    except NotFound:
        space = None
    if space is None or kind not in (space.info.facts["kind"], "machine"):
        raise NotFound(f"there is no {kind} {space_id!r}")
    return space


async def wake(space: Space) -> None:
    """Refused unless the space is started. A persistent one that is paused goes on."""
    if space.state == "paused" and space.info.facts.get("persistent"):
        await space.resume()
    if space.state != "started":
        raise not_running(space.info.facts["kind"], space.id, space.state)


Answer: TypeAlias = Callable[[Call], Awaitable[ASGIApp]]
SocketAnswer: TypeAlias = Callable[[Call, WebSocket], Awaitable[None]]


@attrs.frozen
class Row:
    """One line of the dialect's table."""

    method: str
    path: str
    answer: Answer | None = None
    runs: bool = False
    """Whether it needs a space that is started, for as long as it is answered."""
    socket: SocketAnswer | None = None
    """What answers if it is asked for with an upgrade to WebSocket. It runs something, always."""


class Endpoint:
    """All that one path answers, as an ASGI application."""

    def __init__(self, spaces: Spaces, streams: Streams, rows: Sequence[Row]) -> None:
        self._spaces = spaces
        self._streams = streams
        self._rows = {row.method: row for row in rows if row.answer is not None}
        self._socket = next((row.socket for row in rows if row.socket is not None), None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._serve_socket if scope["type"] == "websocket" else self._serve
        await answer_or_refuse(answer, error_answer, scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Before anything is refused: what stays unread would hold up the connection's reader.
        data = await Request(scope, receive).body()
        row = self._rows.get(scope["method"])
        if row is None:
            allowed = ", ".join(sorted(self._rows))
            raise MethodNotAllowed(f"{scope['method']} is not possible here: {allowed} is", allowed)
        call = Call(self._spaces, self._streams, scope, data)
        assert row.answer is not None
        if row.runs:
            await wake(call.space)
        with call.space.use() if row.runs else nullcontext():
            await (await row.answer(call))(scope, receive, send)

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        await socket.receive()  # that it would like to connect
        assert self._socket is not None
        call = Call(self._spaces, self._streams, scope, b"")
        await wake(call.space)
        with call.space.use():
            await self._socket(call, socket)


class Rest:
    """The last route, which takes what no other does: it is none, or what this server does not have."""

    def __init__(self, absent: Mapping[str, str]) -> None:
        self._absent = absent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await answer_or_refuse(self._refuse, error_answer, scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()  # that it would like to connect
        else:
            await Request(scope, receive).body()
        segments = scope["path_params"]["path"].split("/")
        whose = segments[0] in KINDS and not is_devious(scope)
        name = segments[2] if whose and len(segments) > 2 else segments[0]
        if name in self._absent:
            raise not_here(self._absent[name])
        raise NotFound(f"there is nothing at {scope['path']!r}")


def build_routes(spaces: Spaces, streams: Streams, rows: Sequence[Row], absent: Mapping[str, str]) -> list[BaseRoute]:
    by_path: dict[str, list[Row]] = {}
    for row in rows:
        by_path.setdefault(row.path, []).append(row)
    found: list[BaseRoute] = []
    for path, group in by_path.items():
        endpoint = Endpoint(spaces, streams, group)
        found.append(Route(API + path, endpoint))
        found += [WebSocketRoute(API + path, endpoint) for row in group if row.socket is not None]
    rest = Rest(absent)
    for path in (API + "/{path:path}", "/{path:path}"):
        found += [Route(path, rest), WebSocketRoute(path, rest)]
    return found
