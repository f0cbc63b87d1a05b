"""What the checks of the verbs are made of: the subject that is checked, and how a check is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs

import sessions
from sessions.ids import new_session_id

Check = Callable[["Subject"], Awaitable[None]]
CHECKS: list[Check] = []


@attrs.frozen
class Subject:
    """What is checked."""

    host: Any
    """An `Engine`, a `Client`, or an async adapter of a blocking one."""
    follow_all: Callable[..., Any] = sessions.follow_all
    cancels: bool = True
    """Whether a caller can be cancelled."""

    @asynccontextmanager
    async def session(self, **options: Any) -> AsyncIterator[Any]:
        async with self.host.open_session(**options) as session:
            yield session


def check(function: Check) -> Check:
    CHECKS.append(function)
    return function


def fresh_name() -> str:
    return f"n-{new_session_id()}"


async def records_of(stream: Any) -> list[sessions.Record]:
    async with stream as records:
        return [record async for record in records]


def joined(records: list[sessions.Record], stream: str | None = None) -> bytes:
    return b"".join(record.data for record in records if stream in (None, record.stream))
