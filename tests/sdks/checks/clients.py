"""What the clients of all SDKs have in common here, and how checks are run. Runs in an SDK's environment, not in ours."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar


class AnyClient:
    """One of the two clients of an SDK: ``sync`` blocks, ``async`` is awaited."""

    errors: Any
    """The module that has the classes of its errors."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    async def __aenter__(self) -> Any:
        raise NotImplementedError

    async def __aexit__(self, *exception: object) -> None:
        raise NotImplementedError

    async def call(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """The result of a method that blocks in one client and is awaited in the other."""
        if self.kind == "sync":
            return await asyncio.to_thread(method, *arguments, **options)
        return await method(*arguments, **options)

    async def refused(
        self, kind: type[BaseException] | str, method: Callable[..., Any], *arguments: Any, **options: Any
    ) -> Any:
        """The error of exactly this type that a method must raise."""
        return await self.raised(kind, self.call(method, *arguments, **options))

    async def raised(self, kind: type[BaseException] | str, call: Awaitable[Any]) -> Any:
        """The error of exactly this type that a call must come to."""
        wanted = getattr(self.errors, kind, kind) if isinstance(kind, str) else kind
        try:
            found = await call
        except Exception as error:
            assert wanted in (type(error), type(error).__name__), repr(error)
            return error
        raise AssertionError(f"{kind} was not raised, but {found!r} returned")


C = TypeVar("C", bound=AnyClient)


async def run_all(make: Callable[[str], C], kind: str, checks: Sequence[Callable[[C], Awaitable[None]]]) -> None:
    """Print a line for each: its name, and ``ok`` or what went wrong."""
    async with make(kind) as client:
        for check in checks:
            try:
                await asyncio.wait_for(check(client), 60)
                told = "ok"
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt | SystemExit):
                    raise
                told = traceback.format_exc()
            print(f"{check.__name__} {told!r}", flush=True)
