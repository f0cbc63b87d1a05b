"""Requests of the Miosa dialect, and whose computer or sandbox they are for.

A path may have two answers to the same method: one over HTTP, one over a WebSocket.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cached_property, partial
from typing import Final, TypeAlias

import attrs
from starlette.routing import BaseRoute
from starlette.types import Scope

from ...errors import Invalid, NotFound, SessionsError
from ...spaces import Space, Spaces
from .. import dialects
from ..dialects import Dialect
from ..fields import Fields, read_fields
from ..open_streams import Streams
from ..operations import is_devious
from .errors import error_answer, not_here, not_running

DOOR: Final = "miosa"
"""The name of this door, on the spaces that are made through it."""
API: Final = "/api/v1"
"""What clients put behind the address that they are given."""
KINDS: Final = {"computers": "computer", "sandboxes": "sandbox"}


class Call(dialects.Call):
    """One request."""

    @cached_property
    def body(self) -> Fields:
        """No body is as good as an empty object."""
        return read_fields(self.data or b"{}")

    def count(self, name: str, least: int = 0, most: int = 10**9) -> int | None:
        """A whole number of the query; None if it is left out."""
        text = self.first(name)
        if text and not (text.isdecimal() and len(text) < 12 and least <= int(text) <= most):
            raise Invalid(f"{name}: expected a whole number from {least} to {most}, not {text!r}")
        return int(text) if text else None

    @property
    def path(self) -> str:
        """From the root of the server."""
        return str(self.scope["path"])

    @cached_property
    def kind(self) -> str:
        """``computer`` or ``sandbox``."""
        return KINDS.get(below(self.scope)[0], "machine")

    @cached_property
    def space(self) -> Space:
        """Whose path it is."""
        return find_space(self.spaces, self.kind, self.ids["space"])

    @asynccontextmanager
    async def in_use(self) -> AsyncIterator[None]:
        await wake(self.space)
        with self.space.use():
            yield


def below(scope: Scope) -> list[str]:
    """The segments of a path behind the API's own part."""
    path = str(scope["path"]).removeprefix(str(scope.get("root_path", "")))
    return path.removeprefix(f"{API}/").removeprefix("/").split("/")


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


Answer: TypeAlias = dialects.Answer[Call]
Row: TypeAlias = dialects.Row[Call]


def build_routes(spaces: Spaces, streams: Streams, rows: Sequence[Row], absent: Mapping[str, str]) -> list[BaseRoute]:
    """`absent` is what this server does not have: a segment of its path, and what it is called.

    Below a machine that is there, all else is said not to be there, too: clients have many calls.
    """

    def nothing_at(scope: Scope) -> SessionsError:
        segments = below(scope)
        if segments[0] in KINDS and len(segments) > 2 and not is_devious(scope):
            find_space(spaces, KINDS[segments[0]], segments[1])
            return not_here(absent.get(segments[2], "/".join(segments[2:])))
        return not_here(absent[segments[0]]) if segments[0] in absent else dialects.nothing_at(scope)

    dialect = Dialect(partial(Call, spaces, streams), error_answer, nothing_at)
    return [*dialect.build_routes([attrs.evolve(row, path=API + row.path) for row in rows]), *dialect.nothing()]
