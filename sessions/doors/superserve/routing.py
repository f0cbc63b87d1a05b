"""Requests of the Superserve dialect.

Doubled slashes count as one: clients add their paths to a base URL that may end with one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Final, TypeAlias

from starlette.routing import BaseRoute, Router
from starlette.types import Receive, Scope, Send

from ...spaces import Space, Spaces
from .. import dialects
from ..dialects import Call as Call
from ..dialects import Dialect
from ..open_streams import Streams
from .errors import error_answer

SLASHES: Final = re.compile("//+")

Answer: TypeAlias = dialects.Answer[Call]
Row: TypeAlias = dialects.Row[Call]


async def wake(space: Space) -> None:
    """Whatever it is doing, it runs afterwards."""
    if space.state == "paused":
        await space.resume()
    elif space.state == "stopped":
        await space.start()


def build_routes(spaces: Spaces, streams: Streams, rows: Sequence[Row]) -> list[BaseRoute]:
    return Dialect(partial(Call, spaces, streams), error_answer).build_routes(rows)


class Table:
    """All paths below a mount, as an ASGI application: what is not in the table is refused in this dialect, too."""

    def __init__(self, spaces: Spaces, streams: Streams, rows: Sequence[Row]) -> None:
        dialect = Dialect(partial(Call, spaces, streams), error_answer)
        self._router = Router([*dialect.build_routes(rows), *dialect.nothing()], redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        root = scope.get("root_path", "")
        below = SLASHES.sub("/", scope["path"].removeprefix(root))
        await self._router({**scope, "path": root + below}, receive, send)
