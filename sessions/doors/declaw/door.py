"""The Declaw dialect, mounted at ``/declaw`` and, since its clients take no path, with ``/sandboxes`` at the root of the server."""

from __future__ import annotations

from typing import Final

import attrs
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from ...spaces import Space, Spaces
from ..open_streams import Streams
from . import commands, lifetimes, sandboxes, stdio, terminals
from .errors import error_answer as refuse
from .errors import not_here
from .routing import DOOR, Answer, Call, Row, build_routes, nothing

__all__ = ["SANDBOXES", "refuse", "root_routes", "routes"]

SANDBOXES: Final = "/sandboxes"

ABSENT: Final = {
    "files": "files",
    "metrics": "metrics",
    "ports": "ports",
    "restore": "snapshots",
    "snapshot": "snapshots",
    "snapshots": "snapshots",
}
"""What a sandbox does not have here, by the beginning of its path."""


def refuser(what: str) -> Answer:
    async def answer(call: Call) -> ASGIApp:
        raise not_here(what)

    return answer


ROWS: Final = [
    *sandboxes.ROWS,
    *commands.ROWS,
    *stdio.ROWS,
    *terminals.ROWS,
    *(
        Row(method, f"/{{sandbox}}/{path}{rest}", refuser(what))
        for path, what in ABSENT.items()
        for rest in ("", "/{rest:path}")
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
    ),
]


async def look(space: Space) -> None:
    """What is to be done now and then for each sandbox."""
    await terminals.end_in_time(space)
    await lifetimes.look(space)


def root_routes(spaces: Spaces, streams: Streams) -> list[BaseRoute]:
    """Those for the root of a server: the sandboxes alone. `streams` is shared by all doors of a server."""
    spaces.looks[DOOR] = look
    rows = [attrs.evolve(row, path=SANDBOXES + row.path) for row in ROWS]
    return [*build_routes(spaces, streams, rows), nothing(f"{SANDBOXES}/{{path:path}}", spaces, streams)]


def routes(spaces: Spaces, streams: Streams) -> list[BaseRoute]:
    """The door on `spaces`."""
    return [*root_routes(spaces, streams), nothing("/{path:path}", spaces, streams)]
