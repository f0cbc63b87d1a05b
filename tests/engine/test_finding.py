"""Finding a command's processes: also behind a number that was used before, and where they hide their environment."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import trio

import sessions
from sessions.recovery import wake_keeper
from sessions.shell.processes import snapshot

PATIENCE_SECONDS = 30


def remember_another(pid: int) -> None:
    """psutil remembers processes from one call to the next: as if this one's number had been an earlier one's."""
    for process in psutil.process_iter():
        if process.pid == pid:
            vars(process)["_ident"] = (pid, 0.0)
            assert process != psutil.Process(pid)


def test_who_has_got_an_old_number_is_seen() -> None:
    with subprocess.Popen(["sleep", "600"]) as child:
        try:
            remember_another(child.pid)
            assert child.pid in {seen.pid for seen in snapshot()}
        finally:
            child.kill()


def test_a_stopped_keeper_that_has_got_an_old_number_is_continued(tmp_path: Path) -> None:
    with subprocess.Popen(["sh", "-c", "kill -STOP $$", str(tmp_path)]) as keeper:
        try:
            os.waitid(os.P_PID, keeper.pid, os.WSTOPPED | os.WNOWAIT)
            remember_another(keeper.pid)
            wake_keeper(tmp_path)
            assert keeper.poll() == 0
        finally:
            keeper.kill()


async def test_kill_of_a_finished_command_spares_who_has_got_its_number(
    engine: sessions.Engine, session: sessions.Session
) -> None:
    first = await session.run_async("true")
    earlier = engine.archive.running(first.id)
    await first.wait()
    second = await session.run_async("sleep 600")
    later = engine.archive.running(second.id)
    assert earlier is not None
    assert later is not None
    with trio.fail_after(PATIENCE_SECONDS):
        await later.started.wait()
        earlier.leader = later.leader  # the kernel has given it out again
        await first.kill(grace=0)
    assert later.sent_signal is None
    assert psutil.pid_exists(later.leader or 0)
    assert (await second.kill(grace=0)).exit_code == 128 + signal.SIGKILL


async def test_kill_of_a_finished_command_ends_forks_of_the_shell_in_its_group(session: sessions.Session) -> None:
    """They have executed nothing, so they carry no mark of the command."""
    command = await session.run_async("(while :; do sleep 0.01; done) & echo $!")
    with trio.fail_after(PATIENCE_SECONDS):
        await command.wait()
        await command.kill(grace=0)
    fork = int((await command.logs()).stdout)
    with contextlib.suppress(psutil.NoSuchProcess):
        assert psutil.Process(fork).status() == psutil.STATUS_ZOMBIE


# Only who may trace everything can read the environment of a program such as ssh-agent: a superuser gives that up here.

AS_PLAIN_USER = """
import ctypes, os, sys
for capability in set(range(64)) - {int(sys.argv[3])}:
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP: no longer ours after the next exec
os.execv(sys.executable, [sys.executable, "-c", *sys.argv[1:3]])
"""
CAP_SETUID = 7

HIDDEN = """
import json, shlex, sys
import psutil, trio, sessions

PROGRAM = '''
import ctypes, os, signal
signal.signal(signal.SIGINT, lambda *_: None)
signal.signal(signal.SIGTERM, lambda *_: None)
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
print(os.getpid(), flush=True)
while True:
    signal.pause()
'''

def lives(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

async def main():
    async with sessions.open_engine(sys.argv[1]) as engine:
        session = await engine.create_session()
        ends = []
        for prefix, in_shell in (("", True), ("setsid ", False), ("setsid ", False)):
            command = await session.run_async(f"{prefix}{sys.executable} -c {shlex.quote(PROGRAM)}", in_shell=in_shell)
            pid = int((await command.wait_for(r"(\\d+)\\n"))[1])
            try:
                hidden = not psutil.Process(pid).environ()
            except psutil.AccessDenied:
                hidden = True
            if len(ends) < 2:
                await command.kill(grace=0.1)
            else:
                await session.close(grace=0.1)
            ends.append([hidden, command.reason, session.state, lives(pid)])
        print(json.dumps(ends))

trio.run(main)
"""

ANOTHERS = """
import json, shlex, sys
import psutil, trio, sessions

PROGRAM = "import os, signal; os.setuid(65534); print(os.getpid(), flush=True); signal.pause()"

async def main():
    async with sessions.open_engine(sys.argv[1]) as engine:
        session = await engine.create_session()
        command = await session.run_async(f"{sys.executable} -c {shlex.quote(PROGRAM)} & read", stdin=True)
        pid = int((await command.wait_for(r"(\\d+)\\n"))[1])
        await command.close_input()
        await command.wait()
        try:
            hidden = not psutil.Process(pid).environ()
        except psutil.AccessDenied:
            hidden = True
        await session.close(grace=0.1)
        print(json.dumps([pid, hidden, session.state]))

trio.run(main)
"""


def run_as_plain_user(program: str, root: Path, keep: int = -1) -> list[object]:
    """What it prints; with no capability, but the one to `keep`."""
    done = subprocess.run(
        [sys.executable, "-c", AS_PLAIN_USER, program, str(root), str(keep)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert isinstance(told, list)
    return told


def test_who_hides_its_environment_is_ended_and_costs_no_shell(root: Path) -> None:
    in_shell, beside, left = run_as_plain_user(HIDDEN, root)
    assert in_shell == [True, "killed", "open", False]
    assert beside == [True, "killed", "open", False]
    assert left == [True, "session_closed", "closed", False]


@pytest.mark.skipif(os.getuid() != 0, reason="only a superuser can make another user's process: NOT TESTED")
def test_who_has_become_another_user_is_not_waited_for(root: Path) -> None:
    pid, hidden, state = run_as_plain_user(ANOTHERS, root, CAP_SETUID)
    assert (hidden, state) == (True, "closed")
    assert isinstance(pid, int)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
