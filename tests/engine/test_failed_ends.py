"""An end that fails, or of which others have a part: nobody waits for it for ever, and no process is left."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import trio
import trio.testing
from conftest import leftovers, open_descriptors, read_all

import sessions
from sessions import recorder
from sessions.live import LiveSession
from sessions.shell import processes
from sessions.shell.pipes import unread_bytes
from sessions.stopping import Census
from sessions.store.records import STDOUT
from sessions.store.transcript import Transcript

PATIENCE_SECONDS = 20


def live(session: sessions.Session) -> LiveSession:
    return session.archive.live[session.id]


@contextmanager
def unseen() -> Iterator[None]:
    """While this lasts, no processes can be looked at."""

    async def fail(_: Census) -> None:
        raise OSError(errno.EIO, "nothing can be read")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Census, "take", fail)
        yield


@contextmanager
def unwritten(verb: str) -> Iterator[None]:
    """While this lasts, the log can't be written."""

    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Transcript, verb, fail)
        yield


async def fail() -> None:
    raise RuntimeError("a bug")


async def close_in_vain(session: sessions.Session) -> None:
    with unseen(), pytest.raises(OSError, match="nothing can be read"):
        await session.close()


async def test_a_look_that_fails_is_not_taken_for_one_that_saw_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waited for it looks again: else it would seem that all processes have ended."""
    census = Census()
    snapshot = processes.snapshot
    failures = [OSError(errno.EIO, "nothing can be read")]
    outcomes: list[bool | str] = []

    def look() -> list[processes.Seen]:
        if failures:
            raise failures.pop()
        return snapshot()

    async def take() -> None:
        try:
            outcomes.append(os.getpid() in {seen.pid for seen in await census.take()})
        except OSError as error:
            outcomes.append(str(error))

    monkeypatch.setattr(processes, "snapshot", look)
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(take)
    census.close()
    assert outcomes == ["[Errno 5] nothing can be read", True, True]


async def test_an_engine_whose_end_fails_leaves_no_process(root: Path) -> None:
    with trio.fail_after(PATIENCE_SECONDS):
        with unseen(), pytest.raises(ExceptionGroup):
            async with sessions.open_engine(root) as engine:
                session = await engine.create_session()
                command = await session.run_async("echo on; setsid sleep 600 & sleep 600")
                await command.wait_for("on")
        assert leftovers({session.id}) == []
        assert (await command.wait()).reason == "lost"
        async with sessions.open_engine(root) as engine:
            assert (await engine.get_session(session.id)).state == "lost"


async def test_a_close_that_fails_on_a_full_disk_leaves_nobody_busy(
    engine: sessions.Engine, session: sessions.Session
) -> None:
    with unwritten("append"), trio.fail_after(PATIENCE_SECONDS):
        command = await session.run_async("echo unwritten")
        await live(session).commands[command.info.number].over.wait()
        await trio.testing.wait_all_tasks_blocked()
        await close_in_vain(session)
        await trio.testing.wait_all_tasks_blocked()
        assert command.reason == "lost"


async def test_what_was_told_as_lost_is_not_written_as_something_else(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sessions.open_engine(root) as engine:
        session = await engine.create_session()
        with unwritten("mark_finished"), trio.fail_after(PATIENCE_SECONDS):
            command = await session.run_async("true")
            await live(session).commands[1].over.wait()
            await close_in_vain(session)
        monkeypatch.setattr(recorder, "RETRY_SECONDS", 0)
        await live(session).recorder._retry()
        assert command.reason == "lost"
        assert (await engine.create_session()).state == "open"
    async with sessions.open_engine(root) as engine:
        assert (await engine.get_command(command.id)).reason == "lost"


async def test_nobody_waits_for_a_session_that_was_deleted_before_all_was_written(
    engine: sessions.Engine, session: sessions.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessions.closing.STALL_SECONDS", 0.1)

    async def follow(command: sessions.Command, late: bool) -> None:
        with pytest.raises(sessions.NotFound):
            await read_all(command.follow(late=late))

    with unwritten("append"), trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            command = await session.run_async("echo unwritten; sleep 600")
            nursery.start_soon(command.wait)
            nursery.start_soon(read_all, session.follow())
            for late in (False, True):
                nursery.start_soon(follow, command, late)
            while session.state != "stalled":
                await trio.sleep(0.001)
            await engine.delete_session(session.id)
    assert command.reason == "lost"
    with pytest.raises(sessions.NotFound):
        await engine.get_session(session.id)


# Terminals


async def test_the_end_of_a_terminal_is_told_by_the_keeper_alone(engine: sessions.Engine) -> None:
    """However long that takes: a zombie that it has not reaped yet is not one that nobody reaps."""
    terminal = await engine.create_terminal("read x; exit 4")
    session = await engine.get_session(terminal.session_id)
    leader = live(session).commands[1].leader
    assert leader is not None
    psutil.Process(engine.workshop.keeper.pid).suspend()
    await terminal.send_input("\n")
    with trio.fail_after(PATIENCE_SECONDS):
        while not processes.is_zombie(leader):
            await trio.sleep(0.001)
        for _ in range(3):
            live(session).listen()
        engine.workshop.keeper.proceed()
        assert (await terminal.wait()).exit_code == 4
        while session.state != "closed":
            await trio.sleep(0.001)


async def test_a_terminal_that_ends_after_a_close_that_failed(engine: sessions.Engine) -> None:
    terminal = await engine.create_terminal("trap '' HUP; sleep 600 & echo on; read x")
    await terminal.wait_for("on")
    session = await engine.get_session(terminal.session_id)
    leader = live(session).commands[1].leader
    assert leader is not None
    await close_in_vain(session)
    os.kill(leader, signal.SIGKILL)
    with trio.fail_after(PATIENCE_SECONDS):
        while leader in engine.workshop.keeper._on_exit:
            await trio.sleep(0.001)
    assert terminal.reason == "lost"
    assert (await engine.create_session()).state == "open"


# A program that has forked


async def test_a_fork_of_this_program_hides_no_end(session: sessions.Session, tmp_path: Path) -> None:
    """It has copies of all that is open here; what has come to its end here must have so for all others."""
    await session.run(f"trap 'echo ended >{tmp_path}/ended' EXIT")
    reads = await session.run_async("cat", stdin=True)
    silent = await session.run_async("read x", stdin=True)
    for command in (reads, silent):
        await live(session).commands[command.info.number].started.wait()
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # this process may have threads
        if not (child := os.fork()):
            try:
                signal.alarm(60)
                signal.pause()
            finally:
                os._exit(1)
    try:
        with trio.fail_after(PATIENCE_SECONDS):
            await reads.close_input()
            await reads.wait()
            await silent.send_input("\n")
            await silent.follow(late=True)
            await session.close()
        assert (tmp_path / "ended").read_text() == "ended\n"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)  # noqa: ASYNC222 (it was killed)


# What is open


@pytest.mark.parametrize("what_fails", ["the log", "a close", "the end", "a task", "a task and the log"])
async def test_no_descriptor_is_left_by_an_end_that_fails(
    root: Path, monkeypatch: pytest.MonkeyPatch, what_fails: str
) -> None:
    monkeypatch.setattr("sessions.closing.STALL_SECONDS", 0.1)
    async with sessions.open_engine(root):
        """The first one has loaded what stays open."""
    before = open_descriptors()
    with contextlib.ExitStack() as stack, trio.fail_after(PATIENCE_SECONDS):
        async with sessions.open_engine(root, limits=sessions.Limits(kill_grace_seconds=0.2)) as engine:
            session = await engine.create_session()
            command = await session.run_async("read x; echo $x; sleep 600", stdin=True)
            terminal = await engine.create_terminal("cat")
            await live(session).commands[1].started.wait()
            match what_fails:
                case "the log":
                    stack.enter_context(unwritten("append"))
                    await command.send_input("\n")
                    while session.state != "stalled":
                        await trio.sleep(0.001)
                case "a close":
                    await close_in_vain(session)
                    await close_in_vain(await engine.get_session(terminal.session_id))
                case "the end":
                    stack.enter_context(pytest.raises(ExceptionGroup))
                    stack.enter_context(unseen())
                case "a task" | "a task and the log":
                    stack.enter_context(pytest.raises(ExceptionGroup))
                    if what_fails == "a task and the log":
                        monkeypatch.setattr(engine.workshop.poller, "serve", lambda: None)
                        await command.send_input("\n")
                        while not unread_bytes(live(session).commands[1].pipes[STDOUT].descriptor):
                            time.sleep(0.001)  # noqa: ASYNC251 (it is left unread)
                        stack.enter_context(unwritten("append"))
                    engine.workshop.nursery.start_soon(fail)
                    await trio.sleep_forever()
    assert open_descriptors() == before
