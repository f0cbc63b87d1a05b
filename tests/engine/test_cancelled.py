"""Cancelling what an engine's block runs in, or one call: nothing is left of what has no handle."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from conftest import leftovers

import sessions

LIMITS = sessions.Limits(kill_grace_seconds=1.0)


async def test_a_cancelled_block_ends_its_engine(root: Path) -> None:
    ids: set[str] = set()
    with trio.fail_after(30), trio.CancelScope() as scope:
        async with sessions.open_engine(root, limits=LIMITS) as engine:
            session = await engine.create_session()
            ids.add(session.id)
            await session.run_async("sleep 600")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(session.run, "echo on; sleep 600")
                await session.follow().__aenter__()
                scope.cancel()
    assert scope.cancelled_caught
    assert leftovers(ids) == []
    async with sessions.open_engine(root) as later:
        assert {command.reason for command in await later.list_commands()} <= {"killed", "session_closed"}


async def test_an_error_beside_the_block_ends_it_too(root: Path) -> None:
    class Beside(Exception):
        pass

    async def use(task_status: trio.TaskStatus[str]) -> None:
        async with sessions.open_engine(root, limits=LIMITS) as engine:
            session = await engine.create_session()
            task_status.started(session.id)
            await session.run("sleep 600")

    started = ""
    with trio.fail_after(30):
        try:
            async with trio.open_nursery() as nursery:
                started = await nursery.start(use)
                raise Beside
        except* Beside:
            pass
    assert leftovers({started}) == []


async def test_what_the_block_raises_comes_out_as_it_is(root: Path) -> None:
    with pytest.raises(sessions.CommandFailed) as caught:
        async with sessions.open_engine(root, limits=LIMITS) as engine:
            session = await engine.create_session()
            await session.run("exit 3", check=True)
    assert caught.value.result.exit_code == 3


async def test_a_session_whose_creation_was_cancelled_is_told_of_as_closed(engine: sessions.Engine) -> None:
    catalog = engine.archive.catalog
    with trio.CancelScope() as scope:
        catalog.listeners.add(scope.cancel)  # when it is in the catalog, but has no shell yet
        await engine.create_session("never")
    catalog.listeners.discard(scope.cancel)
    assert scope.cancelled_caught
    assert await engine.list_sessions() == []
    assert [event.type for event in catalog.events_after(0)] == ["session_created", "session_closed"]


async def test_a_terminal_whose_program_has_started_has_a_handle(engine: sessions.Engine) -> None:
    def cancel() -> None:
        if engine.archive.catalog.list_commands():
            scope.cancel()

    with trio.CancelScope() as scope:
        engine.archive.catalog.listeners.add(cancel)
        terminal = await engine.create_terminal("sleep 600")
        assert terminal.state == "running"
    assert not scope.cancelled_caught


async def test_close_of_a_closed_session_can_be_cancelled(session: sessions.Session) -> None:
    await session.close()
    with trio.CancelScope() as scope:
        scope.cancel()
        await session.close()
    assert scope.cancelled_caught


async def test_close_is_finished_although_it_is_cancelled(session: sessions.Session) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await session.close()
    assert session.state == "closed"
