"""The verbs of blocking programs are those of async ones: the same checks, through an adapter that awaits each call in a thread."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Self

import attrs
import pytest
import trio
from server_process import TOKEN, ServerProcess, server_process
from verbs import CHECKS, Check, Subject

import sessions
from sessions import blocking

each_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
awaited: dict[blocking.Facade, Awaited] = {}


class Awaited:
    """An engine, a client, a session or a command whose verbs are awaited. Its facts are read as they are."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if not callable(found):
            return found
        if name in ("follow", "watch"):
            return lambda *args, **options: AwaitedStream(found(*args, **options))

        async def verb(*args: Any, **options: Any) -> Any:
            options = {key: plain(value) for key, value in options.items()}
            return adapt(await trio.to_thread.run_sync(partial(found, *args, **options)))

        return verb

    @asynccontextmanager
    async def open_session(self, **options: Any) -> AsyncIterator[Any]:
        manager = self.inner.open_session(**options)
        session = await trio.to_thread.run_sync(manager.__enter__)
        try:
            yield adapt(session)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(manager.__exit__, None, None, None)


class AwaitedStream:
    def __init__(self, inner: blocking.Stream[Any]) -> None:
        self.inner = inner

    async def __aenter__(self) -> Self:
        await trio.to_thread.run_sync(self.inner.__enter__)
        return self

    async def __aexit__(self, *error: object) -> None:
        await trio.to_thread.run_sync(self.inner.__exit__, None, None, None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        item = await trio.to_thread.run_sync(partial(next, self.inner, self))
        if item is self:
            raise StopAsyncIteration
        return adapt(item)


def adapt(answer: Any) -> Any:
    """`answer` with what is async in the place of what is blocking; the same for the same."""
    if isinstance(answer, blocking.Facade):
        return awaited.setdefault(answer, Awaited(answer))
    if isinstance(answer, blocking.Result):
        return attrs.evolve(answer, command=adapt(answer.command))
    if isinstance(answer, list | tuple):
        return type(answer)(map(adapt, answer))
    return answer


def plain(value: Any) -> Any:
    return value.inner if isinstance(value, Awaited) else value


def follow_all(commands: list[Awaited], **options: Any) -> AwaitedStream:
    return AwaitedStream(blocking.follow_all([command.inner for command in commands], **options))


def subject(host: blocking.Host) -> Subject:
    return Subject(adapt(host), follow_all, cancels=False)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[blocking.Engine]:
    limits = sessions.Limits(kill_grace_seconds=1.0)
    with blocking.open_engine(tmp_path_factory.mktemp("engine") / "root", limits=limits) as engine:
        yield engine


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with server_process(tmp_path_factory.mktemp("server") / "root") as server:
        yield server


@each_check
async def test_blocking_engine(engine: blocking.Engine, check: Check) -> None:
    await check(subject(engine))


@each_check
async def test_blocking_client(server: ServerProcess, check: Check) -> None:
    with blocking.connect(server.http, TOKEN) as client:
        await check(subject(client))
