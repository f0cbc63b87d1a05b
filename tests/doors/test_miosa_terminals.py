"""The Miosa door's terminals: they end with their machine, and nothing of those that have ended piles up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import trio
from miosa_wire import Wire, open_wire  # noqa: F401

import sessions
from sessions.doors.miosa.terminals import open_terminal
from sessions.spaces import Space, open_spaces

SIZE = {"rows": None, "columns": None, "cwd": None, "env": {}}


@pytest.fixture
async def space(engine: sessions.Engine) -> AsyncIterator[Space]:
    async with open_spaces(engine) as spaces:
        yield await spaces.create("miosa", "one")


async def test_one_that_is_being_opened_ends_with_its_machine(
    engine: sessions.Engine, space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = engine.create_terminal
    is_asked, may_open = trio.Event(), trio.Event()

    async def create_slowly(*words: Any, **options: Any) -> sessions.Terminal:
        is_asked.set()
        await may_open.wait()
        return await create(*words, **options)

    monkeypatch.setattr(engine, "create_terminal", create_slowly)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(open_terminal, space, "sleep 600", **SIZE))
        await is_asked.wait()
        nursery.start_soon(space.stop)
        await trio.testing.wait_all_tasks_blocked()
        may_open.set()
    assert [session.state for session in await engine.list_sessions()] == ["closed"]
    with pytest.raises(sessions.Conflict, match="is stopped"):
        await open_terminal(space, "sleep 600", **SIZE)


async def test_those_that_have_ended_do_not_pile_up(space: Space) -> None:
    for _ in range(3):
        _, terminal = await open_terminal(space, "true", **SIZE)
        await terminal.wait()
    assert len(space.terminals) == 1


async def test_two_delete_the_same(wire: Wire) -> None:
    made = await wire.ask("POST", f"{wire.computer}/terminal", {}, 201)
    statuses: list[int] = []

    async def delete() -> None:
        answer = await wire.http.delete(f"{wire.computer}/terminal/{made['id']}")
        statuses.append(answer.status_code)

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(delete)
    assert 200 in statuses  # which answer is read first is not known
    assert set(statuses) <= {200, 404}
