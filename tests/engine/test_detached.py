"""Commands that are left behind on purpose: they outlive their session, can be read and ended, and end with their engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import trio
import trio.testing
from conftest import open_descriptors
from left_behind import DEAF, LEAVE, present

import sessions

AT_ONCE_SECONDS = 10
"""Far less than what is ended here would take, far more than a busy machine needs."""


@pytest.fixture
async def engine(root: Path) -> AsyncIterator[sessions.Engine]:
    """With a grace so short that those who use it up don't make these tests slow."""
    async with sessions.open_engine(root, limits=sessions.Limits(kill_grace_seconds=0.3)) as engine:
        yield engine


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the commands work."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


async def test_a_detached_command_outlives_its_session(engine: sessions.Engine) -> None:
    session = await engine.create_session("build")
    daemon = await session.run_async(
        "echo up; while read line; do echo got $line; done; exit 4", stdin=True, detach=True
    )
    await daemon.wait_for("up")
    await session.close()
    assert (session.state, daemon.state) == ("closed", "running")
    assert [command.id for command in await engine.list_commands(state="running")] == [daemon.id]
    with trio.fail_after(AT_ONCE_SECONDS):
        await daemon.send_input("it\n")
        await daemon.wait_for("got it")
        again = await engine.get_command(daemon.id)
        assert (await again.logs()).stdout == b"up\ngot it\n"
        async with again.follow() as records:
            await daemon.close_input()
            assert b"".join([record.data async for record in records]) == b"up\ngot it\n"
    assert (again.state, again.exit_code, again.reason) == ("finished", 4, "exit")


async def test_a_detached_command_can_be_killed_after_the_close(engine: sessions.Engine, place: Path) -> None:
    session = await engine.create_session(cwd=place)
    daemon = await session.run_async(
        f"{LEAVE} & setsid {LEAVE} & until [ $(wc -l <pids) = 2 ]; do :; done; echo on; wait", detach=True
    )
    await daemon.wait_for("on")
    other = await session.run_async("sleep 600")
    await session.close()
    assert other.reason == "session_closed"
    assert len(present(place)) == 2
    [listed] = await engine.list_commands(state="running")
    await listed.kill()
    assert (daemon.state, daemon.reason) == ("finished", "killed")
    assert [process for process in present(place) if process.status() != psutil.STATUS_ZOMBIE] == []


async def test_a_detached_command_ends_with_its_engine(root: Path, place: Path) -> None:
    async with sessions.open_engine(root, limits=sessions.Limits(kill_grace_seconds=0.3)) as engine:
        async with engine.open_session(cwd=place) as session:
            daemon = await session.run_async(f"{DEAF} & wait", detach=True)
            await session.run("until [ -s pids ]; do sleep 0.01; done")
        assert daemon.state == "running"
        assert len(present(place)) == 1
    assert present(place) == []
    assert (daemon.state, daemon.reason) == ("finished", "session_closed")


async def test_deleting_a_session_ends_its_detached_commands(engine: sessions.Engine, place: Path) -> None:
    session = await engine.create_session("build", cwd=place)
    daemon = await session.run_async(LEAVE, detach=True)
    await session.run("until [ -s pids ]; do sleep 0.01; done")
    await engine.delete_session("build")
    assert [process for process in present(place) if process.status() != psutil.STATUS_ZOMBIE] == []
    with pytest.raises(sessions.NotFound):
        await engine.get_command(daemon.id)


async def test_a_command_in_the_shell_can_not_be_detached(engine: sessions.Engine) -> None:
    session = await engine.create_session()
    with pytest.raises(sessions.Conflict, match="in_shell"):
        await session.run_async("true", in_shell=True, detach=True)
    assert await session.list_commands() == []


async def test_a_closed_session_holds_no_descriptors_once_its_daemons_are_over(engine: sessions.Engine) -> None:
    async with engine.open_session():
        pass
    before = len(open_descriptors())
    session = await engine.create_session()
    daemon = await session.run_async("read x", stdin=True, detach=True)
    await session.close()
    assert len(open_descriptors()) > before
    await daemon.close_input()
    with trio.fail_after(AT_ONCE_SECONDS):
        await daemon.wait()
    await trio.testing.wait_all_tasks_blocked()
    assert len(open_descriptors()) == before
