"""Ending commands: a kill, a timeout or a cancellation reaches all that a command started, and never costs the shell."""

from __future__ import annotations

import contextlib
import shlex
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import trio
from conftest import SHELLS
from left_behind import DEAF, LEAVE, present

import sessions
from sessions.shell import processes
from sessions.shell.processes import Seen
from sessions.stopping import Census, freeze

AT_ONCE_SECONDS = 10
"""Far less than what is stopped here would take, far more than a busy machine needs."""

TREE = {
    "child": f"{LEAVE} &",
    "group of its own": f"setsid {LEAVE} &",
    "double fork": f"( ( {LEAVE} & ) & )",
    "nohup": f"nohup {LEAVE} >/dev/null 2>&1 &",
    "orphan in a group of its own": f"(setsid setsid {LEAVE} & )",
    "deaf": f"{DEAF} &",
    "deaf orphan in a group of its own": f"(setsid {DEAF} &)",
    "pipeline": f"{LEAVE} | cat | cat &",
    "daemon": f"setsid sh -c '({LEAVE.replace(chr(39), chr(34)).replace('$$', chr(92) + '$$')} </dev/null >/dev/null 2>&1 &)'",
}
START_TREE = "\n".join(TREE.values()) + f"\nuntil [ $(wc -l <pids) -ge {len(TREE)} ]; do sleep 0.01; done; echo ready\n"
"""Starts one of each, and says when all have written their numbers to the file ``pids``."""

STUBBORN = {
    "loop": "while :; do :; done",
    "function that loops over short children": "f() { while :; do sleep 0.01; done; }; f",
    "short children": "while :; do /bin/true; done",
    "pipeline": "sleep 600 | cat",
    "subshell": "(while :; do sleep 0.01; done)",
    "nested shells": "sh -c 'sh -c \"sleep 600; true\"; true'; true",
    "command substitution": "x=$(sleep 600); echo $x",
    "child that ignores INT": "sh -c 'trap \"\" INT; while :; do sleep 0.05; done'",
    "child that ignores INT and TERM": "sh -c 'trap \"\" INT TERM; while :; do sleep 0.05; done'",
    "child that handles INT and goes on": "sh -c 'trap : INT; while :; do sleep 0.05; done'",
    "ignoring them in the shell": "trap '' INT TERM; sleep 600; trap - INT TERM",
    "wait": "sleep 600 & wait",
    "reading what never comes": "mkfifo never; read x <>never",
    "shell that stopped itself": "kill -STOP $$",
    "loop that waits": "until false; do sleep 600 & wait $!; done",
}


@pytest.fixture
async def engine(root: Path) -> AsyncIterator[sessions.Engine]:
    """With a grace so short that those who use it up don't make these tests slow."""
    async with sessions.open_engine(root, limits=sessions.Limits(kill_grace_seconds=0.3)) as engine:
        yield engine


def alive(directory: Path) -> list[psutil.Process]:
    """Who of those that wrote their numbers down still lives."""
    return [process for process in present(directory) if process.status() != psutil.STATUS_ZOMBIE]


async def all_there(command: sessions.Command, directory: Path) -> None:
    """The tree has grown to its full size."""
    await command.wait_for("ready", timeout=60)
    assert len(alive(directory)) == len(TREE)


# The whole tree


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("in_shell", [True, False])
async def test_kill_reaches_the_whole_tree(engine: sessions.Engine, tmp_path: Path, shell: str, in_shell: bool) -> None:
    session = await engine.create_session(shell=shell, cwd=tmp_path)
    command = await session.run_async(START_TREE + "sleep 600", in_shell=in_shell)
    await all_there(command, tmp_path)
    await command.kill(grace=0.2)
    assert alive(tmp_path) == []
    assert (command.state, command.reason) == ("finished", "killed")
    assert (await session.run("echo alive")).stdout == "alive\n"


@pytest.mark.parametrize("in_shell", [True, False])
async def test_a_timeout_reaches_the_whole_tree(engine: sessions.Engine, tmp_path: Path, in_shell: bool) -> None:
    session = await engine.create_session(cwd=tmp_path)
    command = await session.run_async(START_TREE + "sleep 600", in_shell=in_shell, timeout=3)
    await all_there(command, tmp_path)
    await command.wait()
    assert command.reason == "timeout"
    # What ignores signals outlives the command by the grace. A kill waits for the same end.
    await command.kill(grace=600)
    assert alive(tmp_path) == []


async def test_cancelling_the_caller_reaches_the_whole_tree(engine: sessions.Engine, tmp_path: Path) -> None:
    session = await engine.create_session(cwd=tmp_path)
    with trio.CancelScope() as scope:
        await session.run(START_TREE + "sleep 600", on_stdout=lambda text: scope.cancel() if "ready" in text else None)
    assert scope.cancelled_caught
    assert alive(tmp_path) == []
    [command] = await session.list_commands()
    assert (command.state, command.reason) == ("finished", "killed")
    assert (await session.run("echo alive")).stdout == "alive\n"


async def test_kill_of_a_finished_command_ends_what_it_left_behind(engine: sessions.Engine, tmp_path: Path) -> None:
    session = await engine.create_session(cwd=tmp_path)
    command = (await session.run(START_TREE)).command
    assert len(alive(tmp_path)) == len(TREE)
    await command.kill(grace=0.2)
    assert alive(tmp_path) == []
    assert (command.exit_code, command.reason) == (0, "exit")


@pytest.mark.parametrize("in_shell", [True, False])
async def test_kill_reaches_who_loses_its_parent_by_it(engine: sessions.Engine, tmp_path: Path, in_shell: bool) -> None:
    """It carries no mark and has a group of its own: once its parent has gone, nothing shows whose it is."""
    session = await engine.create_session(cwd=tmp_path)
    command = await session.run_async(
        "sh -c 'env -i PATH=$PATH setsid sh -c \"echo \\$\\$ >pids; exec sleep 600\" & sleep 600' &"
        "until [ -s pids ]; do sleep 0.01; done; echo ready; wait",
        in_shell=in_shell,
    )
    await command.wait_for("ready", timeout=60)
    [orphan] = alive(tmp_path)
    await command.kill()
    assert not orphan.is_running()


async def test_kill_spares_the_other_commands(engine: sessions.Engine, tmp_path: Path) -> None:
    session = await engine.create_session(cwd=tmp_path)
    other = (await session.run(START_TREE)).command
    beside = await session.run_async("read x; echo got $x", stdin=True)
    victims = [await session.run_async("sleep 600", in_shell=in_shell) for in_shell in (True, False)]
    for victim in victims:
        await victim.kill()
    assert len(alive(tmp_path)) == len(TREE)
    await beside.send_input("it\n")
    assert (await beside.wait()).exit_code == 0
    await other.kill(grace=0)


async def test_without_a_grace_there_is_no_signal_before_the_last(engine: sessions.Engine) -> None:
    session = await engine.create_session()
    command = await session.run_async("echo ready; exec sleep 600")
    await command.wait_for("ready")
    await command.kill(grace=0)
    assert (command.reason, command.exit_code) == ("killed", 137)


async def test_the_port_of_a_killed_server_is_free(engine: sessions.Engine) -> None:
    session = await engine.create_session()
    listen = (
        "import signal, socket; s = socket.create_server(('127.0.0.1', 0));"
        " print('port', s.getsockname()[1], flush=True); signal.pause()"
    )
    command = await session.run_async(f"setsid {shlex.quote(sys.executable)} -c {shlex.quote(listen)} & wait")
    port = int((await command.wait_for(r"port (\d+)\n"))[1])
    await command.kill()
    with socket.socket() as again:
        again.bind(("127.0.0.1", port))


async def test_a_graceful_end_is_waited_for(engine: sessions.Engine) -> None:
    session = await engine.create_session()
    text = "trap 'echo cleaning up; sleep 0.3; echo clean; exit 0' TERM; echo on; while :; do sleep 0.01; done"
    command = await session.run_async(text)
    await command.wait_for("on")
    await command.kill(grace=30)
    assert (await command.logs()).stdout == b"on\ncleaning up\nclean\n"
    assert command.reason == "killed"


async def test_a_stopped_process_is_ended_too(engine: sessions.Engine) -> None:
    session = await engine.create_session()
    command = await session.run_async("exec sh -c 'trap \"echo bye; exit\" TERM; echo on; kill -STOP $$; sleep 600'")
    await command.wait_for("on")
    await command.kill(grace=30)
    assert (await command.logs()).stdout == b"on\nbye\n"


async def test_a_queued_command_that_is_killed_never_runs(engine: sessions.Engine, tmp_path: Path) -> None:
    session = await engine.create_session(cwd=tmp_path)
    first = await session.run_async("sleep 600", in_shell=True)
    queued = await session.run_async("touch ran", in_shell=True)
    interrupted = await session.run_async("touch ran", in_shell=True)
    await queued.kill()
    await interrupted.interrupt()
    for command in (queued, interrupted):
        assert (command.state, command.reason, command.exit_code) == ("finished", "killed", None)
        assert command.started_at is None
    await first.kill()
    await session.run("true")
    assert not (tmp_path / "ran").exists()


# The shell stays


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_timeout_keeps_the_shell(engine: sessions.Engine, tmp_path: Path, shell: str) -> None:
    survived: set[str] = set()

    async def one(name: str, directory: Path) -> None:
        directory.mkdir()
        session = await engine.create_session(shell=shell, cwd=directory)
        await session.run("mkdir inner; cd inner; export A=1; b=2; f2() { echo three; }")
        before = (await session.run("echo $$")).stdout
        result = await session.run(STUBBORN[name], timeout=0.3)
        assert (name, result.reason, result.shell_ended) == (name, "timeout", False)
        assert (name, result.exit_code in (0, None)) == (name, False)
        after = await session.run("echo $$; pwd; echo $A $b; f2")
        assert (name, after.stdout) == (name, f"{before}{directory}/inner\n1 2\nthree\n")
        assert not after.restarted
        survived.add(name)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for number, name in enumerate(STUBBORN):
                nursery.start_soon(one, name, tmp_path / str(number))
    assert survived == set(STUBBORN)


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_shell_survives_one_timeout_after_the_other(engine: sessions.Engine, shell: str) -> None:
    session = await engine.create_session(shell=shell)
    before = (await session.run("A=1; echo $$")).stdout
    for number in range(20):
        result = await session.run("f() { while :; do sleep 0.01; done; }; f", timeout=0.01)
        assert result.reason == "timeout"
        assert (await session.run(f"echo {number} $A $$")).stdout == f"{number} 1 {before}"


async def test_no_interrupt_reaches_the_command_after_a_timeout(engine: sessions.Engine) -> None:
    session = await engine.create_session()
    loop = await session.run_async("while :; do sleep 0.01; done", in_shell=True, timeout=0.1)
    program = (
        "import signal, time; hits = []; signal.signal(signal.SIGINT, lambda *_: hits.append(1));"
        " time.sleep(0.3); print(len(hits))"
    )
    next_one = await session.run_async(f"{shlex.quote(sys.executable)} -c {shlex.quote(program)}", in_shell=True)
    assert (await loop.wait()).reason == "timeout"
    assert (await next_one.wait()).exit_code == 0
    assert (await next_one.logs()).stdout == b"0\n"


@pytest.mark.parametrize("shell", SHELLS)
async def test_cancelling_the_caller_keeps_the_shell(engine: sessions.Engine, shell: str) -> None:
    session = await engine.create_session(shell=shell)
    before = (await session.run("A=1; echo $$")).stdout
    with trio.fail_after(AT_ONCE_SECONDS), trio.CancelScope() as scope:
        await session.run("echo on; while :; do sleep 0.01; done", on_stdout=lambda _: scope.cancel())
    assert scope.cancelled_caught
    assert (await session.run("echo $A $$")).stdout == f"1 {before}"


# What a timeout is


async def test_a_timeout_reaches_a_pipeline(engine: sessions.Engine) -> None:
    session = await engine.create_session()
    with trio.fail_after(AT_ONCE_SECONDS):
        result = await session.run("sleep 600 | cat", timeout=0.2)
    assert result.reason == "timeout"
    assert result.command.duration_seconds is not None
    assert result.command.duration_seconds >= 0.2


@pytest.mark.parametrize("in_shell", [True, False])
async def test_silence_ends_a_command_with_idle_timeout(engine: sessions.Engine, in_shell: bool) -> None:
    session = await engine.create_session()
    command = await session.run_async("echo last word; sleep 600", in_shell=in_shell, idle_timeout=1)
    with trio.fail_after(AT_ONCE_SECONDS):
        await command.wait()
    assert (command.reason, (await command.logs()).stdout) == ("timeout", b"last word\n")


async def test_a_command_that_speaks_outlives_its_idle_timeout(engine: sessions.Engine) -> None:
    session = await engine.create_session()
    text = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 0.2; echo $i >&2; done"
    result = await session.run(text, idle_timeout=2)
    assert (result.reason, result.exit_code, len(result.stderr.split())) == ("exit", 0, 12)
    assert result.command.duration_seconds is not None
    assert result.command.duration_seconds > 2


async def test_a_timeout_that_is_not_reached_changes_nothing(engine: sessions.Engine) -> None:
    session = await engine.create_session()
    result = await session.run("echo quick; (exit 4)", timeout=600, idle_timeout=600)
    assert (result.reason, result.exit_code, result.stdout) == ("exit", 4, "quick\n")


async def test_who_is_continued_while_others_are_being_stopped_is_stopped_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A shell may continue its job right before it is stopped itself."""
    send = processes.send
    tries = 0

    def send_and_continue_once(found: list[Seen], number: int) -> None:
        nonlocal tries
        send(found, number)
        tries += 1
        if tries == 1:
            send(found, signal.SIGCONT)

    monkeypatch.setattr(processes, "send", send_and_continue_once)
    async with trio.open_nursery() as nursery:
        process = await nursery.start(trio.run_process, [sys.executable, "-c", "while True: pass"])
        try:
            with trio.fail_after(AT_ONCE_SECONDS), contextlib.closing(Census()) as census:
                await freeze(census, lambda all_seen: [seen for seen in all_seen if seen.pid == process.pid])
            assert psutil.Process(process.pid).status() == psutil.STATUS_STOPPED
        finally:
            nursery.cancel_scope.cancel()
            process.kill()
