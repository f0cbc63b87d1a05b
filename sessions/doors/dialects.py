"""Dialects of other systems, over spaces: a table of what may be asked for, and the rim around all answers.

A door says how a request of its dialect finds its space, what an error looks like there, and what is said where nothing is. All
else is the same: a path is looked for first, then the method, then what the answer itself looks at; and what is answered over
HTTP and over a WebSocket is refused alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import cached_property, partial
from typing import Final, Generic, TypeAlias, TypeVar
from urllib.parse import parse_qsl

import attrs
from starlette.requests import Request
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from ..errors import NotFound, SessionsError
from ..spaces import Spaces
from .fields import Fields, read_fields
from .open_streams import Streams
from .operations import answer_or_refuse, is_devious, while_connected
from .requests import MethodNotAllowed

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")


@attrs.define(slots=False)
class Call:
    """One request. A door's own knows whose space it is for."""

    spaces: Spaces
    streams: Streams
    scope: Scope
    data: bytes
    """The body."""

    @property
    def ids(self) -> Mapping[str, str]:
        """What stands in the path in places of ``{...}``."""
        found: Mapping[str, str] = self.scope["path_params"]
        return found

    @cached_property
    def body(self) -> Fields:
        return read_fields(self.data)

    @cached_property
    def headers(self) -> Mapping[str, str]:
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self.scope["headers"]}

    @cached_property
    def query(self) -> Mapping[str, Sequence[str]]:
        found: dict[str, list[str]] = {}
        for name, value in parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True):
            found.setdefault(name, []).append(value)
        return found

    def first(self, name: str, default: str = "") -> str:
        return self.query.get(name, [default])[0]

    def in_use(self) -> AbstractAsyncContextManager[None]:
        """Lasts as long as a row that runs something is answered: its space does not count as idle then."""
        return nullcontext()


C = TypeVar("C", bound=Call)

Answer: TypeAlias = Callable[[C], Awaitable[ASGIApp]]
SocketAnswer: TypeAlias = Callable[[C, WebSocket], Awaitable[None]]


@attrs.frozen
class Row(Generic[C]):
    """One line of a dialect's table."""

    method: str
    path: str
    answer: Answer[C] | None = None
    socket: SocketAnswer[C] | None = None
    """What answers if it is asked for with an upgrade to WebSocket."""
    runs: bool = attrs.field(default=False, kw_only=True)
    """Whether its space is in use for as long as it is answered."""
    waits: bool = attrs.field(default=False, kw_only=True)
    """Whether its answer may take long, and is waited for no longer when its client has gone."""


def running(rows: Iterable[Row[C]]) -> list[Row[C]]:
    return [attrs.evolve(row, runs=True) for row in rows]


def refusing(
    paths: Mapping[str, str], not_here: Callable[[str], SessionsError], find: Callable[[C], object]
) -> list[Row[C]]:
    """Rows for what is not there: paths, and what each is called. Where one names a sandbox, `find` fails if there is none."""

    def refuse(what: str) -> Answer[C]:
        async def answer(call: C) -> ASGIApp:
            if "sandbox" in call.ids:
                find(call)
            raise not_here(what)

        return answer

    return [Row(method, path, refuse(what)) for path, what in paths.items() for method in METHODS]


def nothing_at(scope: Scope) -> SessionsError:
    """What is said of a path that is in no table."""
    what = "no WebSocket is served" if scope["type"] == "websocket" else "there is nothing"
    return NotFound(f"{what} at {scope['path']!r}")


@attrs.frozen
class Dialect(Generic[C]):
    """What is particular to a door, beside its table."""

    read: Callable[[Scope, bytes], C]
    refuse: Callable[[Scope, SessionsError], ASGIApp]
    """The answer that is made of an error."""
    nothing_at: Callable[[Scope], SessionsError] = nothing_at
    exact: bool = False
    """Whether a path that hides a slash is none. Else that is a slash."""

    def build_routes(self, rows: Iterable[Row[C]]) -> list[BaseRoute]:
        """A route for each path, for HTTP and WebSocket."""
        by_path: dict[str, list[Row[C]]] = {}
        for row in rows:
            by_path.setdefault(row.path, []).append(row)
        endpoints = [(path, Endpoint(self, group)) for path, group in by_path.items()]
        # Those without a WebSocket last: their patterns may fit the path of one that has.
        for_sockets = sorted(endpoints, key=lambda pair: not pair[1].has_socket)
        return [Route(*pair) for pair in endpoints] + [WebSocketRoute(*pair) for pair in for_sockets]

    def nothing(self, path: str = "/{path:path}") -> list[BaseRoute]:
        """What is there for all paths of a pattern that no other route takes."""
        endpoint = Endpoint(self, [])
        return [Route(path, endpoint), WebSocketRoute(path, endpoint)]


class Endpoint(Generic[C]):
    """All that one path answers, as an ASGI application for HTTP and WebSocket."""

    def __init__(self, dialect: Dialect[C], rows: Sequence[Row[C]]) -> None:
        self._dialect = dialect
        self._rows = {row.method: row for row in rows if row.answer is not None}
        self._socket = next((row for row in rows if row.socket is not None), None)

    @property
    def has_socket(self) -> bool:
        return self._socket is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await serve(self._choose, self._dialect.refuse, scope, receive, send)

    def _choose(self, scope: Scope, data: bytes) -> tuple[C, Row[C]]:
        is_socket = scope["type"] == "websocket"
        if self._dialect.exact and is_devious(scope):
            raise self._dialect.nothing_at(scope)
        row = self._socket if is_socket else self._rows.get(scope["method"])
        if row is None and self._rows and not is_socket:
            raise not_allowed(scope["method"], self._rows)
        if row is None:
            raise self._dialect.nothing_at(scope)
        return self._dialect.read(scope, data), row


def not_allowed(method: str, others: Iterable[str]) -> MethodNotAllowed:
    allowed = ", ".join(sorted(others))
    return MethodNotAllowed(f"{method} is not possible here: {allowed} is", allowed)


async def serve(
    choose: Callable[[Scope, bytes], tuple[C, Row[C]]],
    refuse: Callable[[Scope, SessionsError], ASGIApp],
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Answer one request by the row that `choose` finds."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        # Before anything is refused: what stays unread would hold up the connection's reader.
        data = await Request(scope, receive).body()
        call, row = choose(scope, data)
        assert row.answer is not None
        async with call.in_use() if row.runs else nullcontext():
            find = partial(row.answer, call)
            found = await (while_connected(receive, find) if row.waits else find())
            await found(scope, receive, send)

    async def answer_socket(scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        await socket.receive()  # that it would like to connect
        call, row = choose(scope, b"")
        assert row.socket is not None
        async with call.in_use() if row.runs else nullcontext():
            await row.socket(call, socket)

    await answer_or_refuse(answer_socket if scope["type"] == "websocket" else answer, refuse, scope, receive, send)
