"""Both of Daytona's Python clients behind one way to call them. Runs in their environment, not in ours."""

from __future__ import annotations

import asyncio
import traceback
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import daytona
from daytona import AsyncDaytona, Daytona, SessionExecuteRequest

warnings.simplefilter("ignore")


class Client:
    """One of the clients, and a sandbox that the checks share."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.sandbox: Any = None
        self.daytona: Any = None
        self._sessions = 0

    async def __aenter__(self) -> Client:
        if self.kind == "sync":
            self.daytona = Daytona()
        else:
            self.daytona = await AsyncDaytona().__aenter__()
        self.sandbox = await self.call(self.daytona.create)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.call(self.sandbox.delete)
        if self.kind != "sync":
            await self.daytona.__aexit__(*exception)

    async def call(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """The result of a method that blocks in one client and is awaited in the other."""
        if self.kind == "sync":
            return await asyncio.to_thread(method, *arguments, **options)
        return await method(*arguments, **options)

    @property
    def process(self) -> Any:
        return self.sandbox.process

    async def session(self) -> str:
        """The name of a fresh session."""
        self._sessions += 1
        name = f"session-{self._sessions}"
        await self.call(self.process.create_session, name)
        return name

    async def run(self, session: str, command: str, **options: Any) -> Any:
        request = SessionExecuteRequest(command=command, **options)
        return await self.call(self.process.execute_session_command, session, request)

    async def start(self, session: str, command: str, **options: Any) -> str:
        """Run it without waiting; its id."""
        return str((await self.run(session, command, run_async=True, **options)).cmd_id)

    async def follow(self, session: str, command_id: str) -> tuple[str, str]:
        """All that the log stream tells, to its end."""
        out: list[str] = []
        err: list[str] = []
        follow = self.process.get_session_command_logs_async
        await asyncio.wait_for(follow(session, command_id, out.append, err.append), 60)
        return "".join(out), "".join(err)

    async def refused(self, kind: str, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """The error of exactly this type that a call must raise."""
        try:
            found = await self.call(method, *arguments, **options)
        except Exception as error:
            assert type(error) is getattr(daytona, kind, None) or type(error).__name__ == kind, repr(error)
            return error
        raise AssertionError(f"{kind} was not raised, but {found!r} returned")

    async def refused_run(self, kind: str, session: str, command: str) -> Any:
        request = SessionExecuteRequest(command=command)
        return await self.refused(kind, self.process.execute_session_command, session, request)


Check = Callable[[Client], Awaitable[None]]


async def run_checks(kind: str, checks: list[Check]) -> None:
    """Print a line for each: its name, and ``ok`` or what went wrong."""
    async with Client(kind) as client:
        for check in checks:
            try:
                await asyncio.wait_for(check(client), 60)
                told = "ok"
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt | SystemExit):
                    raise
                told = traceback.format_exc()
            print(f"{check.__name__} {told!r}", flush=True)
