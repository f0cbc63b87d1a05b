"""Following many commands at once, with one connection for all those of a server."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from ..arguments import check_count, check_stream
from ..models import Record
from . import calls
from .answers import read_command
from .connection import Connection
from .events import read_fields, read_record
from .feed import Feed

if TYPE_CHECKING:
    from .command import RemoteCommand

Pair: TypeAlias = "tuple[RemoteCommand, Record]"


class ServerStream:
    """Pairs of command and record from one server."""

    def __init__(
        self,
        connection: Connection,
        commands: Iterable[RemoteCommand],
        after: Mapping[str, int],
        stream: str | None,
        late: bool,
    ) -> None:
        self._commands = {command.id: command for command in commands}
        self._pending = dict.fromkeys(self._commands)
        of_these = {command.session_id for command in self._commands.values()}
        self._after = {session_id: seq for session_id, seq in after.items() if session_id in of_these}
        self._feed = Feed(connection, lambda: calls.follow_many(list(self._pending), self._after, stream, late))
        self._items: deque[Pair] = deque()

    async def open(self) -> None:
        await self._feed.open()

    async def close(self) -> None:
        self._items.clear()
        await self._feed.close()

    async def next(self) -> Pair | None:
        """None when all have ended."""
        while not self._items:
            if not self._pending:
                await self._feed.finish()
                return None
            for event in await self._feed.next():
                if event.event == "end":
                    info = read_command(read_fields(event))
                    self._commands[info.id].learn(info)
                    self._pending.pop(info.id, None)
                elif event.event != "done":
                    record = read_record(event)
                    command = self._commands[record.command_id]
                    self._after[command.session_id] = record.seq
                    self._items.append((command, record))
        return self._items.popleft()


class RemoteMergedStream:
    """Pairs of command and record from many commands at once, of one server or several; see `sessions.follow_all`."""

    def __init__(
        self, commands: Iterable[RemoteCommand], after: Mapping[str, int] | None, stream: str | None, late: bool
    ) -> None:
        check_stream(stream)
        for session_id, seq in (after or {}).items():
            check_count(f"after[{session_id!r}]", seq, -1)
        by_connection: dict[Connection, list[RemoteCommand]] = {}
        for command in commands:
            by_connection.setdefault(command.connection, []).append(command)
        self._servers = [
            ServerStream(connection, of_it, after or {}, stream, late) for connection, of_it in by_connection.items()
        ]
        self._pumps: Pumps | None = None

    async def __aenter__(self) -> Self:
        try:
            for server in self._servers:
                await server.open()
        except BaseException:
            await self._close()
            raise
        if len(self._servers) > 1:
            self._pumps = Pumps(self._servers)
            await self._pumps.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._pumps is not None:
            await self._pumps.stop()
        await self._close()

    async def _close(self) -> None:
        for server in self._servers:
            await server.close()

    def __aiter__(self) -> AsyncIterator[Pair]:
        return self

    async def __anext__(self) -> Pair:
        pair = None
        if self._pumps is not None:
            pair = await self._pumps.next()
        elif self._servers:
            pair = await self._servers[0].next()
        if pair is None:
            raise StopAsyncIteration
        return pair


class Pumps:
    """Reads several servers side by side, none further ahead than its reader and one piece."""

    def __init__(self, servers: list[ServerStream]) -> None:
        self._servers = servers
        self._open = len(servers)
        self._sender: MemoryObjectSendStream[Pair | Exception | None]
        self._receiver: MemoryObjectReceiveStream[Pair | Exception | None]
        self._sender, self._receiver = anyio.create_memory_object_stream(0)
        self._tasks: TaskGroup = anyio.create_task_group()

    async def start(self) -> None:
        await self._tasks.__aenter__()
        for server in self._servers:
            self._tasks.start_soon(self._pump, server)

    async def _pump(self, server: ServerStream) -> None:
        """Failures go the same way as records: a task group would wrap them."""
        try:
            while (pair := await server.next()) is not None:
                await self._sender.send(pair)
            await self._sender.send(None)
        except Exception as error:
            await self._sender.send(error)

    async def next(self) -> Pair | None:
        while self._open:
            item = await self._receiver.receive()
            if isinstance(item, Exception):
                raise item
            if item is not None:
                return item
            self._open -= 1
        return None

    async def stop(self) -> None:
        self._tasks.cancel_scope.cancel()
        # What the caller's block raises is not the task group's to wrap.
        await self._tasks.__aexit__(None, None, None)
        self._sender.close()
        self._receiver.close()
