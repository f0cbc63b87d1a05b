"""What once made an engine hang, leave something behind, or forget what it had promised: its beginning, its end, and its end by force."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from conftest import joined, leftovers, open_descriptors, read_all
from killed_program import killed_program

import sessions
from sessions.opening import recover_apart
from sessions.store.owners import Owner, is_being_recovered, take_over

LIMITS = sessions.Limits(kill_grace_seconds=0.5)
PATIENCE_SECONDS = 15

# Cancelled


@pytest.mark.timeout(30)
async def test_an_engine_is_opened_and_ends_in_a_scope_that_is_cancelled_already(root: Path) -> None:
    with trio.move_on_after(0):
        async with sessions.open_engine(root) as engine:
            await engine.create_session()
    assert os.listdir(root / "engines") == []


async def test_a_session_is_closed_when_its_block_is_cancelled(engine: sessions.Engine) -> None:
    with trio.CancelScope() as scope:
        async with engine.open_session("scratch") as session:
            command = await session.run_async("sleep 600")
            scope.cancel()
            await command.wait()
    assert scope.cancelled_caught
    assert (session.state, command.reason) == ("closed", "session_closed")
    await engine.create_session("scratch")


async def make_dead(root: Path, *names: str) -> None:
    """Sessions that look as if their engines, one for each, had died."""
    files = []
    async with contextlib.AsyncExitStack() as stack:
        for name in names:
            engine = await stack.enter_async_context(sessions.open_engine(root))
            await engine.create_session(name)
            files.append(root / "engines" / engine.id)
    with contextlib.closing(sqlite3.connect(root / "catalog.sqlite3")) as catalog, catalog:
        for file in files:
            catalog.execute("UPDATE sessions SET state = 'open', closed_at = NULL WHERE engine_id = ?", (file.name,))
    for file in files:
        file.write_text(json.dumps({"pid": 1, "run_directory": "/nowhere/run/x"}))


@pytest.mark.timeout(30)
@pytest.mark.parametrize("verb", ["open_engine", "get_session", "list_sessions", "create_session"])
async def test_whoever_is_cancelled_while_it_cleans_up_keeps_no_lock(
    root: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    scope = trio.CancelScope()

    def take_over_and_be_cancelled(root: Path, engine_id: str) -> Owner | None:
        owner = take_over(root, engine_id)
        if owner is not None:
            scope.cancel()
        return owner

    async with sessions.open_engine(root) as engine:
        await make_dead(root, "build")
        for module in ("opening", "store.owners"):
            monkeypatch.setattr(f"sessions.{module}.take_over", take_over_and_be_cancelled)
        with scope:
            match verb:
                case "open_engine":
                    async with sessions.open_engine(root):
                        pass
                case "get_session":
                    await engine.get_session("build")
                case "list_sessions":
                    await engine.list_sessions()
                case "create_session":
                    await (await engine.create_session("build")).close()
        assert scope.cancel_called
        monkeypatch.undo()
        session = await engine.create_session("build")
        assert (await session.run("echo on")).stdout == "on\n"
        assert os.listdir(root / "engines") == [engine.id]
        assert not any("/engines/" in one and engine.id not in one for one in open_descriptors())


# An engine's own task fails


class Bug(Exception):
    pass


async def fail(when: trio.Event) -> None:
    await when.wait()
    raise Bug


async def run(engine: sessions.Engine, session: sessions.Session, broken: trio.Event) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run, "sleep 600")
        await trio.testing.wait_all_tasks_blocked()
        broken.set()


async def wait_for_the_end(engine: sessions.Engine, session: sessions.Session, broken: trio.Event) -> None:
    command = await session.run_async("sleep 600")
    broken.set()
    await command.wait()


async def be_idle(engine: sessions.Engine, session: sessions.Session, broken: trio.Event) -> None:
    broken.set()
    await trio.sleep_forever()


async def close(engine: sessions.Engine, session: sessions.Session, broken: trio.Event) -> None:
    command = await session.run_async("trap '' TERM; echo on; while :; do sleep 1; done")
    await command.wait_for("on")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.close, 30)
        await trio.testing.wait_all_tasks_blocked()
        broken.set()


async def leave_a_block(engine: sessions.Engine, session: sessions.Session, broken: trio.Event) -> None:
    async with engine.open_session() as other:
        await run(engine, other, broken)


async def restart(engine: sessions.Engine, session: sessions.Session, broken: trio.Event) -> None:
    await session.run_async("sleep 600", in_shell=True)
    broken.set()
    with contextlib.suppress(sessions.Broken, sessions.Closed):  # if it is not cancelled before
        await session.restart()


async def create(engine: sessions.Engine, session: sessions.Session, broken: trio.Event) -> None:
    broken.set()
    with contextlib.suppress(sessions.Broken, sessions.Closed):
        while True:
            await engine.create_session()


async def leave(engine: sessions.Engine, session: sessions.Session, broken: trio.Event) -> None:
    await session.run_async("trap '' TERM; while :; do sleep 1; done")
    broken.set()


async def go_on_shielded(engine: sessions.Engine, session: sessions.Session, broken: trio.Event) -> None:
    """Not even a task that can't be cancelled waits for what nobody will tell."""
    with trio.CancelScope(shield=True):
        command = await session.run_async("echo on; sleep 600", stdin=True)
        queued = await session.run_async("sleep 600", in_shell=True)
        behind = await session.run_async("sleep 600", in_shell=True)
        await command.wait_for("on")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_all, command.follow(late=True))
            nursery.start_soon(read_all, session.follow())
            nursery.start_soon(behind.wait)
            await trio.testing.wait_all_tasks_blocked()
            broken.set()
        for lost in (command, queued, behind):
            assert (lost.state, lost.reason) == ("finished", "lost")
            assert (await (await engine.get_command(lost.id)).wait()).reason == "lost"
        assert joined(await read_all(command.follow(late=True))) == b"on\n"
        for verb in (partial(session.run, "echo"), session.restart, engine.create_session):
            with pytest.raises(sessions.Closed):
                await verb()
        await session.close()
        await engine.delete_session(session.id)


Use = Callable[[sessions.Engine, sessions.Session, trio.Event], Awaitable[None]]
USES: list[Use] = [run, wait_for_the_end, be_idle, close, leave_a_block, restart, create, leave, go_on_shielded]


@pytest.mark.timeout(30)
@pytest.mark.parametrize("use", USES)
async def test_a_bug_in_an_engines_own_task_ends_everything_with_an_error(root: Path, use: Use) -> None:
    untrue: list[BaseException] = []
    with pytest.raises(ExceptionGroup) as caught:
        async with sessions.open_engine(root, limits=LIMITS) as engine:
            broken = trio.Event()
            engine.workshop.nursery.start_soon(fail, broken)
            session = await engine.create_session()
            try:
                await use(engine, session, broken)
            except (Exception, pytest.fail.Exception) as error:  # which the bug would hide
                untrue.append(error)
    assert untrue == []
    assert caught.value.split(Bug)[1] is None
    assert leftovers({session.id}) == []
    async with sessions.open_engine(root) as later:
        assert [one.state for one in await later.list_sessions(state="open")] == []
        assert [one.id for one in await later.list_commands() if one.state != "finished"] == []


# A program that has forked


async def test_a_fork_of_a_killed_program_keeps_nothing_alive(root: Path) -> None:
    session_id, forked = await killed_program(
        root,
        """
        session = await engine.create_session("build")
        await (await session.run_async("echo on; sleep 600")).wait_for("on")
        told, tell = os.pipe()
        if not (forked := os.fork()):
            os.write(tell, b"on")
            time.sleep(600)
        os.read(told, 2)
        print(session.id, forked, flush=True)
        """,
    )
    try:
        with trio.fail_after(PATIENCE_SECONDS):
            async with sessions.open_engine(root) as engine:
                assert [one.state for one in await engine.list_sessions()] == ["lost"]
                assert [one.reason for one in await engine.list_commands()] == ["lost"]
                # The fork carries no mark: it is a program's own, and goes on.
                assert leftovers({session_id}) == []
                os.kill(int(forked), 0)
    finally:
        os.kill(int(forked), signal.SIGKILL)


async def test_a_fork_of_a_fork_closes_no_file_of_its_own(root: Path) -> None:
    (status,) = await killed_program(
        root,
        """
        await engine.create_session()
        if not (child := os.fork()):
            files = [os.open("/dev/null", os.O_RDONLY) for _ in range(10)]
            if not (grandchild := os.fork()):
                os._exit(not all(os.path.exists(f"/proc/self/fd/{file}") for file in files))
            os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        """,
    )
    assert status == "0"


# Sessions that are refused


@pytest.mark.parametrize("dead", [False, True])
async def test_the_limit_of_sessions_counts_those_being_created(root: Path, dead: bool) -> None:
    """`dead`: before they are created, what holds their names is cleaned up."""
    async with sessions.open_engine(root, limits=sessions.Limits(sessions=2)) as engine:
        names = [f"n{number}" for number in range(5)]
        if dead:
            await make_dead(root, *names)
        refused = []

        async def create(name: str) -> None:
            try:
                await engine.create_session(name)
            except sessions.Busy:
                refused.append(name)

        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(create, name)
        assert (len(refused), len(await engine.list_sessions(state="open"))) == (3, 2)


async def test_a_directory_whose_name_is_no_text_is_refused(
    engine: sessions.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(here)
    monkeypatch.chdir(os.fsdecode(here))
    with pytest.raises(sessions.Invalid, match="this program's own directory"):
        await engine.create_session()
    with pytest.raises(sessions.Invalid, match="cwd"):
        await engine.create_session(cwd=os.fsdecode(here))
    session = await engine.create_session(cwd=tmp_path)
    with pytest.raises(sessions.Invalid, match="cwd"):
        await session.run("pwd", cwd=os.fsdecode(here))
    # The shell may go there by itself.
    assert (await session.run("cd caf* && echo on")).stdout == "on\n"
    assert (await session.run("echo still")).stdout == "still\n"
    assert [one.id for one in await engine.list_sessions()] == [session.id]


# One cleans up, others come


@pytest.mark.timeout(30)
@pytest.mark.parametrize("verb", ["create_session", "get_session", "open_engine"])
async def test_whoever_comes_while_another_cleans_up_waits_for_it(
    root: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    async with sessions.open_engine(root) as engine:
        await make_dead(root, "build")
        begun, looked, go_on = trio.Event(), trio.Event(), threading.Event()
        looks = []

        def look(root: Path, engine_id: str) -> bool:
            looks.append(is_being_recovered(root, engine_id))
            if len(looks) > 2:
                looked.set()
            return looks[-1]

        def recover_slowly(root: Path, owner: Owner) -> None:
            trio.from_thread.run_sync(begun.set)
            go_on.wait(PATIENCE_SECONDS)
            recover_apart(root, owner)

        monkeypatch.setattr("sessions.opening.recover_apart", recover_slowly)
        monkeypatch.setattr("sessions.opening.is_being_recovered", look)
        states = []

        async def come() -> None:
            match verb:
                case "create_session":
                    await engine.create_session("build")
                    states.append("lost")
                case "get_session":
                    states.append((await engine.get_session("build")).state)
                case "open_engine":
                    async with sessions.open_engine(root) as other:
                        states.extend(session.state for session in await other.list_sessions())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.list_sessions)
            await begun.wait()
            nursery.start_soon(come)
            await looked.wait()
            assert (looks, states) == ([True] * len(looks), [])
            go_on.set()
        assert states == ["lost"]
