"""Both of Daytona's Python clients behind one way to call them. Runs in their environment, not in ours."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import daytona
from clients import AnyClient, run_all
from daytona import AsyncDaytona, Daytona, DaytonaConfig, SessionExecuteRequest

warnings.simplefilter("ignore")


class Client(AnyClient):
    """One of the clients, and a sandbox that the checks share."""

    errors = daytona

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
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

    @property
    def process(self) -> Any:
        return self.sandbox.process

    async def session(self) -> str:
        """The name of a fresh session."""
        self._sessions += 1
        name = f"session-{self._sessions}"
        await self.call(self.process.create_session, name)
        return name

    @asynccontextmanager
    async def other(self, **config: Any) -> AsyncIterator[Any]:
        """Another client of this kind, configured otherwise."""
        if self.kind == "sync":
            yield Daytona(DaytonaConfig(**config))
        else:
            async with AsyncDaytona(DaytonaConfig(**config)) as other:
                yield other

    async def run(self, session: str, command: str, of: Any = None, **options: Any) -> Any:
        """Run it in a session of the sandbox that the checks share, or `of` another."""
        request = SessionExecuteRequest(command=command, **options)
        return await self.call((of or self.sandbox).process.execute_session_command, session, request)

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

    async def refused_run(self, kind: str, session: str, command: str) -> Any:
        request = SessionExecuteRequest(command=command)
        return await self.refused(kind, self.process.execute_session_command, session, request)


Check = Callable[[Client], Awaitable[None]]
run_checks = partial(run_all, Client)
