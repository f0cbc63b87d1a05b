"""Both of Miosa's Python clients behind one way to call them. Runs in their environment, not in ours."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import miosa
from clients import AnyClient, run_all
from miosa import AsyncMiosa, Miosa

warnings.simplefilter("ignore")


class Client(AnyClient):
    """One of the clients, and a computer and a sandbox that the checks share."""

    errors = miosa

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
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

    async def all(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> list[Any]:
        """All that a stream tells, to its end."""
        if self.kind == "sync":
            return await asyncio.to_thread(lambda: list(method(*arguments, **options)))
        found = method(*arguments, **options)
        return [item async for item in (await found if asyncio.iscoroutine(found) else found)]

    async def leave(self, machine: Any, error: Exception | None) -> None:
        """Use a machine as a block of a program does that ends well, or with `error`."""

        def block() -> None:
            with machine as entered:
                assert entered is machine
                if error is not None:
                    raise error

        if self.kind == "sync":
            await asyncio.to_thread(block)
            return
        async with machine as entered:
            assert entered is machine
            if error is not None:
                raise error

    async def stream(self, command: str, **options: Any) -> tuple[str, str, list[Any]]:
        """Of a program in the sandbox: stdout, stderr, and what the other events tell."""
        events = await self.all(self.sandbox.exec_stream, command, options)
        texts = ["".join(event.data["line"] for event in events if event.type == name) for name in ("stdout", "stderr")]
        rest = [event.data for event in events if event.type not in ("stdout", "stderr")]
        assert events[-1].type == "exit"
        return texts[0], texts[1], rest


Check = Callable[[Client], Awaitable[None]]
run_checks = partial(run_all, Client)
