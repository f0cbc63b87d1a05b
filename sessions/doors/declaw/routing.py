"""Requests of the Declaw dialect: which row of the table they are for, whose sandbox, and what they carry.

What a body has beyond what is known here is ignored, for newer clients; what is known must be of its type. The path is looked
at first, then the sandbox, then the body.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cached_property
from typing import Final, TypeAlias
from urllib.parse import parse_qsl

import attrs
from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ...errors import NotFound
from ...spaces import Space, Spaces
from ..fields import Fields, read_fields
from ..open_streams import Streams
from ..operations import answer_or_refuse
from ..requests import MethodNotAllowed
from .errors import error_answer, killed, paused, stopped
from .lifetimes import renew

DOOR: Final = "declaw"
"""The name of this door, on the spaces that are made through it."""
AUTO_RESUME: Final = "auto_resume"
"""Of a sandbox's facts: a paused one goes on when it is asked for something."""


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
    def query(self) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name, value in parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True):
            found.setdefault(name, []).append(value)
        return found

    def first(self, name: str, default: str = "") -> str:
        return self.query.get(name, [default])[0]

    @cached_property
    def space(self) -> Space:
        """The sandbox that was asked, alive."""
        return find_space(self.spaces, self.ids["sandbox"])

    async def space_in_use(self) -> Space:
        """The same, able to run something."""
        space = self.space
        if space.state == "paused" and space.info.facts.get(AUTO_RESUME):
            await space.resume()
            renew(space)
        if space.state == "paused":
            raise paused(space.id)
        if space.state == "stopped":
            raise stopped(space.id)
        return space


def find_space(spaces: Spaces, sandbox_id: str) -> Space:
    """One that was killed answers differently from one that never was."""
    try:
        return spaces.get(DOOR, sandbox_id)
    except NotFound:
        info = spaces.table.find(DOOR, sandbox_id)
        if info is not None and info.state == "destroyed":
            raise killed(sandbox_id) from None
        raise NotFound(f"there is no sandbox {sandbox_id!r}") from None


Answer: TypeAlias = Callable[[Call], Awaitable[ASGIApp]]


@attrs.frozen
class Row:
    """One line of the dialect's table."""

    method: str
    path: str
    """Below the sandboxes of the door."""
    answer: Answer


class Endpoint:
    """All methods of one path, as an ASGI application."""

    def __init__(self, spaces: Spaces, streams: Streams, rows: Sequence[Row]) -> None:
        self._spaces = spaces
        self._streams = streams
        self._answers = {row.method: row.answer for row in rows}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await answer_or_refuse(self._answer, error_answer, scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Before anything is refused: what stays unread would hold up the connection's reader.
        data = await Request(scope, receive).body()
        if not self._answers:
            raise NotFound(f"there is nothing at {scope['path']!r}")
        answer = self._answers.get(scope["method"])
        if answer is None:
            allowed = ", ".join(sorted(self._answers))
            raise MethodNotAllowed(f"{scope['method']} is not possible here: {allowed} is", allowed)
        await (await answer(Call(self._spaces, self._streams, scope, data)))(scope, receive, send)


def build_routes(spaces: Spaces, streams: Streams, rows: Sequence[Row]) -> list[BaseRoute]:
    """A path that is not among `rows` is not served by these."""
    by_path: dict[str, list[Row]] = {}
    for row in rows:
        by_path.setdefault(row.path, []).append(row)
    return [Route(path, Endpoint(spaces, streams, group)) for path, group in by_path.items()]


def nothing(path: str, spaces: Spaces, streams: Streams) -> BaseRoute:
    """What is there for all paths of a pattern that no other row has."""
    return Route(path, Endpoint(spaces, streams, []))
