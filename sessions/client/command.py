"""A server's command, as its client sees it."""

from __future__ import annotations

import re
from typing import Any

import anyio

from ..arguments import check_seconds, check_stream
from ..callbacks import Callback, Callbacks
from ..errors import EndedFirst, TimedOut
from ..facts import CommandFacts
from ..matching import OutputSearch, compile_pattern
from ..models import CommandInfo, Excerpt, Logs
from ..selection import Selection
from . import calls
from .answers import read_command, read_excerpt
from .connection import Connection
from .reading import read_logs
from .streams import RemoteRecordStream
from .waited import wait


class RemoteCommand(CommandFacts):
    """One text that was run, or runs, or will run, in a session of a server. The verbs are those of `Command`.

    Its facts are those of the last answer: `refresh`, `wait`, `follow` to the end, `interrupt` and `kill` bring them up to date.
    """

    def __init__(self, connection: Connection, info: CommandInfo) -> None:
        self.connection = connection
        self._info = info

    @property
    def info(self) -> CommandInfo:
        """All its facts, as the server told them last."""
        return self._info

    def learn(self, info: CommandInfo) -> None:
        """The server has told more of it."""
        self._info = info

    @property
    def _path(self) -> str:
        return calls.command_path(self.id)

    async def refresh(self) -> RemoteCommand:
        """Bring its facts up to date; `Expired` or `NotFound` if it is gone."""
        self.learn(read_command(await self.connection.call(calls.get(self._path))))
        return self

    # Waiting

    async def wait(self) -> RemoteCommand:
        """Wait until it is finished, and return it. A connection that breaks meanwhile is opened again."""
        if self.state != "finished":
            self.learn(await wait(self.connection, self.id))
        return self

    async def wait_for(
        self,
        pattern: str | bytes | re.Pattern[str] | re.Pattern[bytes],
        timeout: float | None = None,
        *,
        stream: str | None = None,
    ) -> re.Match[bytes]:
        """Wait for output that matches, in what is logged already or comes. See `Command.wait_for`."""
        compiled = compile_pattern(pattern)
        check_stream(stream)
        seconds = check_seconds("timeout", timeout)
        search = OutputSearch(compiled)
        with anyio.move_on_after(seconds):
            match = await self._find(search, stream)
            if match is not None:
                return match
            await self.wait()
            raise EndedFirst(
                f"command {self.id} ended ({self.reason}, exit code {self.exit_code})"
                f" and wrote nothing that matches {compiled.pattern!r}"
            )
        if search.tentative is not None:
            return search.tentative
        raise TimedOut(
            f"command {self.id} wrote nothing that matches {compiled.pattern!r} within {timeout} s; it goes on: kill() it or wait longer"
        )

    async def _find(self, search: OutputSearch, stream: str | None) -> re.Match[bytes] | None:
        async with self.follow(stream=stream) as records:
            while True:
                with anyio.CancelScope(deadline=search.deadline) as patience:
                    record = await anext(records, None)
                if patience.cancelled_caught:
                    return search.tentative
                must_search = record is None or search.add(record.stream, record.data)
                if records.has_more_now and not must_search:
                    continue
                match = search.search(anyio.current_time())
                if match is not None:
                    return match
                if record is None:
                    return search.tentative

    # Its log

    async def logs(
        self,
        *,
        tail: int | None = None,
        since: float | None = None,
        until: float | None = None,
        after: int | None = None,
        stream: str | None = None,
        start: int | None = None,
        stop: int | None = None,
    ) -> Logs:
        """What it has written so far, whole or in part. See `Command.logs`."""
        asked = Selection(tail=tail, since=since, until=until, after=after, stream=stream, start=start, stop=stop)
        return await read_logs(self.connection, self._path, asked)

    async def excerpt(self, max_bytes: int = 30_000) -> Excerpt:
        """Its output cut down to about `max_bytes`, so that neither its beginning, nor its end, nor an error is lost."""
        return read_excerpt(await self.connection.call(calls.excerpt(self.id, max_bytes)))

    def follow(
        self,
        *,
        after: int | None = None,
        stream: str | None = None,
        late: bool = False,
        on_stdout: Callback | None = None,
        on_stderr: Callback | None = None,
    ) -> RemoteRecordStream:
        """Its records from the first byte, or behind the record with seq `after`, then live; ends with the command.

        See `Command.follow`. A connection that breaks is opened again behind the last record: nothing is lost and nothing comes
        twice. `Broken` if the server does not come back within about half a minute. Pieces that were written within 10 ms come
        as one record, which has the last one's seq.
        """
        return RemoteRecordStream(
            self.connection, self._path, after, stream, late, Callbacks(on_stdout, on_stderr), self._ended
        )

    def _ended(self, value: Any) -> None:
        self.learn(read_command(value))

    # Acting on it

    async def send_input(self, data: bytes | str) -> None:
        """Write to its stdin; waits while it doesn't read. `Conflict` without ``stdin=True``, `Closed` once it is closed."""
        await self.connection.call(calls.send_input(self.id, data))

    async def close_input(self) -> None:
        """End of its stdin. Harmless if it is closed already."""
        await self.connection.call(calls.close_input(self.id))

    async def interrupt(self) -> None:
        """What Ctrl-C does: SIGINT. Its session lives on. See `Command.interrupt`."""
        self.learn(read_command(await self.connection.call(calls.interrupt(self.id))))

    async def send_signal(self, signal: str | int) -> None:
        """Send a signal to its processes, never to its session's shell. Harmless on a finished command."""
        await self.connection.call(calls.send_signal(self.id, signal))

    async def kill(self, grace: float | None = None) -> RemoteCommand:
        """End it and all that it started. See `Command.kill`. It reaches the server even if the caller is cancelled."""
        self.learn(read_command(await self.connection.insist(calls.kill(self.id, grace))))
        return self
