"""A server's session, as its client sees it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import attrs

from .. import models
from ..arguments import check_flag
from ..callbacks import Callback, Callbacks
from ..errors import CommandFailed
from ..facts import SessionFacts
from ..failure import failure
from ..models import Logs, SessionInfo
from ..selection import Selection
from . import calls
from .answers import read_command, read_session
from .command import RemoteCommand
from .connection import LAST_WORDS_SECONDS, Connection
from .listing import list_commands
from .reading import read_logs
from .streams import RemoteRecordStream
from .waited import WaitedRun


@attrs.frozen(slots=False, kw_only=True)
class RemoteResult(models.Result):
    """What a server's `run` returns: the command when it was over, and its output."""

    command: RemoteCommand  # type: ignore[assignment]  # the same verbs, over HTTP


class RemoteSession(SessionFacts):
    """One persistent shell on a server. The verbs are those of `Session`.

    Its facts are those of the last answer: `refresh`, `restart` and `close` bring them up to date.
    """

    def __init__(self, connection: Connection, info: SessionInfo) -> None:
        self.connection = connection
        self._info = info

    @property
    def info(self) -> SessionInfo:
        """All its facts, as the server told them last."""
        return self._info

    def _learn(self, value: Any) -> None:
        self._info = read_session(value)

    @property
    def _path(self) -> str:
        return calls.session_path(self.id)

    async def refresh(self) -> RemoteSession:
        """Bring its facts up to date."""
        self._learn(await self.connection.call(calls.get(self._path)))
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
    ) -> RemoteResult:
        """Run shell text in the session's shell and wait until it is over. See `Session.run`.

        Cancelling the caller ends the command; the shell lives on. A connection that breaks does not: it is opened again. If the
        program dies, the command goes on, and is found by `list_commands`.
        """
        callbacks = Callbacks(on_stdout, on_stderr)
        check_flag("check", check)
        call = calls.submit(
            self.id,
            text,
            run_async=False,
            stdin=stdin,
            timeout=timeout,
            idle_timeout=idle_timeout,
            env=env,
            cwd=cwd,
            labels=labels,
        )
        waited = WaitedRun(self.connection, call)
        try:
            command_id = await waited.begin()
            if callbacks:
                path = calls.command_path(command_id)
                await RemoteRecordStream(self.connection, path, None, None, False, callbacks, lambda _: None)
            end = await waited.finish()
        except BaseException:
            await waited.kill()
            raise
        command = RemoteCommand(self.connection, end.info)
        result = RemoteResult(
            command=command,
            logs=end.logs if end.logs is not None else await command.logs(),
            restarted=end.restarted,
            shell_ended=end.shell_ended,
        )
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
    ) -> RemoteCommand:
        """Start shell text and leave it to work. It can be followed, listed and killed as soon as this returns.

        See `Session.run_async`.
        """
        call = calls.submit(
            self.id,
            text,
            run_async=True,
            in_shell=in_shell,
            stdin=stdin,
            timeout=timeout,
            idle_timeout=idle_timeout,
            env=env,
            cwd=cwd,
            labels=labels,
            detach=detach,
        )
        return RemoteCommand(self.connection, read_command(await self.connection.call(call)))

    async def list_commands(
        self,
        *,
        state: str | None = None,
        labels: Mapping[str, str] | None = None,
        limit: int | None = None,
        before: str | None = None,
    ) -> list[RemoteCommand]:
        """Its commands, oldest first; of more than `limit` the newest. See `Engine.list_commands`."""
        infos = await list_commands(self.connection, self.id, state, labels, limit, before)
        return [RemoteCommand(self.connection, info) for info in infos]

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
        asked = Selection(tail=tail, since=since, until=until, after=after, stream=stream, start=start, stop=stop)
        return await read_logs(self.connection, self._path, asked)

    def follow(
        self,
        *,
        after: int | None = None,
        stream: str | None = None,
        on_stdout: Callback | None = None,
        on_stderr: Callback | None = None,
    ) -> RemoteRecordStream:
        """The records of all its commands, then live; ends when the session is closed. See `RemoteCommand.follow`."""
        callbacks = Callbacks(on_stdout, on_stderr)
        return RemoteRecordStream(self.connection, self._path, after, stream, False, callbacks, self._learn)

    # Its life

    async def restart(self) -> None:
        """Give it a fresh shell: its first directory and environment, no functions, no variables. Its log goes on.

        See `Session.restart`.
        """
        self._learn(await self.connection.call(calls.restart_session(self.id)))

    async def close(self, grace: float | None = None) -> None:
        """End every process in it, except commands that were started with ``detach``. Its logs stay.

        `grace` is in seconds, from the first signal to SIGKILL. Closing a closed session does nothing. It reaches the server even
        if the caller is cancelled.
        """
        call = calls.close_session(self.id, grace)
        self._learn(await self.connection.insist(call, LAST_WORDS_SECONDS + (grace or 0.0)))
