"""Both of Superserve's Python clients behind one way to call them. Runs in their environment, not in ours."""

from __future__ import annotations

import asyncio
import os
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import superserve
from superserve import AsyncSandbox, Sandbox


class Client:
    """One of the clients, and a sandbox that the checks share."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.sandboxes: Any = Sandbox if kind == "sync" else AsyncSandbox
        self.sandbox: Any = None
        self.number = 1_000_000 + os.getpid()
        """Of seconds to sleep: by it, its commands are told from those of other tests."""

    async def __aenter__(self) -> Client:
        self.sandbox = await self.call(self.sandboxes.create, name="shared", env_vars={"WHO": "me"})
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.call(self.sandbox.kill)

    async def sleeping(self) -> str:
        """The processes of its commands that sleep for so long."""
        return str((await self.run(f"pgrep -f '^sleep {self.number}'")).stdout)

    async def call(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """The result of a method that blocks in one client and is awaited in the other."""
        if self.kind == "sync":
            return await asyncio.to_thread(method, *arguments, **options)
        return await method(*arguments, **options)

    async def run(self, command: str, **options: Any) -> Any:
        return await self.call(self.sandbox.commands.run, command, **options)

    async def stream(self, command: str, **options: Any) -> tuple[Any, str, str]:
        """The result, and what the callbacks got."""
        out: list[str] = []
        err: list[str] = []
        result = await self.run(command, on_stdout=out.append, on_stderr=err.append, **options)
        return result, "".join(out), "".join(err)

    async def refused(self, kind: str, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """The error of exactly this type that a call must raise."""
        try:
            found = await self.call(method, *arguments, **options)
        except Exception as error:
            assert type(error) is getattr(superserve, kind), repr(error)
            return error
        raise AssertionError(f"{kind} was not raised, but {found!r} returned")


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
