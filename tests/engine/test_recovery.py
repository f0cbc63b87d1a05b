"""What a program that was ended with kill -9 leaves, and what the next engine on its root makes of it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import attrs
import psutil
import pytest
import trio
from conftest import leftovers

import sessions
from sessions.store.reading import TranscriptReader

PROGRAM = """
import json, sys, trio, sessions

COUNT = "i=0; while :; do echo $((i += 1)); sleep 0.02; done"

async def main():
    async with sessions.open_engine(sys.argv[1]) as engine:
        build, other = await engine.create_session("build"), await engine.create_session("other")
        done = await (await build.run_async("echo done; exit 3")).wait()
        commands = [await build.run_async("trap '' PIPE; " + COUNT) for n in range(17)]
        commands.append(await build.run_async("nohup env -i sleep 600 & " + COUNT))
        commands.append(await build.run_async(COUNT, in_shell=True))
        commands.append(await other.run_async("trap '' INT TERM HUP; " + COUNT, in_shell=True))
        queued = await other.run_async("echo never", in_shell=True)
        for command in commands:
            await command.wait_for("^5$")
        ids = [command.id for command in commands]
        print(json.dumps({"running": ids, "queued": queued.id, "done": done.id, "sessions": [build.id, other.id]}), flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


@attrs.frozen
class Victim:
    """A program with an engine and 20 running commands."""

    root: Path
    process: subprocess.Popen[str]
    keeper: psutil.Process
    run_directory: Path
    running: list[str]
    queued: str
    done: str
    sessions: list[str]

    def processes(self) -> list[psutil.Process]:
        """The keeper and all below it."""
        return [self.keeper, *self.keeper.children(recursive=True)]

    def transcript(self) -> bytes:
        return (self.root / "sessions" / self.sessions[0] / "transcript").read_bytes()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def victim(root: Path) -> Iterator[Victim]:
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, root], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        try:
            facts = json.loads(process.stdout.readline())
            (owner,) = (root / "engines").iterdir()
            directory = Path(json.loads(owner.read_text())["run_directory"])
            (keeper,) = psutil.Process(process.pid).children()
            everything = [keeper, *keeper.children(recursive=True)]
            yield Victim(root, process, keeper, directory, **facts)
        finally:
            process.kill()
    for one in [*everything, *leftovers(set(facts["sessions"]))]:
        if is_alive(one):
            one.kill()


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def survivors(processes: list[psutil.Process], seconds: float = 10) -> list[psutil.Process]:
    """Those that have not ended after a while. A dead one that nobody has reaped doesn't count."""
    deadline = time.monotonic() + seconds
    while (alive := [process for process in processes if is_alive(process)]) and time.monotonic() < deadline:
        time.sleep(0.01)
    return alive


def counted(output: bytes) -> int:
    """Up to what `output` counts without a gap; -1 if there is one."""
    numbers = output.decode().split("\n")
    complete = [str(number) for number in range(1, len(numbers))]
    return len(complete) if numbers[:-1] == complete and str(len(numbers)).startswith(numbers[-1]) else -1


async def check_lost(engine: sessions.Engine, victim: Victim, before: bytes) -> None:
    for command_id in (*victim.running, victim.queued):
        command = await engine.get_command(command_id)
        assert (command.state, command.reason, command.exit_code) == ("finished", "lost", None)
        assert command.finished_at is not None
        logs = await command.logs()
        assert (command.stdout_bytes, command.stderr_bytes) == (len(logs.stdout), len(logs.stderr))
        with trio.fail_after(10):
            assert (await command.wait()).reason == "lost"
            async with command.follow() as records:
                assert b"".join([record.data async for record in records]) == logs.output
        if command_id == victim.queued:
            assert (command.started_at, logs.output) == (None, b"")
        else:
            assert counted(logs.output) >= 5
    done = await engine.get_command(victim.done)
    assert (done.reason, done.exit_code, (await done.logs()).output) == ("exit", 3, b"done\n")

    lost = [await engine.get_session(name) for name in ("build", "other")]
    assert [(session.id, session.state) for session in lost] == [(one, "lost") for one in victim.sessions]
    # Every byte that was in the log has an owner, and nothing of it is lost.
    output = (await lost[0].logs()).output
    assert output.startswith(before)
    assert output == victim.transcript()
    assert sum(command.size_bytes for command in await lost[0].list_commands()) == len(output)
    assert leftovers(set(victim.sessions)) == []
    assert not victim.run_directory.exists()
    assert os.listdir(victim.root / "engines") == [engine.id]
    # Nothing stands in the way of going on.
    assert (await (await engine.create_session("build")).run("echo on")).stdout == "on\n"


async def test_the_engine_alone_is_killed(victim: Victim) -> None:
    processes = victim.processes()
    before = victim.transcript()
    victim.kill()
    async with sessions.open_engine(victim.root) as engine:
        await check_lost(engine, victim, before)
        assert survivors(processes) == []


async def test_the_keeper_alone_sees_to_it_that_nothing_goes_on(victim: Victim) -> None:
    processes = victim.processes()
    victim.kill()
    assert survivors(processes) == []
    assert not victim.run_directory.exists()


async def test_engine_and_keeper_are_killed(victim: Victim) -> None:
    victim.process.send_signal(signal.SIGSTOP)  # so that it doesn't notice
    before = victim.transcript()
    victim.keeper.kill()
    victim.kill()
    # With the keeper gone, the mark is all by which a process can be found: an orphan that has thrown it away goes on.
    marked = leftovers(set(victim.sessions))
    assert any(is_alive(process) for process in marked)
    async with sessions.open_engine(victim.root) as engine:
        await check_lost(engine, victim, before)
        assert survivors(marked) == []


@pytest.mark.parametrize("stopped", ["commands", "shells", "keeper"])
async def test_the_engine_is_killed_while_something_is_stopped(victim: Victim, stopped: str) -> None:
    processes = victim.processes()
    shells = victim.keeper.children()
    for process in {"commands": processes[1:], "shells": shells, "keeper": [victim.keeper]}[stopped]:
        if is_alive(process):  # a `sleep` may have ended by now
            process.suspend()
    before = victim.transcript()
    victim.kill()
    async with sessions.open_engine(victim.root) as engine:
        await check_lost(engine, victim, before)
        assert survivors(processes) == []


async def test_each_end_is_told_once_also_if_two_engines_clean_up_at_once(victim: Victim) -> None:
    before = victim.transcript()
    victim.kill()
    opened = trio.Event()

    async def clean_up(index: int) -> None:
        async with sessions.open_engine(victim.root) as engine:
            with trio.fail_after(20):
                for command_id in (*victim.running, victim.queued):
                    command = await (await engine.get_command(command_id)).wait()
                    assert (command.reason, command.exit_code) == ("lost", None)
            if index:
                opened.set()
            else:
                await opened.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(clean_up, 0)
        nursery.start_soon(clean_up, 1)
    async with sessions.open_engine(victim.root) as engine:
        await check_lost(engine, victim, before)
        ends = Counter[tuple[str, str]]()
        last = await engine.create_session("last")
        async with engine.watch(after=0) as events:
            async for event in events:
                if event.session_id == last.id:
                    break
                if event.type in ("command_finished", "session_closed"):
                    ends[event.type, event.command_id or event.session_id] += 1
        expected = [("command_finished", one) for one in (*victim.running, victim.queued, victim.done)]
        expected += [("session_closed", one) for one in victim.sessions]
        build_again = (await engine.get_session("build")).id
        assert {key: n for key, n in ends.items() if not key[1].startswith(build_again)} == dict.fromkeys(expected, 1)
    marks = Counter[int]()
    reader = TranscriptReader.open(victim.sessions[0], victim.root / "sessions" / victim.sessions[0])
    marks.update(span.number for span in reader.spans(0, reader.count()[0]) if span.is_finish)
    reader.close()
    assert set(marks.values()) == {1}


# Roots made to look as if their engine had died


async def make_dead_root(root: Path, texts: list[str], owner: bytes) -> list[sessions.Command]:
    """A root whose catalog says of finished commands that they run, and whose engine has left this file."""
    async with sessions.open_engine(root) as engine:
        session = await engine.create_session("test")
        commands = [await (await session.run_async(text)).wait() for text in texts]
        engine_id = engine.id
    with sqlite3.connect(root / "catalog.sqlite3") as catalog:
        catalog.execute(
            "UPDATE commands SET state = 'running', finished_at = NULL, reason = NULL, exit_code = NULL,"
            " last_seq = first_seq, stdout_bytes = 0, stderr_bytes = 0"
        )
        catalog.execute("UPDATE sessions SET state = 'open', closed_at = NULL")
    catalog.close()
    (root / "engines" / engine_id).write_bytes(owner)
    return commands


def owner_file(pid: int = 1, run_directory: object = "/nowhere/run/x") -> bytes:
    return json.dumps({"pid": pid, "run_directory": run_directory}).encode()


async def test_a_command_whose_end_is_in_the_log_keeps_it(root: Path) -> None:
    texts = ["echo out; echo err >&2", "exit 3", "kill -9 $BASHPID"]
    before = await make_dead_root(root, texts, owner_file())
    async with sessions.open_engine(root) as engine:
        after = await engine.list_commands()
        assert [(command.reason, command.exit_code) for command in after] == [("exit", 0), ("exit", 3), ("signal", 137)]
        for one, other in zip(before, after, strict=True):
            assert (one.stdout_bytes, one.stderr_bytes) == (other.stdout_bytes, other.stderr_bytes)
            assert one.info.last_seq == other.info.last_seq
            assert one.started_at is not None
            assert one.finished_at is not None
            assert other.finished_at is not None
            assert one.started_at == other.started_at
            assert one.started_at <= other.finished_at <= one.finished_at
        assert (await after[0].logs()).stderr == b"err\n"
        assert (await engine.get_session("test")).state == "lost"


async def test_a_torn_log_keeps_what_is_there(root: Path) -> None:
    (command,) = await make_dead_root(root, ["seq 1000"], owner_file())
    directory = root / "sessions" / command.session_id
    whole = (directory / "transcript").read_bytes()
    # As if the engine had died within the last write: a record that claims more than is there, and no mark of the end.
    (directory / "index").write_bytes((directory / "index").read_bytes()[: 2 * 24] + b"torn")
    (directory / "transcript").write_bytes(whole[:1234])
    async with sessions.open_engine(root) as engine:
        after = await engine.get_command(command.id)
        assert (after.reason, after.exit_code, after.stdout_bytes) == ("lost", None, 1234)
        logs = await after.logs()
        assert (logs.stdout, logs.dropped_bytes) == (whole[:1234], 0)


async def test_a_command_whose_log_is_gone_is_lost_too(root: Path) -> None:
    (command,) = await make_dead_root(root, ["true"], owner_file())
    directory = root / "sessions" / command.session_id
    for file in directory.iterdir():
        file.unlink()
    directory.rmdir()
    async with sessions.open_engine(root) as engine:
        assert (await engine.list_commands())[0].reason == "lost"


@pytest.fixture
def unrelated() -> Iterator[psutil.Process]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield psutil.Process(process.pid)
        process.kill()


async def test_an_unrelated_process_with_the_pid_of_the_dead_one_is_not_touched(
    root: Path, tmp_path: Path, unrelated: psutil.Process
) -> None:
    precious = tmp_path / "precious" / "directory"
    precious.mkdir(parents=True)
    await make_dead_root(root, ["true"], owner_file(unrelated.pid, str(precious)))
    async with sessions.open_engine(root) as engine:
        assert (await engine.get_session("test")).state == "lost"
    assert is_alive(unrelated)
    assert unrelated.status() != psutil.STATUS_STOPPED
    assert precious.exists()


@pytest.mark.parametrize(
    "owner",
    [b"", b"{", b"\xff\xfe", b"null", b"[]", b"7", owner_file(run_directory=5), owner_file(run_directory="a\0b")],
)
async def test_a_damaged_owner_file_stands_for_a_dead_engine(root: Path, owner: bytes) -> None:
    await make_dead_root(root, ["true"], owner)
    async with sessions.open_engine(root) as engine:
        assert (await engine.get_session("test")).state == "lost"
        assert os.listdir(root / "engines") == [engine.id]


async def test_sessions_whose_owner_has_left_no_file_are_lost(root: Path) -> None:
    await make_dead_root(root, ["true"], owner_file())
    for file in (root / "engines").iterdir():
        file.unlink()
    async with sessions.open_engine(root) as engine:
        assert (await engine.get_session("test")).state == "lost"
        await engine.create_session("test")


async def test_an_engine_that_holds_its_lock_is_alive_whatever_its_pid(root: Path) -> None:
    await make_dead_root(root, ["true"], owner_file(pid=2**22 + 1))
    (path,) = (root / "engines").iterdir()
    descriptor = os.open(path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    async with sessions.open_engine(root) as engine:
        assert (await engine.get_session("test")).state == "open"
        assert [command.state for command in await engine.list_commands()] == ["running"]
        os.close(descriptor)
        assert (await engine.get_session("test")).state == "lost"
