"""The events of one address, over as many connections as it takes.

Who reads says where to begin (`ask` is called for each connection) and sees the end (an event that says so): a connection
that just ends is taken for a broken one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

import anyio
import httpx
from httpx_sse import ServerSentEvent

from ..arguments import not_opened
from ..errors import Broken, SessionsError
from .answers import ServerCloses, read_error
from .calls import Call
from .connection import Connection, Gone
from .events import EventSplitter
from .patience import Patience

LAST_BYTES_SECONDS: Final = 1.0
"""For the end of an answer whose last event is there: then its connection can be used again."""


class Feed:
    """Open it, read it until the last event has come, and close it."""

    def __init__(self, connection: Connection, ask: Callable[[], Call]) -> None:
        self._connection = connection
        self._ask = ask
        self._patience = Patience()
        self._call = ask()
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes] | None = None
        self._splitter = EventSplitter()
        self._began = 0.0
        self._failure: SessionsError | None = None
        self._early: list[ServerSentEvent] = []

    async def open(self) -> None:
        """Connect. What the server refuses is raised here."""
        try:
            await self._open()
        except Gone as gone:
            if gone.never_sent:
                raise gone.error from gone.__cause__
            await self._open_again(gone)

    async def _open(self) -> None:
        self._call = self._ask()
        self._response = await self._connection.open(self._call)
        self._chunks = aiter(self._response.aiter_raw())
        self._splitter = EventSplitter()
        self._began = anyio.current_time()

    async def _open_again(self, gone: Gone) -> None:
        while True:
            await self._connection.rest(self._patience, gone)
            try:
                return await self._open()
            except Gone as again:
                gone = again

    async def begin(self) -> str:
        """Open it, and wait for the first sign of life; the place where it begins, if that comes with it."""
        await self.open()
        while True:
            try:
                self._early = await self._read()
                return self._splitter.last_id
            except Gone as gone:
                await self._open_again(gone)

    async def next(self) -> list[ServerSentEvent]:
        """The next events, at least one. Raises what an ``error`` event says."""
        while True:
            if self._early:
                events, self._early = self._early, []
                return events
            try:
                events = await self._read()
            except Gone as gone:
                self._patience.lasted(anyio.current_time() - self._began)
                await self._open_again(gone)
                continue
            if events:
                self._patience.progress()
                return events

    async def _read(self) -> list[ServerSentEvent]:
        """The events in what comes next, if one ends there."""
        if self._chunks is None:
            raise not_opened()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise Gone(failure) if isinstance(failure, ServerCloses) else failure
        try:
            chunk = await anext(self._chunks)
            self._patience.heard()
            events = self._splitter.feed(chunk)
            if events and events[-1].event == "error":
                # Behind what came before it.
                self._failure = read_error(500, events.pop().data.encode(), self._connection.address)
            return events
        except StopAsyncIteration:
            raise Gone(self._ended_early("ended without its last event")) from None
        except httpx.TransportError as error:
            raise Gone(self._ended_early(f"broke ({str(error) or type(error).__name__})")) from error

    def _ended_early(self, how: str) -> Broken:
        return Broken(
            f"the stream {self._call.path} of {self._connection.address} {how} and can't be opened again:"
            " if the server is gone, start it with `sessions serve` and go on behind the last record"
        )

    async def finish(self) -> None:
        """Close it after its last event."""
        with anyio.move_on_after(LAST_BYTES_SECONDS):
            try:
                while self._chunks is not None:
                    await anext(self._chunks)
            except (StopAsyncIteration, httpx.TransportError):
                self._chunks = None
        await self.close()

    async def close(self) -> None:
        """Close it wherever it is."""
        response, chunks = self._response, self._chunks
        self._response = self._chunks = None
        with anyio.CancelScope(shield=True) as scope:
            if chunks is not None:
                # What reads the connection is a chain of generators. A cancellation ends all of them, here and now;
                # left to the garbage collector, each would be a warning.
                scope.cancel()
                try:
                    while True:
                        await anext(chunks)
                except (StopAsyncIteration, httpx.TransportError):
                    pass
        if response is not None:
            with anyio.CancelScope(shield=True):
                await response.aclose()
