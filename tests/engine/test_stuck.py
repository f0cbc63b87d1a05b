"""Processes that don't end although they were killed, since they wait in the kernel for a disk or a server: an end is not held up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import trio
from conftest import leftovers

import sessions
from sessions import closing, stopping
from sessions.shell import processes
from sessions.shell.shell import Shell

PATIENCE_SECONDS = 20


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "KILL_SECONDS", 0.2)
    monkeypatch.setattr(stopping, "STUCK_SECONDS", 0.2)
    monkeypatch.setattr(closing, "STALL_SECONDS", 0.2)


@contextmanager
def without_effect() -> Iterator[None]:
    """No signal ends anybody meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        for where, name in ((processes, "send"), (processes, "send_to"), (processes, "send_group"), (Shell, "kill")):
            patch.setattr(where, name, lambda *_: None)
        yield


async def test_close_says_who_of_a_finished_command_is_left(
    session: sessions.Session, caplog: pytest.LogCaptureFixture
) -> None:
    left = (await session.run("sleep 600 & echo $!")).stdout.strip()
    with without_effect(), trio.fail_after(PATIENCE_SECONDS):
        await session.close(grace=0)
    assert session.state == "closed"
    assert [f"[{left}]" in message for message in caplog.messages] == [True]
    os.kill(int(left), signal.SIGKILL)


async def test_a_command_that_does_not_end_runs_on_in_a_closed_session(session: sessions.Session) -> None:
    command = await session.run_async("echo on; exec sleep 600")
    await command.wait_for("on")
    with without_effect(), trio.fail_after(PATIENCE_SECONDS):
        await session.close(grace=0)
        assert (session.state, command.state) == ("closed", "running")
    with trio.fail_after(PATIENCE_SECONDS):
        await command.kill(grace=0)
    assert (command.reason, command.exit_code) == ("session_closed", 128 + signal.SIGKILL)


async def test_a_shell_that_does_not_end_holds_no_close_up(session: sessions.Session) -> None:
    shell = session.shell_pid
    assert shell is not None
    os.kill(shell, signal.SIGSTOP)
    with without_effect(), trio.fail_after(PATIENCE_SECONDS):
        await session.close(grace=0)
    assert session.state == "closed"
    assert psutil.pid_exists(shell)
    os.kill(shell, signal.SIGKILL)


async def test_what_an_engine_could_not_end_is_lost(root: Path) -> None:
    with without_effect(), trio.fail_after(PATIENCE_SECONDS):
        async with sessions.open_engine(root, limits=sessions.Limits(kill_grace_seconds=0)) as engine:
            session = await engine.create_session()
            command = await session.run_async("echo on; exec sleep 600")
            await command.wait_for("on")
    assert command.reason == "lost"
    assert leftovers({session.id}) == []  # the keeper could
    async with sessions.open_engine(root) as engine:
        assert (await engine.get_session(session.id)).state == "closed"
        assert (await engine.get_command(command.id)).reason == "lost"


PROGRAM = """
import os, signal
from sessions.shell import keeper_program

children = [os.fork() or (signal.alarm(60), signal.pause()) for _ in range(3)]
kill = os.kill
os.kill = lambda pid, number: pid == children[0] or kill(pid, number)
keeper_program.KILL_SECONDS = 0.2
keeper_program.end_everything()
print([os.path.exists(f"/proc/{pid}") for pid in children])
kill(children[0], signal.SIGKILL)
"""


def test_a_keeper_ends_although_somebody_does_not() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert (done.stdout, done.stderr) == ("[True, False, False]\n", "")


async def test_close_after_a_restart_in_vain(session: sessions.Session) -> None:
    command = await session.run_async("trap '' INT; echo on; sleep 600", in_shell=True)
    await command.wait_for("on")
    left = session.shell_pid
    with without_effect(), trio.fail_after(PATIENCE_SECONDS):
        with pytest.raises(sessions.Broken, match=r"sits in the kernel.*try again later"):
            await session.restart()
        await session.close(grace=0)
        assert session.state == "closed"
    os.killpg(left or 0, signal.SIGKILL)


async def test_all_are_told_as_ended_by_the_close(session: sessions.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those to whom it had not come when its time for that was over: the sweep ends them."""
    monkeypatch.setattr(stopping, "STUCK_SECONDS", 0.0)
    monkeypatch.setattr(closing, "STALL_SECONDS", 10.0)
    commands = [await session.run_async("exec sleep 600") for _ in range(10)]
    with trio.fail_after(PATIENCE_SECONDS):
        for command in commands:
            while command.state != "running":
                await trio.sleep(0.001)
        await session.close(grace=0)
    assert {command.reason for command in commands} == {"session_closed"}
