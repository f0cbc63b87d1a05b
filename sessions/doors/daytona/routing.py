"""Requests of the Daytona dialect: which of its two services they are for, which row of that one's table, and whose toolbox.

A path is split before it is decoded, since ids may hold a slash; double slashes count as one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeAlias
from urllib.parse import unquote

import attrs
from starlette.types import ASGIApp, Receive, Scope, Send

from ...errors import NotFound, SessionsError
from ...spaces import Space, Spaces
from .. import dialects
from ..dialects import not_allowed, serve
from ..open_streams import Streams
from .errors import Source, error_answer, not_here
from .versions import Form, choose_form

DOOR: Final = "daytona"
"""The name of this door, on the spaces that are made through it."""


@attrs.define(slots=False)
class Call(dialects.Call):
    """One request."""

    _space: Space | None
    """Whose toolbox was asked."""

    @property
    def space(self) -> Space:
        assert self._space is not None
        return self._space

    @asynccontextmanager
    async def in_use(self) -> AsyncIterator[None]:
        with self.space.use():
            yield

    @property
    def base_url(self) -> str:
        """How the client itself calls the server that it asks, down to this door."""
        scheme = {"ws": "http", "wss": "https"}.get(self.scope["scheme"], self.scope["scheme"])
        return f"{scheme}://{self.headers.get('host', 'localhost')}{self.scope.get('root_path', '')}"

    @property
    def form(self) -> Form:
        return choose_form(self.headers, self.scope.get("subprotocols") or ())


Row: TypeAlias = dialects.Row[Call]


@attrs.frozen
class Table:
    """One of the two services of the dialect."""

    rows: Sequence[Row]
    """Of several that match, the first one counts."""
    absent: Mapping[str, str]
    """What this server does not have: the beginning of its path, and what it is called."""

    def find(
        self, segments: Sequence[str], method: str | None, check: Callable[[str], object]
    ) -> tuple[Row, dict[str, str]]:
        """The row for a path, and its ids. `method` is None for a WebSocket. `check` fails for a sandbox that is not there."""
        matching = [(row, ids) for row in self.rows if (ids := match(row.path, segments)) is not None]
        for row, ids in matching:
            if row.socket is not None if method is None else row.answer is not None and row.method == method:
                return row, ids
        others = {row.method for row, _ in matching if row.answer is not None}
        if others and method is not None:
            raise not_allowed(method, others)
        for path, what in self.absent.items():
            ids = match(path, segments[: path.count("/") + 1])
            if ids is not None:
                if "sandbox" in ids:
                    check(ids["sandbox"])
                raise not_here(what)
        raise NotFound(f"there is nothing at {'/' + '/'.join(segments)!r}")


def match(path: str, segments: Sequence[str]) -> dict[str, str] | None:
    """What stands where `path` has ``{...}``; None if these are another one's segments."""
    parts = path.split("/")
    if len(parts) != len(segments):
        return None
    pairs = list(zip(parts, segments, strict=True))
    if any(part != found for part, found in pairs if not part.startswith("{")):
        return None
    return {part[1:-1]: found for part, found in pairs if part.startswith("{")}


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
        await serve(self._choose, refuse, scope, receive, send)

    def _choose(self, scope: Scope, data: bytes) -> tuple[Call, Row]:
        """The space is looked for first: where there is none, there is nothing below it."""
        source, space_id, segments = whose(scope)
        space = self._spaces.get(DOOR, space_id) if space_id is not None else None
        row, ids = self._tables[source].find(segments, scope.get("method"), partial(self._spaces.get, DOOR))
        return Call(self._spaces, self._streams, {**scope, "path_params": ids}, data, space), row


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
