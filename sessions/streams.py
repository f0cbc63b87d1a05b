"""What `follow`, `follow_all` and `watch` return: opened with ``async with``, then iterated."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

import trio

from .archive import Archive
from .arguments import check_count, check_stream, not_opened
from .callbacks import Callback as Callback
from .callbacks import Callbacks as Callbacks
from .following import POLL_SECONDS, Follower
from .models import CommandInfo, Event, Record
from .reading_logs import read_before

if TYPE_CHECKING:
    from .command import Command


def check_open(opened: bool) -> None:
    """A stream that was closed under its reader has not come to its end."""
    if not opened:
        raise not_opened()


class RecordStream:
    """The records of one command or session; see `Command.follow`."""

    def __init__(
        self,
        archive: Archive,
        target: CommandInfo | str,
        after: int | None,
        stream: str | None,
        late: bool,
        callbacks: Callbacks,
        at_end: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        check_stream(stream)
        check_count("after", after, -1)
        self._archive = archive
        self._target = target
        self._after = after
        self._callbacks = callbacks
        self._at_end = at_end
        self._follower = Follower(stream, late)
        self._opened = False

    async def __aenter__(self) -> Self:
        self._opened = True
        if self._after is not None:
            self._callbacks.begin_after(partial(read_before, self._archive))
        if isinstance(self._target, str):
            self._follower.add_session(self._archive, self._target, self._after)
        else:
            self._follower.add_commands(self._archive, self._target.session_id, [self._target], self._after)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._opened = False
        self._follower.close()

    def __aiter__(self) -> AsyncIterator[Record]:
        return self

    async def __anext__(self) -> Record:
        check_open(self._opened)
        while (item := await self._follower.next()) is not None:
            if item[1] is not None:
                await self._callbacks.feed(item[1])
                return item[1]
            running = self._archive.running(item[0])
            if running is not None:
                # With a full disk the catalog may come later than the mark: who saw the end sees the outcome.
                await running.finished.wait()
        check_open(self._opened)
        await self._callbacks.finish()
        if self._at_end is not None:
            await self._at_end()
        raise StopAsyncIteration

    def __await__(self) -> Generator[object, object, None]:
        """``await command.follow(on_stdout=...)`` reads to the end; the callbacks get all there is."""
        return self._drain().__await__()

    async def _drain(self) -> None:
        async with self:
            async for _ in self:
                pass


class MergedStream:
    """Pairs of command and record from many commands at once; see `follow_all`."""

    def __init__(self, commands: Iterable[Command], after: Mapping[str, int], stream: str | None, late: bool) -> None:
        check_stream(stream)
        self._after = after
        self._commands: Mapping[str, Command] = {command.id: command for command in commands}
        self._follower = Follower(stream, late)
        self._opened = False

    async def __aenter__(self) -> Self:
        self._opened = True
        by_session: dict[tuple[Archive, str], list[CommandInfo]] = {}
        for command in self._commands.values():
            by_session.setdefault((command.archive, command.session_id), []).append(command.info)
        try:
            for (archive, session_id), infos in by_session.items():
                self._follower.add_commands(archive, session_id, infos, self._after.get(session_id))
        except BaseException:
            self._follower.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._opened = False
        self._follower.close()

    def __aiter__(self) -> AsyncIterator[tuple[Command, Record]]:
        return self

    async def __anext__(self) -> tuple[Command, Record]:
        check_open(self._opened)
        while (item := await self._follower.next()) is not None:
            command_id, record = item
            if record is not None:
                return self._commands[command_id], record
        check_open(self._opened)
        raise StopAsyncIteration


class EventStream:
    """The events of a root; see `Engine.watch`."""

    def __init__(self, archive: Archive, after: int | None) -> None:
        self._catalog = archive.catalog
        self._after = after
        self.position = 0
        """The seq behind which it goes on."""
        self._items: deque[Event] = deque()
        self._bell = trio.Event()
        self._opened = False

    async def __aenter__(self) -> Self:
        self._opened = True
        self._catalog.listeners.add(self._ring)
        self.position = self._catalog.last_event() if self._after is None else self._after
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._opened = False
        self._catalog.listeners.discard(self._ring)
        self._items.clear()
        self._ring()

    def _ring(self) -> None:
        self._bell.set()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        check_open(self._opened)
        if not self._items:
            await trio.lowlevel.checkpoint()
        while not self._items:
            check_open(self._opened)
            self._bell = trio.Event()
            version = self._catalog.version()
            self._items.extend(self._catalog.events_after(self.position))
            if not self._items:
                # Our own engine's events ring; another's show in the catalog's version.
                while self._catalog.version() == version and not self._bell.is_set():
                    with trio.move_on_after(POLL_SECONDS):
                        await self._bell.wait()
        event = self._items.popleft()
        self.position = event.seq
        return event
