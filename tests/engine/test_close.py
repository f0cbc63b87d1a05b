"""Closing: nothing of a session is left, not a process, zombie, descriptor or file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import trio
import trio.testing
from conftest import SHELLS, leftovers, open_descriptors
from left_behind import DEAF, LEAVE, present

import sessions

AT_ONCE_SECONDS = 10
"""Far less than what is ended here would take, far more than a busy machine needs."""
LEFT = {
    "background": f"{LEAVE} &",
    "session of its own": f"setsid {LEAVE} &",
    "nohup": f"nohup {LEAVE} >/dev/null 2>&1 &",
    "double fork": f"( ( setsid {LEAVE} & ) & )",
    "deaf": f"( setsid {DEAF} & )",
    "without our marks": f"env -i PATH=$PATH {LEAVE} &",
    "deaf in a session of its own": f"setsid {DEAF} &",
}
WAIT = f"until [ $(wc -l <pids) -ge {len(LEFT)} ]; do sleep 0.01; done"
ESCAPE = f"( env -i PATH=$PATH setsid {LEAVE} & )"
"""Carries no mark, has a session of its own, and is nobody's child any more."""


@pytest.fixture
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the engine keeps the FIFOs and texts of running commands."""
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    return runtime


@pytest.fixture
async def engine(root: Path, run_directory: Path) -> AsyncIterator[sessions.Engine]:
    """With a grace so short that those who use it up don't make these tests slow."""
    async with sessions.open_engine(root, limits=sessions.Limits(kill_grace_seconds=0.3)) as engine:
        yield engine


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the commands work."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def files(directory: Path) -> list[Path]:
    """Everything below it that is no directory, FIFOs too."""
    return [path for path in directory.rglob("*") if not path.is_dir()]


def descendants() -> dict[int, str]:
    """All processes below this one, zombies included."""
    return {process.pid: process.name() for process in psutil.Process().children(recursive=True)}


# What ends with its session


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("in_shell", [True, False])
async def test_close_ends_what_finished_commands_left_behind(
    engine: sessions.Engine, place: Path, shell: str, in_shell: bool
) -> None:
    session = await engine.create_session(shell=shell, cwd=place)
    for text in LEFT.values():
        await (await session.run_async(text, in_shell=in_shell)).wait()
    await session.run(WAIT)
    assert len(present(place)) == len(LEFT)
    await session.close()
    assert leftovers({session.id}) == []
    still = [process.environ() for process in present(place) if process.status() != psutil.STATUS_ZOMBIE]
    # What has neither a mark nor a parent of ours any more may live until its engine ends.
    assert [environ for environ in still if "SESSIONS_SESSION_ID" in environ] == []
    assert len(still) <= (0 if in_shell else 1)


async def test_close_ends_disowned_children(engine: sessions.Engine, place: Path) -> None:
    session = await engine.create_session(cwd=place)
    await session.run(f"{LEAVE} & disown; until [ -s pids ]; do sleep 0.01; done")
    assert len(present(place)) == 1
    await session.close()
    assert present(place) == []


async def test_the_end_of_an_engine_leaves_nobody(root: Path, place: Path) -> None:
    async with sessions.open_engine(root, limits=sessions.Limits(kill_grace_seconds=0.3)) as engine:
        session = await engine.create_session(cwd=place)
        await session.run("\n".join(LEFT.values()))
        for _ in range(2):
            await session.run(ESCAPE)
            await (await session.run_async(ESCAPE)).wait()
        await session.run(WAIT.replace(str(len(LEFT)), str(len(LEFT) + 4)))
        assert len(present(place)) == len(LEFT) + 4
    assert present(place) == []


async def test_the_end_of_an_engine_ends_what_escaped_a_closed_session(root: Path, place: Path) -> None:
    async with sessions.open_engine(root) as engine:
        async with engine.open_session(cwd=place) as session:
            await session.run(f"{ESCAPE}; until [ -s pids ]; do sleep 0.01; done")
    assert present(place) == []


@pytest.mark.parametrize("in_shell", [True, False])
async def test_running_and_queued_commands_have_their_outcome(engine: sessions.Engine, in_shell: bool) -> None:
    session = await engine.create_session()
    running = await session.run_async("echo on; sleep 600", in_shell=in_shell)
    await running.wait_for("on")
    queued = [await session.run_async("sleep 600", in_shell=True) for _ in range(3)]
    with trio.fail_after(AT_ONCE_SECONDS):
        await session.close()
    assert (running.state, running.reason) == ("finished", "session_closed")
    assert running.exit_code not in (0, None)
    assert {(command.state, command.reason) for command in queued} == {("finished", "session_closed")}
    assert (await running.logs()).stdout == b"on\n"


async def test_a_program_may_clean_up_within_the_grace(engine: sessions.Engine) -> None:
    session = await engine.create_session()
    text = "trap 'sleep 0.3; echo clean; exit' TERM; echo on; while :; do sleep 0.01; done"
    command = await session.run_async(text)
    await command.wait_for("on")
    await session.close(grace=60)
    assert (await command.logs()).stdout == b"on\nclean\n"


async def test_a_caller_of_run_is_woken_by_close(engine: sessions.Engine) -> None:
    session = await engine.create_session()
    results = []

    async def caller() -> None:
        results.append(await session.run("echo on; sleep 600", on_stdout=lambda _: on.set()))

    on = trio.Event()
    with trio.fail_after(AT_ONCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller)
            await on.wait()
            await session.close()
    assert [(result.reason, result.stdout) for result in results] == [("session_closed", "on\n")]


async def test_a_closed_session_stays_closed_and_readable(engine: sessions.Engine) -> None:
    session = await engine.create_session("build")
    command = (await session.run("echo kept; (exit 3)")).command
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(session.close)
    await session.close()
    assert session.state == "closed"
    assert session.closed_at is not None
    for verb in (session.run, session.run_async):
        with pytest.raises(sessions.Closed, match=session.id):
            await verb("echo never")
    again = await engine.get_command(command.id)
    assert (again.exit_code, again.text, (await again.logs()).stdout) == (3, "echo kept; (exit 3)", b"kept\n")
    assert [found.id for found in await session.list_commands()] == [command.id]


# A hundred times


async def test_a_hundred_sessions_leave_nothing(engine: sessions.Engine, run_directory: Path) -> None:
    async def one() -> None:
        async with engine.open_session() as session:
            await session.run("sleep 600 & disown; setsid sleep 600 & :")
            await session.run_async("sleep 600", stdin=True)
            await session.run_async("cat", in_shell=True, stdin=True)

    await one()  # what is made once for an engine is there from now on
    processes, descriptors, left_files = descendants(), open_descriptors(), files(run_directory)
    for _ in range(10):
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(one)
    assert descendants() == processes
    assert open_descriptors() == descriptors
    assert files(run_directory) == left_files
    assert {session.state for session in await engine.list_sessions()} == {"closed"}
    assert leftovers({session.id for session in await engine.list_sessions()}) == []


async def test_commands_leave_nothing_while_their_session_lives(engine: sessions.Engine, run_directory: Path) -> None:
    session = await engine.create_session()

    async def one() -> None:
        await session.run("echo x", stdin="y", cwd="/", env={"A": "1"})
        await session.run("sleep 600", timeout=0.01)
        command = await session.run_async("cat", stdin=True)
        await command.kill()
        await (await session.run_async("echo y; exit 3")).wait()
        with pytest.raises(sessions.Invalid):
            await session.run("x", timeout=-1)

    await one()
    await alone()
    descriptors, left_files = open_descriptors(), files(run_directory)
    for _ in range(10):
        await one()
    await alone()
    assert open_descriptors() == descriptors
    assert files(run_directory) == left_files


async def alone() -> None:
    """Until the shell and the process that started it are all there is: who reports an end, ends right after it."""
    with trio.fail_after(AT_ONCE_SECONDS):
        while len(descendants()) > 2:
            await trio.sleep(0.01)
    await trio.testing.wait_all_tasks_blocked()  # the ends of the pipes that they held have been seen


async def test_shells_that_end_and_restart_leave_nothing(engine: sessions.Engine, run_directory: Path) -> None:
    session = await engine.create_session(restart=True)
    await session.run("exit")
    await session.run("true")
    processes, descriptors, left_files = descendants(), open_descriptors(), files(run_directory)
    for text in ("exit 3", "kill -9 $$", "exec true", "set -e; false"):
        await session.run(text)
        await session.run("true")
    assert len(descendants()) == len(processes)
    assert len(open_descriptors()) == len(descriptors)
    assert len(files(run_directory)) == len(left_files)


async def test_an_engine_leaves_nothing(root: Path, run_directory: Path) -> None:
    processes, descriptors = descendants(), open_descriptors()
    for _ in range(3):
        async with sessions.open_engine(root) as engine:
            session = await engine.create_session()
            await session.run("sleep 600 & echo x")
            await session.run_async("sleep 600", detach=True)
    assert descendants() == processes
    assert open_descriptors() == descriptors
    assert [path for path in run_directory.rglob("*") if path.name != "sessions"] == []


def test_an_engine_in_a_program_that_is_process_1_leaves_no_zombie(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import json, os, psutil, sys, trio, sessions\n"
        "async def main():\n"
        "    async with sessions.open_engine(sys.argv[1]) as engine:\n"
        "        async with engine.open_session() as session:\n"
        "            await session.run('(setsid sleep 600 &); (sleep 0 &); setsid true & sleep 600 & disown')\n"
        "        inside = [p.name() for p in psutil.process_iter() if p.status() == psutil.STATUS_ZOMBIE]\n"
        "    print(json.dumps([os.getpid(), inside, [p.pid for p in psutil.process_iter()]]))\n"
        "trio.run(main)\n"
    )
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, str(program), str(tmp_path / "root")]
    try:
        subprocess.run([*command[:4], "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a process namespace can NOT BE MADE here")
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.stderr == ""
    assert json.loads(result.stdout) == [1, [], [1]]
