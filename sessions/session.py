"""A session, as its callers see it. It may belong to another engine on the same root; then it can only be read."""

from __future__ import annotations

import os
from collections.abc import Mapping

import trio

from .archive import Archive
from .arguments import (
    check_cwd,
    check_env,
    check_flag,
    check_grace,
    check_input,
    check_labels,
    check_seconds,
    check_text,
)
from .closing import close_session
from .command import Command
from .errors import Closed, CommandFailed, Conflict
from .facts import SessionFacts
from .failure import failure
from .lifecycle import OPEN_STATES
from .live import LiveSession
from .models import Logs, Result, SessionInfo
from .reading_logs import Selection, read_logs_beside
from .restarting import ensure_shell, restart
from .running import Order, RunningCommand
from .shell.script import without_kept
from .streams import Callback, Callbacks, RecordStream
from .terminal import command_from


class Session(SessionFacts):
    """One persistent shell: ``cd``, ``export``, functions, venvs and ``set`` options stay from one command to the next."""

    def __init__(self, archive: Archive, info: SessionInfo, live: LiveSession | None = None) -> None:
        self.archive = archive
        self._info = info
        self._live = live

    @property
    def info(self) -> SessionInfo:
        """All its facts at this moment."""
        return self._live.info if self._live is not None else self._info

    @property
    def shell_pid(self) -> int | None:
        """The process number of its shell; None if it has none, or belongs to another engine."""
        return self._live.shells.pid if self._live is not None else None

    async def refresh(self) -> Session:
        """Bring the facts of another engine's session up to date."""
        await trio.lowlevel.checkpoint()
        self._live = self._live or self.archive.live.get(self.id)
        if self._live is None:
            self._info = await self.archive.session_now(self.id)
        return self

    # Running commands

    async def run(
        self,
        text: str,
        *,
        timeout: float | None = None,
        idle_timeout: float | None = None,
        check: bool = False,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        stdin: bool | bytes | str = False,
        labels: Mapping[str, str] | None = None,
        on_stdout: Callback | None = None,
        on_stderr: Callback | None = None,
    ) -> Result:
        """Run shell text in the session's shell and wait until it is over.

        :param timeout: seconds that it may run (not: wait in the queue). Then it is ended, with all that it started; the
            shell, its variables and directory live on, and the result has reason ``"timeout"`` and all output so far.
        :param idle_timeout: the same for seconds without output.
        :param check: raise `CommandFailed` unless it exits with 0.
        :param env: variables for this command only; those that a shell keeps for itself, such as bash's ``UID``, stay as they are.
        :param cwd: a directory for this command only; a relative one is seen from where the shell is now.
        :param stdin: bytes or str to feed it; True leaves its stdin open for ``send_input``; else it is at its end.
        :param on_stdout: called (or awaited) with each piece of text as it comes. ``on_stderr`` likewise.

        Cancelling the caller ends the command; the shell lives on. Raises `Invalid` for bad arguments, `Closed` if the session
        or its shell has ended, `Conflict` if it is another engine's or a terminal, `Busy` at ``Limits.queued_commands``, and
        `Broken` if it can't be started, or its log can't be written at present.

        ::

            result = await session.run("make -j2", timeout=600, check=True)
            print(result.exit_code, result.stdout)
        """
        check_flag("check", check)
        callbacks = Callbacks(on_stdout, on_stderr)
        live = await self._ready("run commands in")
        await ensure_shell(live)
        running = self._submit(live, text, True, stdin, timeout, idle_timeout, env, cwd, labels, False)
        command = Command(self.archive, running.info, running)
        try:
            if callbacks:
                await RecordStream(self.archive, running.info, None, None, False, callbacks)
            await running.finished.wait()
        except BaseException:
            with trio.CancelScope(shield=True):
                await command.kill()
            raise
        logs = await command.logs() if command.size_bytes else Logs(b"", b"", b"")
        restarted, live.restarted = live.restarted, False
        result = Result(command, logs, restarted, running.ended_shell)
        if check and (command.exit_code != 0 or command.reason != "exit"):
            raise CommandFailed(failure(result), result)
        return result

    async def run_async(
        self,
        text: str,
        *,
        in_shell: bool = False,
        stdin: bool | bytes | str = False,
        timeout: float | None = None,
        idle_timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        labels: Mapping[str, str] | None = None,
        detach: bool = False,
    ) -> Command:
        """Start shell text and leave it to work. It can be followed, listed and killed as soon as this returns.

        It runs beside the shell, in a fork that sees the shell's variables, functions and directory and changes none of
        them. With `in_shell` it runs in the shell itself, after those before it. With `detach` it outlives its session, but
        not its engine. The other arguments are those of `run`, and it raises the same.

        ::

            server = await session.run_async("npm run dev")
            await server.wait_for(r"ready on port (\\d+)", timeout=30)
        """
        if check_flag("detach", detach) and check_flag("in_shell", in_shell):
            raise Conflict("a command in the shell can't outlive it: leave out detach or in_shell")
        live = await self._ready("run commands in")
        await ensure_shell(live)
        running = self._submit(live, text, in_shell, stdin, timeout, idle_timeout, env, cwd, labels, detach)
        return Command(self.archive, running.info, running)

    async def _ready(self, verb: str) -> LiveSession:
        await trio.lowlevel.checkpoint()
        self._live = self._live or self.archive.live.get(self.id)
        if self._live is None or self._live.info.state not in OPEN_STATES:
            self._info = await self.archive.session_now(self.id)
            if self._info.state not in OPEN_STATES:
                raise Closed(
                    f"session {self.name!r} ({self.id}) is {self.state}: create another one; its logs stay readable"
                )
            raise Conflict(f"session {self.name!r} belongs to another engine: {verb} it there")
        return self._live

    def _submit(
        self,
        live: LiveSession,
        text: str,
        in_shell: bool,
        stdin: bool | bytes | str,
        timeout: float | None,
        idle_timeout: float | None,
        env: Mapping[str, str] | None,
        cwd: str | os.PathLike[str] | None,
        labels: Mapping[str, str] | None,
        detached: bool,
    ) -> RunningCommand:
        feed = None if isinstance(stdin, bool) else check_input(stdin)
        order = Order(
            text=check_text(text),
            in_shell=check_flag("in_shell", in_shell),
            labels=check_labels(labels) if labels else {},
            env=without_kept(check_env(env), live.info.shell) if env else {},
            cwd=check_cwd(cwd, live.shells.working_directory()) if cwd is not None else None,
            stdin=stdin is not False,
            timeout=check_seconds("timeout", timeout),
            idle_timeout=check_seconds("idle_timeout", idle_timeout),
            detached=detached,
        )
        running = live.submit(order)
        if feed is not None:
            live.workshop.nursery.start_soon(running.feed, feed)
        return running

    async def list_commands(
        self,
        *,
        state: str | None = None,
        labels: Mapping[str, str] | None = None,
        limit: int | None = None,
        before: str | None = None,
    ) -> list[Command]:
        """Its commands, oldest first; of more than `limit` the newest. See `Engine.list_commands`."""
        await self.refresh()
        infos = self.archive.list_commands(self.id, state, labels, limit, before)
        return [command_from(self.archive, info) for info in infos]

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
        """What all its commands have written, in the order of arrival. The arguments are those of `Command.logs`."""
        await trio.lowlevel.checkpoint()
        asked = Selection(tail=tail, since=since, until=until, after=after, stream=stream, start=start, stop=stop)
        return await read_logs_beside(self.archive, self.id, asked)

    def follow(
        self,
        *,
        after: int | None = None,
        stream: str | None = None,
        on_stdout: Callback | None = None,
        on_stderr: Callback | None = None,
    ) -> RecordStream:
        """The records of all its commands, then live; ends when the session is closed. See `Command.follow`."""
        return RecordStream(self.archive, self.id, after, stream, False, Callbacks(on_stdout, on_stderr))

    # Its life

    async def restart(self) -> None:
        """Give it a fresh shell: its first directory and environment, no functions, no variables. Its log goes on.

        A shell that still lives is ended first, with the command that it runs and those that wait for it; background commands go on.
        """
        live = await self._ready("restart")
        await restart(live)

    async def close(self, grace: float | None = None) -> None:
        """End every process in it, except commands that were started with ``detach``. Its logs stay.

        `grace` is in seconds, from the first signal to SIGKILL. Closing a closed session does nothing.
        """
        self._live = self._live or self.archive.live.get(self.id)
        if self._live is not None and self._live.info.state in OPEN_STATES:
            seconds = check_grace(grace, self._live.workshop.limits.kill_grace_seconds)
            with trio.CancelScope(shield=True):  # half closed is no state to be left in
                await close_session(self._live, seconds)
        elif (await self.refresh()).state in OPEN_STATES:
            raise Conflict(f"session {self.name!r} belongs to another engine: close it there")
