"""Who answers a verb: the server that was named, the root's own, an engine just for this call, or the root itself."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from ..errors import NotFound
from .place import Place
from .starting import answers

if TYPE_CHECKING:
    from .hosts import Host, Reader


@contextlib.asynccontextmanager
async def server_of(place: Place) -> AsyncIterator[Host]:
    """The server that was named, or that of the root, which must be there."""
    spare_imports()
    from ..client.client import connect

    url = place.url if place.url is not None else f"unix://{place.socket}"
    async with connect(url, token=place.token) as client:
        yield client


def spare_imports() -> None:
    """What httpx and httpcore load if it is there, and we have no use for: a quarter of the time that we take to start.

    They are a command line with rich and pygments, and HTTP/2. None says that there is no such module.
    """
    for name in ("httpx._main", "h2"):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def acting_on(place: Place) -> AsyncIterator[Host]:
    """For what needs no running session: the server, or where none runs, an engine that lives as long as the verb."""
    if place.url is not None or answers(place.socket):
        async with server_of(place) as client:
            yield client
    else:
        check_root(place)
        from ..opening import open_engine

        async with open_engine(place.root) as engine:
            yield engine


@contextlib.asynccontextmanager
async def looking_at(place: Place) -> AsyncIterator[Reader]:
    """For what only reads: the server, which knows most, or where none runs, the root."""
    if place.url is not None or answers(place.socket):
        async with server_of(place) as client:
            yield client
    else:
        async with reading_root(place) as reader:
            yield reader


@contextlib.asynccontextmanager
async def reading_root(place: Place) -> AsyncIterator[Reader]:
    """The root's files, whether a server runs or not."""
    check_root(place)
    from .reading import RootReader

    with RootReader(place.root) as reader:
        yield reader


def is_empty(place: Place) -> bool:
    """Whether there is neither a server nor anything stored."""
    return place.url is None and not answers(place.socket) and not (place.root / "catalog.sqlite3").exists()


def check_root(place: Place) -> None:
    if is_empty(place):
        raise NotFound(
            f"nothing was ever stored in the root {place.root}: say another one with --root or $SESSIONS_HOME"
        )
