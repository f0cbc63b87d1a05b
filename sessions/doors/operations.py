"""A door is a table of operations; here a row of it becomes a route.

The rim is the same for all: the body and the query are read strictly, `answer` decides, and what it raises becomes an
error answer, as long as nothing else has been sent. A path that is not in the table is not found, a method that its path
does not have is not allowed. Routes, documentation and tests are all made from the same table.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

import attrs
import trio
from starlette.requests import ClientDisconnect, Request
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from ..engine import Engine
from ..errors import NotFound, SessionsError
from .open_streams import Streams
from .requests import MethodNotAllowed, Parameter, error_response, read_body, read_query

T = TypeVar("T")

LOGGER: Final = logging.getLogger("sessions.server")


class Unexpected(SessionsError):
    """A bug. What it was is in the server's log."""

    code = "internal"
    status = 500


@attrs.frozen(kw_only=True)
class Call:
    """One request, read and checked."""

    engine: Engine
    streams: Streams
    scope: Scope
    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Any
    headers: Mapping[str, str]

    @property
    def base(self) -> str:
        """Where the door is mounted, such as ``/v1``."""
        return str(self.scope.get("root_path", ""))


Answer: TypeAlias = Callable[[Call], Awaitable[ASGIApp]]
SocketAnswer: TypeAlias = Callable[[Call, WebSocket], Awaitable[None]]


@attrs.frozen
class Media:
    """An answer that is not JSON."""

    kind: str


@attrs.frozen(kw_only=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    summary: str
    answer: Answer
    query: Mapping[str, Parameter] = attrs.field(factory=dict)
    body: type | None = None
    body_optional: bool = False
    status: int = 200
    result: Any = None
    """What the answer is as JSON: a wire type or a JSON Schema; None if it never is JSON, or has no body."""
    also: Mapping[int, Any] = attrs.field(factory=dict)
    """Other answers that are no errors, by status: a type, a schema, or `Media`."""
    media: Sequence[str] = ("application/json",)
    """The types of content that it may answer with."""
    streams: bool = False
    """True if it goes on for as long as there is something to tell: then there is no HEAD."""
    websocket: SocketAnswer | None = None
    """What answers if the same path is asked for with an upgrade to WebSocket."""


def build_routes(engine: Engine, streams: Streams, operations: Sequence[Operation]) -> list[BaseRoute]:
    """The routes of a door, the last of which takes what no other does."""
    read = partial(read_call, engine, streams)
    by_path: dict[str, list[Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, []).append(operation)
    found: list[BaseRoute] = []
    for path, rows in by_path.items():
        found.append(Route(path, Endpoint(read, rows)))
        found += [WebSocketRoute(path, SocketEndpoint(read, row)) for row in rows if row.websocket is not None]
    return [*found, Route("/{path:path}", Endpoint(read, [])), WebSocketRoute("/{path:path}", SocketEndpoint(read))]


Reader: TypeAlias = Callable[[Operation, Scope, bytes], Call]


class Endpoint:
    """All methods of one path, as an ASGI application."""

    def __init__(self, read: Reader, rows: Sequence[Operation]) -> None:
        self._read = read
        self._rows = {row.method: row for row in rows}
        if "GET" in self._rows and not self._rows["GET"].streams:
            self._rows["HEAD"] = self._rows["GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await answer_or_refuse(self._answer, lambda scope, error: error_response(error), scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Before anything is refused: what stays unread would hold up the connection's reader.
        body = await Request(scope, receive).body()
        row = self._rows.get(scope["method"])
        if not self._rows or is_devious(scope):
            raise NotFound(
                f"there is nothing at {scope['path']!r}: {scope['root_path']}/openapi.json lists what there is"
            )
        if row is None:
            allowed = ", ".join(sorted(self._rows))
            raise MethodNotAllowed(f"{scope['method']} is not possible here: {allowed} is", allowed)
        await (await row.answer(self._read(row, scope, body)))(scope, receive, send)


async def answer_or_refuse(
    answer: ASGIApp, refuse: Callable[[Scope, SessionsError], ASGIApp], scope: Scope, receive: Receive, send: Send
) -> None:
    """What `answer` raises before it has sent anything becomes the answer that `refuse` makes of it."""
    started = False

    async def send_and_note(message: Message) -> None:
        nonlocal started
        started = True
        await send(message)

    try:
        await answer(scope, receive, send_and_note)
    except (ClientDisconnect, Disconnected):
        pass
    except Exception as error:
        if started:
            raise
        if not isinstance(error, SessionsError):
            LOGGER.exception("%s failed", scope["path"])
            error = Unexpected("the server failed; its log says how")
        await refuse(scope, error)(scope, receive, send)


class SocketEndpoint:
    """An operation's WebSocket, as an ASGI application. What is refused is refused as a plain HTTP answer."""

    def __init__(self, read: Reader, row: Operation | None = None) -> None:
        self._read = read
        self._row = row

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        await socket.receive()  # that it would like to connect
        try:
            if self._row is None or self._row.websocket is None or is_devious(scope):
                raise NotFound(f"no WebSocket is served at {scope['path']!r}")
            await self._row.websocket(self._read(self._row, scope, b""), socket)
        except SessionsError as error:
            await socket.send_denial_response(error_response(error))


def is_devious(scope: Scope) -> bool:
    """Whether the path hides a slash: decoded, it would be another path."""
    return b"%2f" in scope.get("raw_path", b"").lower()


def read_call(engine: Engine, streams: Streams, row: Operation, scope: Scope, body: bytes) -> Call:
    return Call(
        engine=engine,
        streams=streams,
        scope=scope,
        path=scope["path_params"],
        query=read_query(scope["query_string"], row.query),
        body=read_body(body, row.body, row.body_optional) if row.body is not None else None,
        headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
    )


class Disconnected(Exception):
    """The client has gone."""


async def while_connected(receive: Receive, work: Callable[[], Awaitable[T]]) -> T:
    """What `work` returns or raises; it is cancelled, and `Disconnected` raised, if the client goes before."""
    outcome: list[T] = []
    failure: list[Exception] = []

    async def watch() -> None:
        while not (await receive())["type"].endswith(".disconnect"):
            pass
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        try:
            outcome.append(await work())
        except Exception as error:
            failure.append(error)  # not through the nursery, which would wrap it
        nursery.cancel_scope.cancel()
    if failure:
        raise failure[0]
    if not outcome:
        raise Disconnected
    return outcome[0]
