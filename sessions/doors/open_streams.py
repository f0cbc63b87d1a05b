"""Who is being streamed to: how many, how many there may be, and how long they keep us waiting.

It is also how those who wait learn that the server closes, and how often they give a sign of life while there is nothing to tell, so
that no proxy and no client takes a connection for dead.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import trio

from ..errors import Busy, SessionsError

T = TypeVar("T")


class ServerCloses(SessionsError):
    """The server ends while an answer is under way. What was asked about may well go on."""

    code = "closing"
    status = 503


def closes() -> ServerCloses:
    return ServerCloses("the server is about to end: ask the next one how it went on")


class OpenStream:
    """One client that is being told something."""

    def __init__(self) -> None:
        self.waiting_since: float | None = None
        """On trio's clock: since when a piece waits for being taken."""

    @contextmanager
    def waiting(self) -> Iterator[None]:
        self.waiting_since = trio.current_time()
        try:
            yield
        finally:
            self.waiting_since = None


class Streams:
    """The open streams of one server."""

    def __init__(self, limit: int = 10_000, heartbeat_seconds: float = 15.0) -> None:
        self.started_at = time.time()
        """Unix seconds, UTC."""
        self._limit = limit
        self._heartbeat_seconds = heartbeat_seconds
        self._open: set[OpenStream] = set()
        self._waits: set[trio.CancelScope] = set()
        self._feeds: set[trio.CancelScope] = set()
        self._nothing_happens = False
        self._closed = False

    def close(self) -> None:
        """The server is about to end: each stream tells so and ends."""
        self._closed = True
        for scope in self._waits:
            scope.cancel()

    def end_feeds(self) -> None:
        """Nothing happens any more: who waits for the next thing to happen, whatever it is, waits in vain."""
        self._nothing_happens = True
        for scope in self._feeds:
            scope.cancel()

    @contextmanager
    def feed(self) -> Iterator[None]:
        """Around a wait that has no end but the server's. Raises `ServerCloses` once nothing happens any more."""
        with trio.CancelScope() as scope:
            self._feeds.add(scope)
            if self._nothing_happens:
                scope.cancel()
            try:
                yield
            finally:
                self._feeds.discard(scope)
        if scope.cancelled_caught:
            raise closes()

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def one_more(self) -> Iterator[OpenStream]:
        """Count one stream for the block. `Busy` if there are too many."""
        if len(self._open) >= self._limit:
            raise Busy(f"{self._limit} streams are open, the limit of this server: close some, or follow many in one")
        stream = OpenStream()
        self._open.add(stream)
        try:
            yield stream
        finally:
            self._open.discard(stream)

    def lag_seconds(self) -> float:
        """How long the slowest of them has kept a piece waiting."""
        since = [stream.waiting_since for stream in self._open if stream.waiting_since is not None]
        return trio.current_time() - min(since) if since else 0.0

    async def wait_aloud(
        self, wait: Callable[[], Awaitable[T]], say: Callable[[], Awaitable[None]], until: float = float("inf")
    ) -> T | None:
        """What `wait` returns; None if it is `until` (on trio's clock) before. Calls `say` for each time without an end.

        `wait` may be cancelled and called again; `say` is never cancelled: half a message would spoil those after it.
        Raises `ServerCloses` once the server does.
        """
        while not self._closed:
            with trio.move_on_at(min(until, trio.current_time() + self._heartbeat_seconds)) as scope:
                self._waits.add(scope)
                try:
                    return await wait()
                finally:
                    self._waits.discard(scope)
            if trio.current_time() >= until:
                return None
            if not self._closed:
                await say()
        raise closes()
