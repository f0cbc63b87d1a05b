"""Both of Superserve's Python clients behind one way to call them. Runs in their environment, not in ours."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import superserve
from clients import AnyClient, run_all
from superserve import AsyncSandbox, Sandbox


class Client(AnyClient):
    """One of the clients, and a sandbox that the checks share."""

    errors = superserve

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
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

    async def run(self, command: str, **options: Any) -> Any:
        return await self.call(self.sandbox.commands.run, command, **options)

    async def stream(self, command: str, **options: Any) -> tuple[Any, str, str]:
        """The result, and what the callbacks got."""
        out: list[str] = []
        err: list[str] = []
        result = await self.run(command, on_stdout=out.append, on_stderr=err.append, **options)
        return result, "".join(out), "".join(err)


Check = Callable[[Client], Awaitable[None]]
run_checks = partial(run_all, Client)
