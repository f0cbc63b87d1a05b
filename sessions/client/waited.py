"""A run that is waited for: over one connection as long as that holds, else by the command's id."""

from __future__ import annotations

from typing import Final

import anyio
import attrs
import httpx

from ..errors import Broken
from ..models import CommandInfo, Logs
from . import calls
from .answers import read_command, read_output, read_session
from .calls import Call
from .connection import Connection, Gone

ID_HEADER: Final = "Sessions-Command-Id"
HEAD_SECONDS: Final = 10.0
"""How long a cancelled run waits to learn what it has started, so that it can end it."""


@attrs.frozen
class End:
    """How it ended."""

    info: CommandInfo
    logs: Logs | None
    """None if they must be asked for."""
    restarted: bool = False
    shell_ended: bool = False


class WaitedRun:
    """Begin it, finish it, or kill it."""

    def __init__(self, connection: Connection, call: Call) -> None:
        self._connection = connection
        self._call = call
        self._sending = anyio.CancelScope(shield=True)
        self._response: httpx.Response | None = None
        self._failure: Exception | None = None
        self._command_id: str | None = None

    async def begin(self) -> str:
        """The command's id. Who is cancelled meanwhile waits for it, for a while: `kill` needs it."""
        cancelled: BaseException | None = None
        answered = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._send, answered)
            try:
                await answered.wait()
            except anyio.get_cancelled_exc_class() as error:
                cancelled = error
                with anyio.move_on_after(HEAD_SECONDS, shield=True):
                    await answered.wait()
                self._sending.cancel()
        if cancelled is not None:
            raise cancelled  # not from inside the group, which might wrap it
        if self._failure is not None:
            raise self._failure
        if self._command_id is None:
            raise Broken(f"{self._connection.address} does not say what it started: is it a sessions server?")
        return self._command_id

    async def _send(self, answered: anyio.Event) -> None:
        with self._sending:
            try:
                self._response = await self._connection.open(self._call)
                self._command_id = self._response.headers.get(ID_HEADER)
            except Gone as gone:
                self._failure = gone.error
            except Exception as error:
                self._failure = error
        answered.set()

    async def finish(self) -> End:
        """Wait until it is over. If the connection breaks, by the command's id."""
        assert self._response is not None, "begin() first"
        assert self._command_id is not None
        try:
            value = await self._connection.read(self._call, self._response)
        except Gone:
            return await self._finish_elsewhere(self._command_id)
        info = read_command(value)
        return End(info, read_output(value, info.dropped_bytes), bool(value["restarted"]), bool(value["shell_ended"]))

    async def _finish_elsewhere(self, command_id: str) -> End:
        info = await wait(self._connection, command_id)
        session = read_session(await self._connection.call(calls.get(calls.session_path(info.session_id))))
        return End(info, None, shell_ended=session.ended_by == command_id)

    async def kill(self) -> None:
        """End what has begun, whoever is cancelled meanwhile."""
        try:
            with anyio.CancelScope(shield=True):
                if self._response is not None:
                    await self._response.aclose()
        finally:
            if self._command_id is not None:
                await self._connection.last_words(calls.kill(self._command_id, None))


async def wait(connection: Connection, command_id: str) -> CommandInfo:
    """The command when it is finished."""
    while True:
        info = read_command(await connection.call_patiently(calls.wait(command_id)))
        if info.finished_at is not None:
            return info
