"""Several engines on one root: each acts on its own alone, and sees when another has ended or died."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing
from conftest import joined, leftovers, read_all
from other_engine import ECHO, Other, in_another_process, in_this_process

import sessions


@pytest.fixture(params=[in_this_process, in_another_process])
async def other(root: Path, request: pytest.FixtureRequest) -> AsyncIterator[Other]:
    async for other in request.param(root):
        yield other
    assert leftovers({other.session_id}) == []


@pytest.fixture
async def killable(root: Path) -> AsyncIterator[Other]:
    async for other in in_another_process(root):
        yield other


@pytest.fixture
async def engine(root: Path) -> AsyncIterator[sessions.Engine]:
    async with sessions.open_engine(root, limits=sessions.Limits(kill_grace_seconds=1.0)) as engine:
        yield engine


# Acting


async def test_acting_on_anothers_things_is_refused_and_has_no_effect(other: Other, engine: sessions.Engine) -> None:
    session, command = await engine.get_session("theirs"), await engine.get_command(other.command_id)
    verbs: list[tuple[Callable[[], Awaitable[object]], str]] = [
        (lambda: session.run("true"), "session 'theirs' belongs to another engine: run commands in it there"),
        (lambda: session.run_async("true"), "session 'theirs' belongs to another engine: run commands in it there"),
        (session.restart, "session 'theirs' belongs to another engine: restart it there"),
        (session.close, "session 'theirs' belongs to another engine: close it there"),
        (lambda: engine.delete_session("theirs"), "session 'theirs' belongs to another engine: close it there"),
        (command.kill, f"command {command.id} belongs to another engine: kill it there"),
        (command.interrupt, f"command {command.id} belongs to another engine: interrupt it there"),
        (lambda: command.send_signal("TERM"), f"command {command.id} belongs to another engine: signal it there"),
        (lambda: command.send_input("x"), f"command {command.id} belongs to another engine: send input to it there"),
        (command.close_input, f"command {command.id} belongs to another engine: close the input of it there"),
    ]
    for verb, message in verbs:
        with pytest.raises(sessions.Conflict, match=message):
            await verb()
    await other.tell("say still")
    await command.wait_for("^still$", timeout=20, stream="stdout")
    assert [one.id for one in await session.list_commands()] == [command.id]
    assert (await command.logs()).stdout == b"up\nstill\n"


async def test_a_finished_command_of_another_engine_takes_no_harm(other: Other, engine: sessions.Engine) -> None:
    command = await engine.get_command(other.command_id)
    await other.tell("end")
    await command.kill()
    await command.interrupt()
    await command.send_signal("TERM")
    await command.close_input()
    with pytest.raises(sessions.Closed, match="finished"):
        await command.send_input("x")
    assert (command.reason, command.exit_code) == ("exit", 3)


# Afterwards


async def test_history_is_read_by_a_later_engine(other: Other, root: Path) -> None:
    await other.tell("say one")
    await other.tell("end")
    await other.tell("close")
    async with sessions.open_engine(root) as engine:
        session, command = await engine.get_session("theirs"), await engine.get_command(other.command_id)
        assert (session.id, session.state) == (other.session_id, "closed")
        assert (command.text, command.reason, command.exit_code) == (ECHO, "exit", 3)
        logs = await command.logs()
        assert (logs.stdout, logs.stderr) == (b"up\none\n", b"one\n")
        with trio.fail_after(20):
            assert joined(await read_all(session.follow())) == logs.output
            assert (await command.wait()).duration_seconds is not None
        with pytest.raises(sessions.Closed, match="create another one; its logs stay readable"):
            await session.run("true")
        await engine.delete_session("theirs")
        with pytest.raises(sessions.NotFound):
            await engine.get_command(other.command_id)
        assert not (root / "sessions" / other.session_id).exists()


async def test_a_living_engine_sees_that_another_has_died(killable: Other, engine: sessions.Engine) -> None:
    command, session = await engine.get_command(killable.command_id), await engine.get_session("theirs")
    ended: dict[str, object] = {}

    async def follow_command() -> None:
        ended["follow"] = joined(await read_all(command.follow()))

    async def follow_session() -> None:
        ended["session"] = joined(await read_all(session.follow()))

    async def wait() -> None:
        ended["wait"] = (await (await engine.get_command(killable.command_id)).wait()).reason

    async def wait_for() -> None:
        with pytest.raises(sessions.EndedFirst, match="lost"):
            await (await engine.get_command(killable.command_id)).wait_for("never")
        ended["wait_for"] = "lost"

    assert killable.kill is not None
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for waiter in (follow_command, follow_session, wait, wait_for):
                nursery.start_soon(waiter)
            await trio.testing.wait_all_tasks_blocked()
            await killable.kill()
    assert ended == {"follow": b"up\n", "session": b"up\n", "wait": "lost", "wait_for": "lost"}
    assert ((await session.refresh()).state, (await command.refresh()).exit_code) == ("lost", None)
    assert leftovers({killable.session_id}) == []


@pytest.mark.parametrize("look", ["create_session", "list_sessions", "get_command", "list_commands"])
async def test_any_look_shows_a_dead_engines_things_as_lost(
    killable: Other, engine: sessions.Engine, look: str
) -> None:
    assert killable.kill is not None
    await killable.kill()
    match look:
        case "create_session":
            await engine.create_session("theirs")  # nobody holds that name any more
        case "list_sessions":
            assert [session.state for session in await engine.list_sessions()] == ["lost"]
        case "get_command":
            assert (await engine.get_command(killable.command_id)).reason == "lost"
        case "list_commands":
            assert [command.reason for command in await engine.list_commands()] == ["lost"]
            assert await engine.list_commands(state="running") == []
