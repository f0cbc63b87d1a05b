"""The keeper, where it can't do what it is there for."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing
from conftest import open_descriptors

from sessions.errors import Broken
from sessions.shell import keeper_program
from sessions.shell.keeper import Keeper
from sessions.shell.poller import Poller

PATIENCE_SECONDS = 20
REQUESTS = 600
"""More than the socket of a keeper that doesn't read has room for."""


async def test_who_waits_for_a_keeper_that_is_busy_is_told_that_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poller = Poller()
    keeper = Keeper(poller, tmp_path)
    refused = []

    async def spawn() -> None:
        with pytest.raises(Broken, match="keeper process of this engine has gone"):
            await keeper.spawn(["true"], {}, "/", 0, lambda _: None)
        refused.append(None)

    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            keeper._start()
            assert keeper.pid is not None
            monkeypatch.setattr(keeper, "proceed", lambda: None)
            os.kill(keeper.pid, signal.SIGSTOP)
            for _ in range(REQUESTS):
                nursery.start_soon(spawn)
            await trio.testing.wait_all_tasks_blocked()
            assert keeper._sending.locked()  # somebody waits for room
            os.kill(keeper.pid, signal.SIGKILL)
            os.waitid(os.P_PID, keeper.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 (trio shall not look)
            poller.serve()  # before trio itself has looked at the socket
    assert len(refused) == REQUESTS
    poller.close()


@pytest.fixture
async def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Keeper]:
    """A keeper that was stopped, and is not continued."""
    poller = Poller()
    keeper = Keeper(poller, tmp_path)
    monkeypatch.setattr(keeper, "proceed", lambda: None)
    keeper._start()
    assert keeper.pid is not None
    os.kill(keeper.pid, signal.SIGSTOP)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        yield keeper
        nursery.cancel_scope.cancel()
    await keeper.close()
    poller.close()


async def test_who_is_cancelled_while_a_program_is_started_gets_to_know_it(stopped: Keeper, tmp_path: Path) -> None:
    """It would run on, and nobody would end it."""
    pids: list[int] = []
    scope = trio.CancelScope()

    async def spawn() -> None:
        with scope:
            pids.append(await stopped.spawn(["sleep", "600"], os.environ, "/", 0, lambda _: None))

    with trio.fail_after(PATIENCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(spawn)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            assert stopped.pid is not None
            os.kill(stopped.pid, signal.SIGCONT)
    assert [os.path.exists(f"/proc/{pid}") for pid in pids] == [True]
    assert list(tmp_path.iterdir()) == []


async def test_who_is_cancelled_before_leaves_no_file(stopped: Keeper, tmp_path: Path) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await stopped.spawn(["true"], os.environ, "/", 0, lambda _: None)
    assert scope.cancelled_caught
    assert list(tmp_path.iterdir()) == []


def test_a_keeper_that_can_not_fork_keeps_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(os, "fork", fork)
    before = open_descriptors()
    with pytest.raises(BlockingIOError, match="no more processes"):
        keeper_program.spawn({"argv": ["true"], "env": {}, "cwd": "/", "terminal": False}, 0, ctypes.CDLL(None))
    assert open_descriptors() == before


PROGRAM = """
import os, signal
from sessions.shell import keeper_program

children = [os.fork() or (signal.alarm(60), signal.pause()) for _ in range(3)]
kill = os.kill

def kill_mine(pid, number):
    if pid == children[0]:
        raise PermissionError("another user's")
    kill(pid, number)

os.kill = kill_mine
keeper_program.end_everything()
print([os.path.exists(f"/proc/{pid}") for pid in children])
kill(children[0], signal.SIGKILL)
"""


def test_a_keeper_ends_the_others_if_it_may_not_kill_one() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert (done.stdout, done.stderr) == ("[True, False, False]\n", "")
