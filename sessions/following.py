"""Following logs: from a position to the end, live. A follower reads the transcript itself, never a queue, so one that is slow
or stopped costs nothing and loses nothing.

Followed commands of one session share a cursor: the index is read once for all of them. Sessions take turns, a piece each,
so one with much to tell doesn't hold up another. Only a log that another process writes is looked at every 50 ms; else the
transcript wakes the follower.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import trio

from .archive import Archive, Log
from .ids import command_id
from .models import CommandInfo, Record
from .store.reading import Cursor
from .store.records import KIND_OF

POLL_SECONDS: Final = 0.05
OWNER_CHECKS: Final = 20
"""Each so many fruitless looks, ask the catalog whether the other engine still lives: once a second."""


class Group:
    """The followed commands of one session, and how far their log has been read."""

    def __init__(
        self, log: Log, numbers: set[int] | None, kind: int | None, seq: int, wake: Callable[[Group], None]
    ) -> None:
        self.log = log
        self.numbers = numbers
        """Those that are not over yet; None for the whole session."""
        self.cursor = Cursor(log.reader, numbers, kind, seq)
        self.flagged = False
        self.fruitless = 0
        self._wake = lambda: wake(self)
        self._subscribed = list(numbers) if numbers is not None else [None]
        for number in self._subscribed:
            log.subscribe(number, self._wake)

    @property
    def over(self) -> bool:
        return self.numbers is not None and not self.numbers

    def ended(self, late: bool) -> list[int]:
        """Those from which nothing more can come; [0] if that is the whole session."""
        if self.numbers is None:
            return [0] if self.log.is_over(None, late) else []
        return [number for number in self.numbers if self.log.is_over(number, late)]

    def forget(self, number: int) -> None:
        if self.numbers is None:
            self.numbers = set()
        self.numbers.discard(number)

    def close(self) -> None:
        for number in self._subscribed:
            self.log.unsubscribe(number, self._wake)
        self.log.close()


class Follower:
    """Reads records of any number of commands until all of them are over."""

    def __init__(self, stream: str | None, late: bool) -> None:
        self._kind = KIND_OF[stream] if stream else None
        self._late = late
        self._groups: list[Group] = []
        self._ready: deque[Group] = deque()
        self._bell = trio.Event()
        self._items: deque[tuple[str, Record | None]] = deque()

    def add_commands(
        self, archive: Archive, session_id: str, commands: Sequence[CommandInfo], after: int | None
    ) -> None:
        """Follow these commands of one session."""
        seq = min(command.first_seq for command in commands) if after is None else after + 1
        self._add(archive.open_log(session_id), {command.number for command in commands}, seq)

    def add_session(self, archive: Archive, session_id: str, after: int | None) -> None:
        self._add(archive.open_log(session_id), None, 0 if after is None else after + 1)

    def _add(self, log: Log, numbers: set[int] | None, seq: int) -> None:
        group = Group(log, numbers, self._kind, seq, self._flag)
        self._groups.append(group)
        self._flag(group)

    def _flag(self, group: Group) -> None:
        if not group.flagged:
            group.flagged = True
            self._ready.append(group)
            self._bell.set()

    @property
    def has_more_now(self) -> bool:
        """Whether `next` would return at once."""
        return bool(self._items)

    async def next(self) -> tuple[str, Record | None] | None:
        """The next record with its command's id; None in its place when the command is over; None when all are."""
        while not self._items:
            if not self._groups:
                return None
            if self._ready:
                await trio.lowlevel.checkpoint()
                if self._ready:  # several tasks may read from one stream
                    self._read(self._ready.popleft())
            else:
                await self._wait()
        return self._items.popleft()

    def _read(self, group: Group) -> None:
        group.flagged = False
        if group.over:
            return
        polled = group.log.polled
        # Another process may add something at any time, so ask before reading: what was over by then is read whole now.
        ended = group.ended(self._late) if polled else []
        items = group.cursor.read()
        session_id = group.log.reader.session_id
        for number, record in items:
            if group.numbers is not None and number not in group.numbers:
                continue  # it has ended earlier in this piece; what comes is late output
            if record is None:
                if self._late or group.numbers is None:
                    continue
                group.numbers.discard(number)
            self._items.append((command_id(session_id, number), record))
        if items or not group.cursor.at_end:
            group.fruitless = 0
            self._flag(group)
        else:
            group.fruitless += 1
            for number in ended if polled else group.ended(self._late):
                self._items.append((command_id(session_id, number), None))
                group.forget(number)
        if group.over:
            group.close()
            self._groups.remove(group)
            if not self._groups:
                self._bell.set()

    async def _wait(self) -> None:
        if self._bell.is_set():
            self._bell = trio.Event()
        if not any(group.log.polled for group in self._groups):
            await self._bell.wait()
            return
        with trio.move_on_after(POLL_SECONDS):
            await self._bell.wait()
        for group in list(self._groups):
            if group.log.polled:
                if group.fruitless % OWNER_CHECKS == 1:
                    await group.log.check_owner()
                self._flag(group)

    def close(self) -> None:
        for group in self._groups:
            group.close()
        self._groups.clear()
        self._ready.clear()
        self._items.clear()
        self._bell.set()
