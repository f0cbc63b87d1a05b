"""Requests of the Daytona dialect: which row of the table they are for, what they carry, and the rim around all answers.

A path is split before it is decoded, since ids may hold a slash; double slashes count as one. What a request's body has beyond
what is known here is ignored, for newer clients; what is known must be of its type.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, unquote

import attrs
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from ...errors import NotFound, SessionsError
from ...spaces import Space, Spaces
from ..open_streams import Streams
from ..operations import Unexpected
from ..requests import read_json
from .errors import Refusal, Source, bad_body, error_answer, not_here
from .versions import Form, choose_form

LOGGER: Final = logging.getLogger("sessions.server")

DOOR: Final = "daytona"
"""The name of this door, on the spaces that are made through it."""


class Body:
    """A JSON object whose fields are read one by one."""

    def __init__(self, data: bytes) -> None:
        try:
            found = read_json(data)
        except SessionsError as error:
            raise bad_body(str(error)) from None
        if not isinstance(found, dict):
            raise bad_body("the body must be a JSON object")
        self._fields: Mapping[str, Any] = found

    def _take(self, name: str, kinds: tuple[type, ...], what: str) -> Any:
        value = self._fields.get(name)
        if value is None or (isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))):
            return value
        raise bad_body(f"{name}: expected {what}")

    def text(self, name: str) -> str | None:
        value: str | None = self._take(name, (str,), "a text")
        return value

    def needed_text(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            raise bad_body(f"{name} is missing")
        return value

    def flag(self, name: str) -> bool:
        return bool(self._take(name, (bool,), "true or false"))

    def integer(self, name: str) -> int | None:
        value: int | None = self._take(name, (int,), "a whole number")
        return value

    def seconds(self, name: str) -> float | None:
        """None for no limit, which 0 is, too."""
        value: float | None = self._take(name, (int, float), "a number of seconds")
        if value is not None and not 0 <= value <= 1e9:
            raise bad_body(f"{name}: expected seconds from 0")
        return value or None

    def texts(self, name: str) -> dict[str, str]:
        """An object of texts."""
        value: dict[str, Any] = self._take(name, (dict,), "an object") or {}
        if not all(isinstance(item, str) for item in value.values()):
            raise bad_body(f"{name}: expected an object of texts")
        return value

    def has_items(self, name: str) -> bool:
        """Whether there is an array or an object that is not empty."""
        return bool(self._take(name, (list, dict), "an array or an object"))

    def text_list(self, name: str) -> list[str]:
        value: list[Any] = self._take(name, (list,), "an array") or []
        if not all(isinstance(item, str) for item in value):
            raise bad_body(f"{name}: expected an array of texts")
        return value


@attrs.define(slots=False)
class Call:
    """One request."""

    spaces: Spaces
    streams: Streams
    scope: Scope
    data: bytes
    ids: Sequence[str]
    """What stands in the path where its row has ``*``."""
    _space: Space | None
    """Whose toolbox was asked."""

    @property
    def space(self) -> Space:
        assert self._space is not None
        return self._space

    def in_use(self) -> AbstractContextManager[None]:
        """While this lasts, its space does not count as idle. `Conflict` unless it is started."""
        return self._space.use() if self._space is not None else nullcontext()

    @cached_property
    def body(self) -> Body:
        return Body(self.data)

    @cached_property
    def headers(self) -> Mapping[str, str]:
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self.scope["headers"]}

    @cached_property
    def query(self) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, value in parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True):
            found.setdefault(name, []).append(value)
        return found

    def first(self, name: str, default: str = "") -> str:
        return self.query.get(name, [default])[0]

    @property
    def base_url(self) -> str:
        """How the client itself calls the server that it asks, down to this door."""
        scheme = {"ws": "http", "wss": "https"}.get(self.scope["scheme"], self.scope["scheme"])
        return f"{scheme}://{self.headers.get('host', 'localhost')}{self.scope.get('root_path', '')}"

    @property
    def form(self) -> Form:
        return choose_form(self.headers, self.scope.get("subprotocols") or ())


Answer: TypeAlias = Callable[[Call], Awaitable[ASGIApp]]
SocketAnswer: TypeAlias = Callable[[Call, WebSocket], Awaitable[None]]


@attrs.frozen
class Row:
    """One line of the dialect's table."""

    method: str
    path: str
    """``*`` is any one segment."""
    answer: Answer | None = None
    socket: SocketAnswer | None = None
    """What answers if it is asked for with an upgrade to WebSocket."""

    def match(self, segments: Sequence[str]) -> list[str] | None:
        """What stands where the path has ``*``; None if this is another path."""
        parts = self.path.split("/")
        if len(parts) != len(segments):
            return None
        pairs = list(zip(parts, segments, strict=True))
        return [found for part, found in pairs if part == "*"] if all(p in ("*", f) for p, f in pairs) else None


@attrs.frozen
class Table:
    """One of the two services of the dialect."""

    rows: Sequence[Row]
    """Of several that match, the first one counts."""
    absent: Mapping[str, str]
    """What this server does not have: the beginning of its path, and what it is called."""

    def find(self, segments: Sequence[str], method: str | None) -> tuple[Row, list[str]]:
        """The row for a path, and its ids. `method` is None for a WebSocket."""
        matching = [(row, ids) for row in self.rows if (ids := row.match(segments)) is not None]
        for row, ids in matching:
            if row.socket is not None if method is None else row.answer is not None and row.method == method:
                return row, ids
        for path, what in self.absent.items():
            parts = path.split("/")
            if Row("", path).match(segments[: len(parts)]) is not None:
                raise not_here(what)
        allowed = sorted({row.method for row, _ in matching if row.answer is not None})
        if allowed and method is not None:
            raise Refusal(405, "METHOD_NOT_ALLOWED", f"{method} is not possible here: {', '.join(allowed)} is")
        raise NotFound(f"there is nothing at {'/' + '/'.join(segments)!r}")


def split_path(scope: Scope) -> list[str]:
    """The segments of a path below the door, decoded."""
    below = len([part for part in scope.get("root_path", "").split("/") if part])
    raw = bytes(scope["raw_path"]).decode("latin-1").split("?")[0]
    return [unquote(part, errors="replace") for part in raw.split("/") if part][below:]


class Door:
    """All of the dialect, as an ASGI application for HTTP and WebSocket."""

    def __init__(self, spaces: Spaces, streams: Streams, control: Table, toolbox: Table) -> None:
        self._spaces = spaces
        self._streams = streams
        self._tables: Mapping[Source, Table] = {"DAYTONA_API": control, "DAYTONA_DAEMON": toolbox}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            if scope["type"] == "websocket":
                await self._serve_socket(scope, receive, send_and_note)
            else:
                await self._serve(scope, receive, send_and_note)
        except ClientDisconnect:
            pass
        except Exception as error:
            if started:
                raise
            if not isinstance(error, SessionsError):
                LOGGER.exception("%s failed", scope["path"])
                error = Unexpected("the server failed; its log says how")
            await refuse(scope, error)(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Before anything is refused: what stays unread would hold up the connection's reader.
        data = await Request(scope, receive).body()
        call, row = self._read(scope, data, scope["method"])
        assert row.answer is not None
        with call.in_use():
            await (await row.answer(call))(scope, receive, send)

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        await socket.receive()  # that it would like to connect
        call, row = self._read(scope, b"", None)
        assert row.socket is not None
        with call.in_use():
            await row.socket(call, socket)

    def _read(self, scope: Scope, data: bytes, method: str | None) -> tuple[Call, Row]:
        """The space is looked for first: where there is none, there is nothing below it."""
        source, space_id, segments = whose(scope)
        space = self._spaces.get(DOOR, space_id) if space_id is not None else None
        row, ids = self._tables[source].find(segments, method)
        return Call(self._spaces, self._streams, scope, data, ids, space), row


def refuse(scope: Scope, error: SessionsError) -> ASGIApp:
    """The answer to a request that can't be answered otherwise."""
    source, _, segments = whose(scope)
    return error_answer(scope, source, "/" + "/".join(segments), error)


def whose(scope: Scope) -> tuple[Source, str | None, list[str]]:
    """Which of the two services a request is for, whose toolbox, and the path there. The API is also at the root of the door."""
    segments = split_path(scope)
    if segments[:1] == ["toolbox"]:
        return "DAYTONA_DAEMON", segments[1] if segments[1:] else "", segments[2:]
    return "DAYTONA_API", None, segments[1:] if segments[:1] == ["api"] else segments
