"""The Declaw dialect, mounted at ``/declaw`` and, since its clients take no path, with ``/sandboxes`` at the root of the server."""

from __future__ import annotations

from typing import Final

import attrs
from starlette.routing import BaseRoute

from ...spaces import Space, Spaces
from ..dialects import refusing
from ..open_streams import Streams
from . import commands, lifetimes, sandboxes, stdio, terminals
from .errors import error_answer as refuse
from .errors import not_here
from .routing import DOOR, Call, dialect

__all__ = ["SANDBOXES", "refuse", "root_routes", "routes"]

SANDBOXES: Final = "/sandboxes"

ABSENT: Final = {
    "files": "files",
    "metrics": "metrics",
    "ports": "ports",
    "restore": "snapshots",
    "snapshot": "snapshots",
    "snapshots": "snapshots",
    "volumes": "volumes",
}
"""What a sandbox does not have here, by the beginning of its path."""
RESTS: Final = ("", "/{rest:path}")


def find(call: Call) -> Space:
    return call.space


ROWS: Final = [
    *sandboxes.ROWS,
    *commands.ROWS,
    *stdio.ROWS,
    *terminals.ROWS,
    *refusing({f"/{{sandbox}}/{path}{rest}": what for path, what in ABSENT.items() for rest in RESTS}, not_here, find),
]


async def look(space: Space) -> None:
    """What is to be done now and then for each sandbox."""
    await terminals.end_in_time(space)
    await lifetimes.look(space)


def root_routes(spaces: Spaces, streams: Streams) -> list[BaseRoute]:
    """Those for the root of a server: the sandboxes alone. `streams` is shared by all doors of a server."""
    spaces.looks[DOOR] = look
    found = dialect(spaces, streams)
    rows = [attrs.evolve(row, path=SANDBOXES + row.path) for row in ROWS]
    return [*found.build_routes(rows), *found.nothing(f"{SANDBOXES}/{{path:path}}")]


def routes(spaces: Spaces, streams: Streams) -> list[BaseRoute]:
    """The door on `spaces`."""
    return [*root_routes(spaces, streams), *dialect(spaces, streams).nothing()]
