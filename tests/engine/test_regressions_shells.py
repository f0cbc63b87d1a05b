"""What once cost a shell, or an answer: interrupts that hit a report, reporters that are stopped, options that break our own lines."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing
from conftest import SHELLS, leftovers

import sessions

NO_ZSH = pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is NOT INSTALLED")

# A report that an interrupt has hit is asked for again


@pytest.mark.parametrize("env", [None, {"A": "1"}])
async def test_an_interrupt_that_hits_the_report_costs_no_shell(
    session: sessions.Session, env: dict[str, str] | None
) -> None:
    """A timeout that comes when the command has just ended: bash drops the line that it is in, which is the report."""
    await session.run("kept=yes")
    hit = "trap 'case $BASH_COMMAND in *\"/r d \"*) trap - DEBUG; kill -INT $$ ;; esac' DEBUG"
    with trio.fail_after(10):
        result = await session.run(hit, env=env)
    assert (result.reason, result.shell_ended) == ("signal", False)
    assert (await session.run("echo $kept$A")).stdout == "yes\n"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("target", ["$$", "0"])
async def test_a_command_may_interrupt_its_own_shell(engine: sessions.Engine, shell: str, target: str) -> None:
    session = await engine.create_session(shell=shell)
    await session.run("kept=yes")
    with trio.fail_after(10):
        result = await session.run(f"kill -INT {target}")
    assert (result.reason, result.exit_code, result.shell_ended) == ("signal", 130, False)
    assert (await session.run("echo $kept")).stdout == "yes\n"


# A background command is ended whatever it does to its reporter


@pytest.mark.parametrize("verb", ["kill", "close"])
async def test_a_command_that_stops_its_reporter_is_ended_all_the_same(root: Path, verb: str) -> None:
    async with sessions.open_engine(root, limits=sessions.Limits(kill_grace_seconds=0.2)) as engine:
        session = await engine.create_session()
        command = await session.run_async("P=$BASHPID; kill -STOP $(ps -o ppid= -p $P); echo on; sleep 600")
        await command.wait_for("on")
        end: Callable[[], Awaitable[object]] = command.kill if verb == "kill" else session.close
        with trio.fail_after(10):
            await end()
        assert command.reason == ("killed" if verb == "kill" else "session_closed")
        assert verb == "kill" or leftovers({session.id}) == []


async def test_a_command_that_kills_its_reporter_is_ended_all_the_same(session: sessions.Session) -> None:
    command = await session.run_async("P=$BASHPID; kill -KILL $(ps -o ppid= -p $P); echo on; sleep 600")
    await command.wait_for("on")
    with trio.fail_after(10):
        await command.kill()
    assert command.state == "finished"


@NO_ZSH
@pytest.mark.parametrize("option", ["err_return", "ksh_arrays", "err_exit"])
async def test_options_of_zsh_don_t_reach_our_own_lines(engine: sessions.Engine, option: str) -> None:
    session = await engine.create_session(shell="zsh")
    with trio.fail_after(10):
        await session.run(f"setopt {option}")
        assert (await session.run("echo on")).stdout == "on\n"
        for env in (None, {"Y": "1"}):
            background = await session.run_async("[[ -o $0 ]]; echo $Y; (exit 6)".replace("$0", option), env=env)
            await background.wait()
            assert (background.reason, background.exit_code) == ("exit", 6)
            assert (await background.logs()).stdout.strip() == (env or {}).get("Y", "").encode()
        if option == "err_return":
            assert (await session.run("(exit 7)")).exit_code == 7
            assert (await session.run("echo $?")).stdout == "7\n"


# A shell that was stopped, and then told to start a background command


@pytest.mark.parametrize("verb", ["kill", "close", "close detached", "restart", "leave"])
async def test_a_stopped_shell_holds_no_end_up(root: Path, verb: str) -> None:
    async with sessions.open_engine(root, limits=sessions.Limits(kill_grace_seconds=0.2)) as engine:
        session = await engine.create_session()
        assert session.shell_pid is not None
        os.kill(session.shell_pid, signal.SIGSTOP)
        command = await session.run_async("sleep 600", detach=verb == "close detached")
        with trio.fail_after(20) as limit:
            match verb:
                case "kill":
                    await command.kill()
                    assert command.reason == "killed"
                    assert (await session.run("echo on")).stdout == "on\n"
                case "restart":
                    await session.restart()
                    assert (await session.run("echo on")).stdout == "on\n"
                    assert command.state == "running"
                case "leave":
                    pass
                case _:
                    await session.close()
                    assert command.state == ("running" if verb == "close detached" else "finished")
    assert not limit.cancelled_caught
    assert leftovers({session.id}) == []


# Restarting, and shells that don't start


async def test_a_restart_lets_commands_end_while_it_waits_for_their_start(session: sessions.Session) -> None:
    assert session.shell_pid is not None
    os.kill(session.shell_pid, signal.SIGSTOP)
    commands = [await session.run_async("true") for _ in range(6)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.restart)
        await trio.testing.wait_all_tasks_blocked()
        os.kill(session.shell_pid, signal.SIGCONT)
        # All that they report is read at once: the last one is over before the first one's waiter runs.
        time.sleep(0.7)  # noqa: ASYNC251
    for command in commands:
        with trio.fail_after(10):
            await command.wait()
    assert [command.reason for command in commands] == ["exit"] * 6
    assert (await session.run("echo on")).stdout == "on\n"


async def test_a_shell_that_ends_at_once_is_told_at_once(engine: sessions.Engine, tmp_path: Path) -> None:
    (tmp_path / "bash").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "bash").chmod(0o755)
    await engine.create_session()  # so that the keeper is there

    async def keep_busy() -> None:
        while True:
            await trio.lowlevel.checkpoint()
            time.sleep(0.05)  # noqa: ASYNC251  # start and end of the shell are told in one piece

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_busy)
        with trio.fail_after(10), pytest.raises(sessions.Broken, match="exit code 3"):
            await engine.create_session("test", env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
        nursery.cancel_scope.cancel()
    assert [session.name for session in await engine.list_sessions() if session.name == "test"] == []


# Whom a signal reaches

COUNTS_INTERRUPTS = """
import signal, sys
signal.signal(signal.SIGINT, lambda *_: print("hit", flush=True))
print("up", flush=True)
print("read " + sys.stdin.readline())
"""


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_timeout_does_not_interrupt_background_commands(engine: sessions.Engine, shell: str) -> None:
    session = await engine.create_session(shell=shell)
    program = f"{shlex.quote(sys.executable)} -c {shlex.quote(COUNTS_INTERRUPTS)}"
    background = await session.run_async(program, stdin=True)
    await background.wait_for("up")
    assert (await session.run("sleep 600", timeout=0.2)).reason == "timeout"
    interrupted = await session.run_async("echo on; sleep 600", in_shell=True)
    await interrupted.wait_for("on")
    await interrupted.interrupt()
    assert (await interrupted.wait()).reason == "killed"
    await background.send_input("on\n")
    with trio.fail_after(10):
        await background.wait()
    assert (await background.logs()).stdout.split() == [b"up", b"read", b"on"]


async def test_an_engine_inside_a_command_tells_its_own_forks(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mark that this program has inherited is not that of a command of its own."""
    monkeypatch.setenv("SESSIONS_SESSION_ID", "0000000000")
    monkeypatch.setenv("SESSIONS_COMMAND_ID", "0000000000-1")
    async with sessions.open_engine(root, limits=sessions.Limits(kill_grace_seconds=0.3)) as engine:
        session = await engine.create_session()
        await session.run("kept=yes")
        result = await session.run("(trap : INT TERM; while :; do :; done)", timeout=0.2)
        assert (result.reason, result.shell_ended) == ("timeout", False)
        assert (await session.run("echo $kept")).stdout == "yes\n"
        assert (await session.run("env | grep -c '^SESSIONS_.*0000000000'")).stdout == "0\n"


@pytest.mark.parametrize("mark", ["SESSIONS_SESSION_ID", "SESSIONS_COMMAND_ID"])
async def test_the_marks_of_processes_can_t_be_set(engine: sessions.Engine, mark: str) -> None:
    session = await engine.create_session()
    with pytest.raises(sessions.Invalid, match=mark):
        await session.run("true", env={mark: "x"})
    with pytest.raises(sessions.Invalid, match=mark):
        await session.run_async("true", env={mark: "x"})
    with pytest.raises(sessions.Invalid, match=mark):
        await engine.create_session(env={mark: "x"})
