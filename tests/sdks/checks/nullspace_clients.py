"""Both of Nullspace's Python clients behind one way to call them. Runs in their environment, not in ours."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import nullspace
from clients import AnyClient, run_all
from nullspace import AsyncMachine, Machine


class Client(AnyClient):
    """One of the clients, and a machine that the checks share."""

    errors = nullspace.errors

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.api: Any = Machine if kind == "sync" else AsyncMachine
        self.machine: Any = None
        self._naps = 0

    async def __aenter__(self) -> Client:
        self.machine = await self.call(self.api.create)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.call(self.machine.kill)

    @property
    def commands(self) -> Any:
        return self.machine.commands

    async def run(self, command: str, *arguments: Any, **options: Any) -> Any:
        return await self.call(self.commands.run, command, *arguments, **options)

    async def shell(self, text: str, **options: Any) -> Any:
        return await self.run(text, shell=True, **options)

    async def start(self, text: str, **options: Any) -> Any:
        """A shell text in the background."""
        return await self.shell(text, background=True, **options)

    def nap(self) -> str:
        """A command that takes long, like no other on this machine."""
        self._naps += 1
        return f"sleep 9{os.getpid():08}{self._naps:03}"

    async def runs(self, nap: str) -> bool:
        """Whether one is left anywhere."""
        return bool((await self.shell(f"pgrep -f '{nap[:-1]}[{nap[-1]}]'")).stdout)


class Texts:
    """Two callbacks, and what they were given."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self.err: list[str] = []

    @property
    def options(self) -> dict[str, Callable[[str], None]]:
        return {"on_stdout": self.out.append, "on_stderr": self.err.append}

    @property
    def both(self) -> tuple[str, str]:
        return "".join(self.out), "".join(self.err)

    async def see(self, text: str) -> None:
        """Wait until this was written to stdout."""
        async with asyncio.timeout(30):
            while text not in "".join(self.out):
                await asyncio.sleep(0.01)


Check = Callable[[Client], Awaitable[None]]
run_checks = partial(run_all, Client)
