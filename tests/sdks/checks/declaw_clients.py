"""Both of Declaw's Python clients behind one way to call them. Runs in their environment, not in ours."""

from __future__ import annotations

import asyncio
import random
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import declaw
from declaw import AsyncSandbox, Sandbox


class Client:
    """One of the clients, and a sandbox that the checks share."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.Sandbox: Any = Sandbox if kind == "sync" else AsyncSandbox
        self.sandbox: Any = None
        self.long = random.randint(10**5, 10**8)
        """Seconds to sleep for, so that nobody else does just that."""

    async def __aenter__(self) -> Client:
        self.sandbox = await self.create()
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert await self.call(self.sandbox.kill, wait=True)

    async def call(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """The result of a method that blocks in one client and is awaited in the other."""
        if self.kind == "sync":
            return await asyncio.to_thread(method, *arguments, **options)
        return await method(*arguments, **options)

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

    async def refused(self, kind: str, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """The error of exactly this type that a call must raise."""
        try:
            found = await self.call(method, *arguments, **options)
        except Exception as error:
            assert type(error) is getattr(declaw, kind, None) or type(error).__name__ == kind, repr(error)
            return error
        raise AssertionError(f"{kind} was not raised, but {found!r} returned")


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


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
