"""A server for tests of blocking programs: a real one, on its unix socket, with an engine, in a thread of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from served import served

import sessions
from sessions.portal import Portal


@asynccontextmanager
async def engine_and_server(root: Path, limits: sessions.Limits) -> AsyncIterator[None]:
    async with sessions.open_engine(root, limits=limits) as engine, served(engine, bind=[]):
        yield


@contextmanager
def serving(root: Path, limits: sessions.Limits) -> Iterator[str]:
    """A server on `root` for the block; its URL."""
    portal = Portal("the server")
    portal.open(engine_and_server(root, limits))
    try:
        yield f"unix://{root}/serve.sock"
    finally:
        portal.close()
