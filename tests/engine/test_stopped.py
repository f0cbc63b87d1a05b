"""A user's command may stop or kill whoever it likes: its session's shell, who reports for it, the keeper. Nobody waits for that for ever."""

from __future__ import annotations

import ctypes
import os
import shlex
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
import trio
import trio.testing
from conftest import SHELLS, leftovers

import sessions
from sessions import opening, reading_logs, stopping
from sessions.live import LiveSession
from sessions.running import Order, RunningCommand
from sessions.shell import processes
from sessions.shell.pipes import ControlPipe
from sessions.shell.script import BASH
from sessions.spaces import open_spaces

PATIENCE_SECONDS = 20
STOP_REPORTER = (
    "read -r _ _ _ parent _ </proc/self/stat; kill -STOP $parent\n"
    "until read -r _ _ state _ </proc/$parent/stat && [ $state = T ]; do :; done\n"
)
PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture
def orphanage() -> Iterator[None]:
    """This process adopts orphans and doesn't reap them, as PID 1 of many containers."""
    libc = ctypes.CDLL(None)
    before = {child.pid for child in psutil.Process().children()}
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    yield
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    for child in psutil.Process().children():
        if child.pid not in before:
            os.waitpid(child.pid, 0)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keeper is looked after more often than each second."""
    monkeypatch.setattr(opening, "LISTEN_SECONDS", 0.1)


def live(session: sessions.Session) -> LiveSession:
    return session.archive.live[session.id]


async def stopped(pid: int) -> None:
    while not processes.is_stopped(pid):
        await trio.sleep(0.001)


# The keeper


@pytest.mark.parametrize("verb", ["exit", "close", "create", "restart", "terminal", "leave"])
async def test_a_keeper_that_was_stopped_holds_nothing_up(often: None, engine: sessions.Engine, verb: str) -> None:
    session = await engine.create_session()
    await session.run("kill -STOP $PPID")
    with trio.fail_after(PATIENCE_SECONDS):
        match verb:
            case "exit":
                result = await session.run("exit 3")
                assert (result.exit_code, result.shell_ended) == (3, True)
            case "close":
                await session.close()
                assert session.state == "closed"
            case "create":
                assert (await (await engine.create_session()).run("echo on")).stdout == "on\n"
            case "restart":
                await session.restart()
                assert (await session.run("echo on")).stdout == "on\n"
            case "terminal":
                assert (await (await engine.create_terminal("exit 4")).wait()).exit_code == 4


async def test_a_keeper_that_is_stopped_again_and_again(often: None, engine: sessions.Engine) -> None:
    session, other = await engine.create_session(), await engine.create_session()
    await session.run_async("while :; do kill -STOP $PPID; sleep 0.05; done")
    with trio.fail_after(PATIENCE_SECONDS):
        assert (await other.run("exit 3")).exit_code == 3


async def test_an_engine_rests_while_no_command_runs(often: None, engine: sessions.Engine) -> None:
    session = await engine.create_session()
    for _ in range(2):
        while trio.lowlevel.current_statistics().seconds_to_next_deadline < opening.IDLE_SECONDS / 2:
            await trio.lowlevel.checkpoint()
        # One that comes now is looked after at once.
        assert (await session.run("kill -STOP $PPID; exit 3")).exit_code == 3
        await session.restart()


async def test_a_keeper_that_somebody_stops_while_nothing_runs(
    often: None, engine: sessions.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "IDLE_SECONDS", 0.2)
    session = await engine.create_session()
    with trio.fail_after(PATIENCE_SECONDS):
        os.kill(engine.workshop.keeper.pid or 0, signal.SIGSTOP)
        os.kill(session.shell_pid or 0, signal.SIGKILL)
        while session.state != "ended":
            await trio.sleep(0.01)


# The shell


async def test_a_signal_for_a_command_that_a_stopped_shell_has_yet_to_start(
    session: sessions.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert session.shell_pid is not None
    os.kill(session.shell_pid, signal.SIGSTOP)
    command = await session.run_async("echo ready; exec sleep 600")
    monkeypatch.setattr(stopping, "BIRTH_SECONDS", 0.2)
    with trio.fail_after(PATIENCE_SECONDS):
        with pytest.raises(sessions.Conflict, match=f"{command.id} has not started yet.* kill"):
            await command.send_signal("USR1")
        await command.interrupt()
        os.kill(session.shell_pid, signal.SIGCONT)
        await command.wait_for("ready")
        await command.send_signal("USR1")
        assert (await command.wait()).signal == signal.SIGUSR1


async def test_a_shell_that_was_stopped_as_it_had_read_a_line_is_not_mute(
    session: sessions.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel shows it in the middle of that read until it goes on."""
    assert session.shell_pid is not None
    os.kill(session.shell_pid, signal.SIGSTOP)
    await stopped(session.shell_pid)
    command = await session.run_async("echo on", in_shell=True)
    with monkeypatch.context() as patch:
        patch.setattr(ControlPipe, "is_awaited_by", lambda *_: True)
        for _ in range(4):
            live(session).listen()
    os.kill(session.shell_pid, signal.SIGCONT)
    with trio.fail_after(PATIENCE_SECONDS):
        assert (await command.wait()).exit_code == 0
    assert session.state == "open"


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_restart_without_a_grace_waits_for_commands_that_are_about_to_start(root: Path, shell: str) -> None:
    async with sessions.open_engine(root, limits=sessions.Limits(kill_grace_seconds=0)) as engine:
        session = await engine.create_session(shell=shell)
        command = await session.run_async("read x; echo got $x", stdin=True)
        await session.restart()
        await command.send_input("it\n")
        with trio.fail_after(PATIENCE_SECONDS):
            await command.wait()
        assert (command.reason, (await command.logs()).stdout) == ("exit", b"got it\n")


class BusyShell:
    """A shell that forks one command after the other."""

    dialect = BASH
    forked_at = 0.0
    killed_at: float | None = None

    def __init__(self, command: RunningCommand) -> None:
        self.command = command

    def proceed(self) -> None:
        """It was not stopped."""

    def kill(self) -> None:
        self.killed_at = trio.current_time()
        self.command.over.set()

    async def fork_others(self, count: int) -> None:
        for _ in range(count):
            await trio.sleep(stopping.BIRTH_SECONDS - 1)
            self.forked_at = trio.current_time()


@pytest.mark.parametrize("is_told", [True, False], ids=["told", "not told"])
async def test_a_shell_that_is_busy_starting_others_is_not_killed(
    autojump_clock: trio.testing.MockClock, is_told: bool
) -> None:
    """Only one that gets no further is, or whose fork doesn't tell that it has started."""
    order = Order(
        text="true",
        in_shell=False,
        labels={},
        env={},
        cwd=None,
        stdin=False,
        timeout=None,
        idle_timeout=None,
        detached=False,
    )
    command = RunningCommand("s", 1, order, 0)
    command.shell = shell = BusyShell(command)  # type: ignore[assignment]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stopping.await_birth, command)
        await shell.fork_others(10)
        command.forked()
        forked_at = trio.current_time()
        nursery.start_soon(shell.fork_others, 10)
        if is_told:
            await trio.sleep(stopping.BIRTH_SECONDS - 1)
            command.born(2)
    if is_told:
        assert shell.killed_at is None
    else:
        assert shell.killed_at is not None
        assert 0 <= shell.killed_at - forked_at - stopping.BIRTH_SECONDS < 1


# Who reports for a background command


async def test_nothing_of_a_paused_space_is_continued(engine: sessions.Engine) -> None:
    async with open_spaces(engine) as spaces:
        space = await spaces.create("door", "one")
        session = await space.create_session("s")
        trap = "case $BASH_COMMAND in *' s '*) sleep 600 ;; esac"  # so that no start is told
        await session.run(f"set -T; trap {shlex.quote(trap)} DEBUG")
        await session.run_async("sleep 600")
        with trio.fail_after(PATIENCE_SECONDS):
            while not live(session)._forked:
                await trio.sleep(0.001)
        await space.pause()
        for _ in range(3):
            live(session).listen()
        await trio.testing.wait_all_tasks_blocked()
        await engine.workshop.census.take()  # after those of the looks
        await trio.testing.wait_all_tasks_blocked()
        assert {process.status() for process in leftovers({session.id})} == {psutil.STATUS_STOPPED}


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_reporter_is_continued_although_somebody_holds_the_pipes_open(
    engine: sessions.Engine, shell: str
) -> None:
    session = await engine.create_session(shell=shell)
    command = await session.run_async(f"sleep 600 & read x; {STOP_REPORTER} exit 3", stdin=True)
    while command.state != "running":
        await trio.sleep(0.001)
    await command.send_input("\n")
    with trio.fail_after(PATIENCE_SECONDS):
        await command.wait()
    assert (command.reason, command.exit_code) == ("exit", 3)


@pytest.mark.parametrize("verb", ["wait", "kill", "close"])
async def test_a_reporter_that_was_stopped_before_it_had_told_of_the_start(
    session: sessions.Session, verb: str
) -> None:
    await session.run("set -T; trap '[[ $BASH_COMMAND == *printf* ]] && sleep 0.3' DEBUG")  # the command is faster
    command = await session.run_async(STOP_REPORTER + ("exit 3" if verb == "wait" else "sleep 600"))
    queued = await session.run_async("echo next", in_shell=True)
    with trio.fail_after(PATIENCE_SECONDS):
        match verb:
            case "wait":
                await command.wait()
                # The second where a busy machine gives it too little time for its news.
                assert (command.reason, command.exit_code) in (("exit", 3), ("shell_died", None))
                assert (await queued.wait()).exit_code == 0
            case "kill":
                assert (await command.kill()).reason == "killed"
                assert (await queued.wait()).exit_code == 0
            case "close":
                await session.close()
                assert command.reason == "session_closed"


@pytest.mark.parametrize("shell", SHELLS)
async def test_the_end_of_a_command_whose_reporter_and_keeper_were_killed(
    engine: sessions.Engine, orphanage: None, shell: str
) -> None:
    session = await engine.create_session(shell=shell)
    command = await session.run_async("read -r _ _ _ parent _ </proc/self/stat; echo $parent; read x", stdin=True)
    reporter = int((await command.wait_for(r"(\d+)\n"))[1])
    assert session.shell_pid is not None
    keeper = psutil.Process(session.shell_pid).ppid()
    for pid in (reporter, keeper):
        os.kill(pid, signal.SIGKILL)
        while processes.exists(pid) and not processes.is_zombie(pid):
            await trio.sleep(0.001)
    await command.close_input()
    with trio.fail_after(PATIENCE_SECONDS):
        await command.wait()
    assert (command.reason, command.exit_code) == ("shell_died", None)


# No more processes, and no more threads


@pytest.mark.parametrize("verb", ["kill", "close", "leave"])
async def test_commands_that_have_used_up_all_threads_can_be_ended(
    root: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    with trio.fail_after(PATIENCE_SECONDS):
        async with sessions.open_engine(root, limits=sessions.Limits(kill_grace_seconds=0.2)) as engine:
            session = await engine.create_session()
            command = await session.run_async("setsid sleep 600 & sleep 600")
            monkeypatch.setattr(trio.to_thread, "run_sync", refuse)
            engine.archive.catalog.on_checkpoint_due()
            if verb == "kill":
                await command.kill()
                assert command.reason == "killed"
                assert (await session.run("echo on")).stdout == "on\n"
            elif verb == "close":
                await session.close()
    assert leftovers({session.id}) == []


async def test_a_large_log_is_read_although_there_are_no_more_threads(
    session: sessions.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(reading_logs, "LARGE_RECORDS", 1)
    monkeypatch.setattr(trio.to_thread, "run_sync", refuse)
    result = await session.run("echo out; echo err >&2")
    assert (result.stdout, result.stderr) == ("out\n", "err\n")
    assert str(await result.command.excerpt()) == "out\nerr\n"


async def test_callers_in_all_threads_of_trio_can_run_commands(session: sessions.Session) -> None:
    """To end one, a thread is needed: it must be none of those in which they wait."""
    trio.to_thread.current_default_thread_limiter().total_tokens = 1
    run = partial(session.run, "sleep 600", timeout=0.01)
    with trio.fail_after(PATIENCE_SECONDS):
        result = await trio.to_thread.run_sync(trio.from_thread.run, run, abandon_on_cancel=True)
    assert result.reason == "timeout"


async def test_a_close_that_fails_holds_up_no_other(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_: stopping.Census) -> None:
        raise OSError("no processes can be seen")

    with trio.fail_after(PATIENCE_SECONDS):
        async with sessions.open_engine(root, limits=sessions.Limits(kill_grace_seconds=0.2)) as engine:
            session = await engine.create_session()
            command = await session.run_async("sleep 600")
            with monkeypatch.context() as patch:
                patch.setattr(stopping.Census, "take", fail)
                with pytest.raises(OSError, match="no processes"):
                    await session.close()
            await session.close()
            assert (await command.wait()).reason == "lost"
            with pytest.raises(sessions.Closed):
                await session.run("true")
    assert leftovers({session.id}) == []


async def test_a_command_that_has_told_of_its_start_is_looked_for_no_more(
    engine: sessions.Engine, session: sessions.Session
) -> None:
    command = await session.run_async("echo on; sleep 600")
    await command.wait_for("on")
    await session.run("true")  # so that all is reported that the shell had to say of the start
    census = engine.workshop.census
    before = census._began
    for _ in range(3):
        engine.archive.live[session.id].listen()
        await trio.testing.wait_all_tasks_blocked()
    assert census._began == before
