"""Both of Declaw's Python clients behind one way to call them. Runs in their environment, not in ours."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import declaw
from clients import AnyClient, run_all
from declaw import AsyncSandbox, Sandbox


class Client(AnyClient):
    """One of the clients, and a sandbox that the checks share."""

    errors = declaw

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.Sandbox: Any = Sandbox if kind == "sync" else AsyncSandbox
        self.sandbox: Any = None
        self.long = random.randint(10**5, 10**8)
        """Seconds to sleep for, so that nobody else does just that."""

    async def __aenter__(self) -> Client:
        self.sandbox = await self.create()
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert await self.call(self.sandbox.kill, wait=True)

    async def create(self, **options: Any) -> Any:
        return await self.call(self.Sandbox.create, **options)

    def method(self, sync: str, other: str, sandbox: Any = None) -> Any:
        found = sandbox or self.sandbox
        return getattr(found.commands, sync) if self.kind == "sync" else getattr(found, other)

    async def run(self, command: str, sandbox: Any = None, **options: Any) -> Any:
        return await self.call(self.method("run", "run_command", sandbox), command, **options)

    async def sleepers(self) -> str:
        """Those who sleep for so long, as a list of numbers."""
        return str((await self.run(f"pgrep -fx 'sleep {self.long}'")).stdout)

    async def list(self) -> list[Any]:
        found: list[Any] = await self.call(self.method("list", "list_commands"))
        return found

    async def kill(self, pid: int) -> bool:
        return bool(await self.call(self.method("kill", "kill_command"), pid))

    async def type(self, pid: int, text: str) -> None:
        await self.call(self.method("send_stdin", "send_command_stdin"), pid, text)

    def connect(self, pid: int) -> Any:
        return self.method("connect", "connect_command")(pid)

    async def iterate(self, iterable: Any) -> list[Any]:
        if self.kind == "sync":
            return await asyncio.to_thread(lambda: list(iterable))
        return [item async for item in iterable]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


Check = Callable[[Client], Awaitable[None]]
run_checks = partial(run_all, Client)
