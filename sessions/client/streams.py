"""What a client's `follow` and `watch` return: opened with ``async with``, then iterated."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from types import TracebackType
from typing import Any, Final, Self

import anyio

from ..arguments import check_count, check_stream
from ..callbacks import Callbacks
from ..models import Event, Record
from . import calls
from .connection import Connection
from .events import read_event, read_fields, read_record
from .feed import Feed

LAST_WORDS: Final = ("end", "done")
CHARACTER_SECONDS: Final = 2.0
"""For the rest of a character that is not complete yet."""
CONTINUATION: Final = range(0x80, 0xC0)
"""Bytes inside of a character in UTF-8."""


class RemoteRecordStream:
    """The records of one command or session; see `Command.follow`. It goes on by itself where a connection was cut."""

    def __init__(
        self,
        connection: Connection,
        target: str,
        after: int | None,
        stream: str | None,
        late: bool,
        callbacks: Callbacks,
        ended: Callable[[Any], None],
    ) -> None:
        """`target` is a command's or a session's path; `ended` is told what the last event says of it."""
        check_stream(stream)
        check_count("after", after, -1)
        self._connection = connection
        self._target = target
        self._begin = self._after = after
        self._stream = stream
        self._late = late
        self._callbacks = callbacks
        self._ended = ended
        self._feed = Feed(connection, lambda: calls.follow(target, self._after, stream, late))
        self._items: deque[Record] = deque()
        self._over = False
        self._before: dict[tuple[str, str], bytes] = {}

    async def __aenter__(self) -> Self:
        if self._begin is not None:
            self._callbacks.begin_after(lambda record: self._before[record.command_id, record.stream])
        await self._feed.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._items.clear()
        await self._feed.close()

    def __aiter__(self) -> AsyncIterator[Record]:
        return self

    async def __anext__(self) -> Record:
        while not self._items:
            if self._over:
                await self._callbacks.finish()
                raise StopAsyncIteration
            await self._read()
        record = self._items.popleft()
        if self._callbacks:
            if self._begin is not None:
                await self._look_before(record)
            await self._callbacks.feed(record)
        return record

    @property
    def has_more_now(self) -> bool:
        """Whether the next record is there already."""
        return bool(self._items)

    async def _read(self) -> None:
        for event in await self._feed.next():
            if event.event in LAST_WORDS:
                self._over = True
                self._ended(read_fields(event))
                await self._feed.finish()
                return
            record = read_record(event)
            self._after = record.seq
            self._items.append(record)

    async def _look_before(self, record: Record) -> None:
        """Note the beginning of a character whose rest `record` begins with."""
        key = record.command_id, record.stream
        if key in self._before or record.stream == "dropped":
            return
        self._before[key] = b""
        if record.data and record.data[0] in CONTINUATION:
            self._before[key] = await self._read_before(record)

    async def _read_before(self, record: Record) -> bytes:
        """Asked for as text, what it belongs to begins with the whole character."""
        path = calls.command_path(record.command_id)
        feed = Feed(self._connection, lambda: calls.follow(path, self._begin, record.stream, self._late, "text"))
        try:
            with anyio.move_on_after(CHARACTER_SECONDS):
                await feed.open()
                first = read_fields(next(iter(await feed.next()))).get("text", "")[:1].encode()
                for size in range(1, len(first)):
                    rest = first[size:]
                    if record.data[: len(rest)] == rest[: len(record.data)]:
                        return bytes(first[:size])
        finally:
            await feed.close()
        return b""

    def __await__(self) -> Generator[object, object, None]:
        """``await command.follow(on_stdout=...)`` reads to the end; the callbacks get all there is."""
        return self._drain().__await__()

    async def _drain(self) -> None:
        async with self:
            async for _ in self:
                pass


class RemoteEventStream:
    """The events of a server's root; see `Engine.watch`."""

    def __init__(self, connection: Connection, after: int | None) -> None:
        check_count("after", after)
        self._after = after
        self._feed = Feed(connection, lambda: calls.watch(self._after))
        self._items: deque[Event] = deque()

    async def __aenter__(self) -> Self:
        if self._after is not None:
            await self._feed.open()
        elif (place := await self._feed.begin()).isdigit():
            # So that nothing is missed if the connection breaks before the first event.
            self._after = int(place)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._items.clear()
        await self._feed.close()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._items:
            for event in await self._feed.next():
                self._items.append(read_event(event))
        found = self._items.popleft()
        self._after = found.seq
        return found
