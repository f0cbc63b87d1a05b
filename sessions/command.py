"""A command, as its callers see it: what is known of it, its log, and what can be done to it."""

from __future__ import annotations

import re

import trio

from . import stopping
from .archive import Archive
from .arguments import check_grace, check_input, check_seconds, check_signal, check_stream
from .errors import Closed, Conflict, EndedFirst, TimedOut
from .facts import CommandFacts
from .following import POLL_SECONDS
from .lifecycle import CommandStateName, Finished, Outcome, state_name
from .matching import OutputSearch, compile_pattern
from .models import CommandInfo, Excerpt, Logs
from .reading_logs import Selection, read_excerpt, read_logs_beside
from .running import RunningCommand
from .shell.pipes import InputPipe
from .streams import Callback, Callbacks, RecordStream
from .waiting import find_match


class Command(CommandFacts):
    """One text that was run, or runs, or will run, in a session. It may belong to another engine on the same root.

    Its facts are up to date as long as it belongs to this engine; of another engine's command, `wait`, `follow` and
    `refresh` bring them up to date.
    """

    def __init__(self, archive: Archive, info: CommandInfo, running: RunningCommand | None = None) -> None:
        self.archive = archive
        """Where its log is found."""
        self._info = info
        self._running = running

    @property
    def info(self) -> CommandInfo:
        """All its facts at this moment."""
        return self._running.info if self._running is not None else self._info

    # Asked for often, so without making a whole CommandInfo.

    @property
    def state(self) -> CommandStateName:
        return state_name(self._running.state if self._running is not None else self._info.state)

    @property
    def _outcome(self) -> Outcome | None:
        state = self._running.state if self._running is not None else self._info.state
        return state.outcome if isinstance(state, Finished) else None

    @property
    def id(self) -> str:
        return self._info.id

    @property
    def session_id(self) -> str:
        return self._info.session_id

    async def refresh(self) -> Command:
        """Bring its facts up to date; `Expired` or `NotFound` if it is gone."""
        await trio.lowlevel.checkpoint()
        if self._running is not None and self._running.settled:
            self._info, self._running = self._running.info, None
        if self._running is None:
            self._running = self.archive.running(self.id)
            self._info = await self.archive.command_now(self.id)
        return self

    # Waiting

    async def wait(self) -> Command:
        """Wait until it is finished, and return it."""
        if self._running is not None:
            await self._running.finished.wait()
            return self
        await self.refresh()
        while self.state != "finished":
            if self._running is not None:
                return await self.wait()
            await trio.sleep(POLL_SECONDS)
            await self.refresh()
        return self

    async def wait_for(
        self,
        pattern: str | bytes | re.Pattern[str] | re.Pattern[bytes],
        timeout: float | None = None,
        *,
        stream: str | None = None,
    ) -> re.Match[bytes]:
        """Wait for output that matches, in what is logged already or comes.

        Each stream is searched by itself, over the borders of lines and pieces; ``^`` and ``$`` are those of lines. A match may
        begin up to 64 KiB back. A str is searched for as UTF-8, so quantify a letter that is not ASCII in a group: ``(?:é)+``.
        Raises `EndedFirst` if the command ends without, `TimedOut` after `timeout` seconds; neither stops the command.

        ::

            match = await server.wait_for(r"ready on port (\\d+)", timeout=30)
            port = int(match[1])
        """
        compiled = compile_pattern(pattern)
        check_stream(stream)
        seconds = check_seconds("timeout", timeout)
        await self.refresh()
        search = OutputSearch(compiled)
        with trio.move_on_after(float("inf") if seconds is None else seconds):
            match = await find_match(self.archive, self.info, search, stream)
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
        """What it has written so far, whole or in part.

        :param tail: only the last so many lines of what the others leave; not with `start` and `stop`.
        :param since: only what was read from it at this time or later (Unix seconds).
        :param until: only what was read at this time or earlier.
        :param after: only what comes behind the record with this seq.
        :param stream: only ``"stdout"`` or ``"stderr"``.
        :param start: only from this byte of its output on (of the chosen stream or of both in their order).
        :param stop: only up to this byte.

        Late output of processes that it left behind is there too. Raises `Expired` once retention has removed it.
        """
        await self.refresh()
        asked = Selection(tail=tail, since=since, until=until, after=after, stream=stream, start=start, stop=stop)
        return await read_logs_beside(self.archive, self.info, asked)

    async def excerpt(self, max_bytes: int = 30_000) -> Excerpt:
        """Its output cut down to about `max_bytes`, so that neither its beginning, nor its end, nor an error is lost."""
        await self.refresh()
        return await read_excerpt(self.archive, self.info, max_bytes)

    def follow(
        self,
        *,
        after: int | None = None,
        stream: str | None = None,
        late: bool = False,
        on_stdout: Callback | None = None,
        on_stderr: Callback | None = None,
    ) -> RecordStream:
        """Its records from the first byte, or behind the record with seq `after`, then live; ends with the command.

        With `late` it ends only when nothing can write to the log any more: processes that the command left behind are
        waited for; of another engine's command, which can't tell, until its session is closed. The callbacks get text that
        never ends inside a character, as the records are iterated over.

        ::

            async with command.follow() as records:
                async for record in records:
                    print(record.seq, record.stream, record.data)
        """
        return RecordStream(self.archive, self.info, after, stream, late, Callbacks(on_stdout, on_stderr), self.refresh)

    # Acting on it

    async def _mine(self, verb: str) -> RunningCommand | None:
        """The command if something can be done to it, None if it is finished; `Conflict` if it is another engine's."""
        if self._running is None:
            self._running = self.archive.running(self.id)
        if self._running is None and self._info.finished_at is None:
            self._info = await self.archive.command_now(self.id)
            if self._info.finished_at is None:
                raise Conflict(f"command {self.id} belongs to another engine: {verb} it there")
        return self._running

    async def send_input(self, data: bytes | str) -> None:
        """Write to its stdin; waits while it doesn't read. `Conflict` without ``stdin=True``, `Closed` once it is closed."""
        payload = check_input(data)
        pipe = await self._input("send input to")
        if pipe is None:
            raise Closed(f"command {self.id} is finished: it reads no more input")
        await pipe.send(payload, f"command {self.id}")

    async def close_input(self) -> None:
        """End of its stdin. Harmless if it is closed already."""
        await trio.lowlevel.checkpoint()
        pipe = await self._input("close the input of")
        if pipe is not None:
            pipe.finish()

    async def _input(self, verb: str) -> InputPipe | None:
        """Its stdin; None if it is finished. `Conflict` if it has none."""
        running = await self._mine(verb)
        if running is not None and not running.request.stdin:
            raise Conflict(f"command {self.id} has no stdin to write to: start it with stdin=True")
        return running.input if running is not None and not running.is_finished else None

    async def interrupt(self) -> None:
        """What Ctrl-C does: SIGINT. Its session lives on. Returns when it is over, at the latest after a second.

        Harmless on a finished command; a queued one is taken out of the queue.
        """
        await trio.lowlevel.checkpoint()
        running = await self._mine("interrupt")
        if running is not None and not running.is_finished and not self._drop_queued(running):
            live = self.archive.live[self.session_id]
            await stopping.interrupt(running, live.workshop.census)

    async def send_signal(self, signal: str | int) -> None:
        """Send a signal to its processes, never to its session's shell. Harmless on a finished command."""
        number = check_signal(signal)
        await trio.lowlevel.checkpoint()
        running = await self._mine("signal")
        if running is None or running.is_finished:
            return
        live = self.archive.live[self.session_id]
        if live.is_queued(running):
            raise Conflict(f"command {self.id} has not started yet: kill() takes it out of the queue")
        with trio.move_on_after(stopping.BIRTH_SECONDS):
            await running.started.wait()
        if not running.started.is_set():
            raise Conflict(f"command {self.id} has not started yet, its shell is stopped or busy: kill() ends it")
        running.sent_signal = number
        await stopping.notify(running, live.workshop.census, number)

    async def kill(self, grace: float | None = None) -> Command:
        """End it and all that it started, wherever that has got to: TERM and CONT, `grace` seconds, KILL.

        In the foreground, SIGINT comes first, so that the shell lives on. Returns when it is finished and nothing of it is left.
        Harmless on a finished command, but what that left behind is ended too.
        """
        await trio.lowlevel.checkpoint()
        running = await self._mine("kill")
        live = self.archive.live.get(self.session_id)
        if live is None:
            return self
        seconds = check_grace(grace, live.workshop.limits.kill_grace_seconds)
        if running is None:
            await stopping.sweep_command(self.id, live.workshop.census, seconds)
        elif not self._drop_queued(running):
            await stopping.stop(running, live.workshop.census, "killed", seconds)
        return self

    def _drop_queued(self, running: RunningCommand) -> bool:
        live = self.archive.live[self.session_id]
        if not live.is_queued(running):
            return False
        live.drop(running, Outcome("killed", None))
        return True
