"""Both of Miosa's Python clients behind one way to call them. Runs in their environment, not in ours."""

from __future__ import annotations

import asyncio
import traceback
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import miosa
from miosa import AsyncMiosa, Miosa

warnings.simplefilter("ignore")


class Client:
    """One of the clients, and a computer and a sandbox that the checks share."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.miosa: Any = None
        self.computer: Any = None
        self.sandbox: Any = None

    async def __aenter__(self) -> Client:
        self.miosa = Miosa() if self.kind == "sync" else AsyncMiosa()
        self.computer = await self.call(self.miosa.computers.create, name=f"shared-{self.kind}")
        self.sandbox = await self.call(self.miosa.sandboxes.create, name=f"shared-{self.kind}")
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.call(self.computer.destroy)
        await self.call(self.sandbox.destroy)
        await self.call(self.miosa.close)

    async def call(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """The result of a method that blocks in one client and is awaited in the other."""
        if self.kind == "sync":
            return await asyncio.to_thread(method, *arguments, **options)
        return await method(*arguments, **options)

    async def all(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> list[Any]:
        """All that a stream tells, to its end."""
        if self.kind == "sync":
            return await asyncio.to_thread(lambda: list(method(*arguments, **options)))
        found = method(*arguments, **options)
        return [item async for item in (await found if asyncio.iscoroutine(found) else found)]

    async def stream(self, command: str, **options: Any) -> tuple[str, str, list[Any]]:
        """Of a program in the sandbox: stdout, stderr, and what the other events tell."""
        events = await self.all(self.sandbox.exec_stream, command, options)
        texts = ["".join(event.data["line"] for event in events if event.type == name) for name in ("stdout", "stderr")]
        rest = [event.data for event in events if event.type not in ("stdout", "stderr")]
        assert events[-1].type == "exit"
        return texts[0], texts[1], rest

    async def refused(self, kind: str, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """The error of exactly this type that a call must raise."""
        try:
            found = await self.call(method, *arguments, **options)
        except Exception as error:
            assert type(error) is getattr(miosa, kind, None) or type(error).__name__ == kind, repr(error)
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
