"""A disk that runs full: commands wait, the session says so, nothing is lost, and all goes on once there is space.

The disk is a small file system in memory.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shlex
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
import trio
from conftest import leftovers
from small_disk import MEBIBYTE, Disk, disk

import sessions

__all__ = ["disk"]  # a fixture


@pytest.fixture
async def engine(disk: Disk) -> AsyncIterator[sessions.Engine]:
    """An engine on the small disk, in place of the usual one."""
    async with sessions.open_engine(disk.root, limits=sessions.Limits(kill_grace_seconds=1.0)) as engine:
        yield engine
        ids = {session.id for session in await engine.list_sessions()}
        with contextlib.suppress(FileNotFoundError):
            disk.free()
    assert leftovers(ids) == []


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(30):
        while not condition():
            await trio.sleep(0.01)


async def until_state(session: sessions.Session, state: str) -> None:
    await until(lambda: session.state == state)


def is_running(command: sessions.Command) -> bool:
    """Whether a process of it is there, whatever is written down."""
    for process in leftovers({command.session_id}):
        with contextlib.suppress(psutil.Error):
            if process.environ().get("SESSIONS_COMMAND_ID") == command.id:
                return True
    return False


def data_file(directory: Path, name: str, size: int) -> tuple[str, bytes]:
    """The path of a file of random bytes, quoted, and these."""
    data = random.randbytes(size)
    (directory / name).write_bytes(data)
    return shlex.quote(str(directory / name)), data


def same(found: bytes, expected: bytes) -> bool:
    # Not compared by ==: showing the difference of such values would take minutes.
    return len(found) == len(expected) and found == expected


async def test_nothing_is_lost(engine: sessions.Engine, session: sessions.Session, disk: Disk, tmp_path: Path) -> None:
    (out, stdout), (err, stderr) = data_file(tmp_path, "out", 5 * MEBIBYTE), data_file(tmp_path, "err", 3 * MEBIBYTE)
    disk.fill(but=4 * MEBIBYTE)
    background = await session.run_async(f"cat {out} & cat {err} >&2; wait; exit 7")
    foreground = await session.run_async(f"seq 200000; cat {err} >&2; (exit 8)", in_shell=True)
    followed: dict[str, bytes] = {background.id: b"", foreground.id: b""}

    async def follow() -> None:
        async with sessions.follow_all([background, foreground]) as records:
            async for command, record in records:
                followed[command.id] += record.data

    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        await until_state(session, "stalled")
        assert session.problem is not None
        assert os.strerror(errno.ENOSPC) in session.problem
        assert (background.state, foreground.state) == ("running", "running")
        assert (await engine.get_session("test")).state == "stalled"
        assert [one.state for one in await engine.list_sessions(state="stalled")] == ["stalled"]
        part = (await background.logs()).stdout  # what is there, can be read
        assert same(part, stdout[: len(part)])
        disk.free()
        with trio.fail_after(60):
            await background.wait()
            await foreground.wait()
    await until_state(session, "open")
    assert session.problem is None
    assert (background.exit_code, foreground.exit_code) == (7, 8)
    logs = await background.logs()
    assert same(logs.stdout, stdout)
    assert same(logs.stderr, stderr)
    assert logs.dropped_bytes == 0
    assert same(followed[background.id], logs.output)
    logs = await foreground.logs()
    assert same(logs.stdout, b"".join(b"%d\n" % number for number in range(1, 200001)))
    assert same(logs.stderr, stderr)
    assert same(followed[foreground.id], logs.output)
    assert (await session.run("echo on")).stdout == "on\n"


@pytest.fixture
async def stalled(session: sessions.Session, disk: Disk, tmp_path: Path) -> sessions.Command:
    """A running command that has filled the disk."""
    data, _ = data_file(tmp_path, "data", 2 * MEBIBYTE)
    disk.fill(but=MEBIBYTE)
    command = await session.run_async(f"cat {data}; cat")
    await until_state(session, "stalled")
    return command


async def test_a_stalled_session_takes_no_commands(
    engine: sessions.Engine, session: sessions.Session, stalled: sessions.Command, disk: Disk
) -> None:
    for verb in (session.run, session.run_async):
        with trio.fail_after(10), pytest.raises(sessions.Broken, match=r"'test' takes no commands now: .*[Nn]o space"):
            await verb("touch /tmp/never")
    assert [command.id for command in await session.list_commands()] == [stalled.id]
    disk.free()
    await until_state(session, "open")
    with trio.fail_after(30):
        await stalled.wait()
    assert [(await session.run("echo on")).command.id] == [f"{session.id}-2"]


async def test_no_session_is_created_on_a_full_disk(
    engine: sessions.Engine, session: sessions.Session, disk: Disk
) -> None:
    disk.fill()
    processes = set(psutil.Process().children(recursive=True))
    files = set(disk.root.glob("sessions/*"))
    with trio.fail_after(10), pytest.raises(sessions.Broken, match=r"'another'.* can't be created in .*disk"):
        for _ in range(10_000):  # the catalog may have a little space left
            await (await engine.create_session("another")).close()
            files = set(disk.root.glob("sessions/*"))
            disk.fill()
    assert set(psutil.Process().children(recursive=True)) <= processes
    assert set(disk.root.glob("sessions/*")) == files
    disk.free()
    assert (await (await engine.create_session("another")).run("echo on")).stdout == "on\n"


async def test_other_roots_and_other_sessions_are_unharmed(
    engine: sessions.Engine, stalled: sessions.Command, root: Path
) -> None:
    with trio.fail_after(30):
        async with sessions.open_engine(root) as other, other.open_session() as session:
            for number in range(20):
                assert (await session.run(f"echo {number}")).stdout == f"{number}\n"
            assert session.state == "open"
    assert stalled.state == "running"


async def test_an_end_that_can_not_be_written_is_told_later(
    session: sessions.Session, disk: Disk, tmp_path: Path
) -> None:
    # All that it writes fits into the pipe, so it is over long before its log is.
    data, expected = data_file(tmp_path, "data", 40_000)
    command = await session.run_async(f"read -r x; cat {data}; exit 3", stdin=True)
    disk.fill()
    await command.send_input("go\n")
    await until_state(session, "stalled")
    await until(lambda: not is_running(command))
    assert (command.state, command.exit_code) == ("running", None)
    disk.free()
    with trio.fail_after(30):
        assert (await command.wait()).exit_code == 3
    assert same((await command.logs()).stdout, expected)


@pytest.mark.parametrize("how", ["kill", "timeout", "close"])
async def test_what_ends_meanwhile_has_its_outcome_once_there_is_space(
    engine: sessions.Engine, session: sessions.Session, disk: Disk, tmp_path: Path, how: str
) -> None:
    data, expected = data_file(tmp_path, "data", 8 * MEBIBYTE)
    disk.fill(but=MEBIBYTE)
    command = await session.run_async(f"cat {data}", timeout=0.2 if how == "timeout" else None)
    await until_state(session, "stalled")
    async with trio.open_nursery() as nursery:
        if how != "timeout":
            nursery.start_soon(command.kill if how == "kill" else session.close)
        await until(lambda: not is_running(command))  # at once, space or not
        disk.free()
        with trio.fail_after(30):
            await command.wait()
    assert command.reason == {"kill": "killed", "timeout": "timeout", "close": "session_closed"}[how]
    logs = await command.logs()
    assert MEBIBYTE // 2 < len(logs.stdout) < len(expected)
    assert same(logs.stdout, expected[: len(logs.stdout)])
    assert (await engine.get_session("test")).state == ("closed" if how == "close" else "open")


async def test_what_was_never_written_down_is_found_by_the_next_engine(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessions.closing.STALL_SECONDS", 0.5)
    data, expected = data_file(tmp_path, "data", 8 * MEBIBYTE)
    async with sessions.open_engine(disk.root, limits=sessions.Limits(kill_grace_seconds=0.5)) as engine:
        session = await engine.create_session("test")
        disk.fill(but=MEBIBYTE)
        command = await session.run_async(f"cat {data}")
        await until_state(session, "stalled")
        # The block ends although nothing can be written.
    assert leftovers({session.id}) == []
    disk.free()
    async with sessions.open_engine(disk.root) as engine:
        assert (await engine.get_session(session.id)).state == "lost"
        found = await engine.get_command(command.id)
        assert (found.state, found.reason, found.exit_code) == ("finished", "lost", None)
        logs = await found.logs()
        assert same(logs.stdout, expected[: len(logs.stdout)])
        assert len(logs.stdout) == found.stdout_bytes > 0
        await engine.create_session("test")


async def test_whoever_waits_for_what_was_never_written_down_is_told(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sessions.closing.STALL_SECONDS", 0.5)
    data, _ = data_file(tmp_path, "data", 8 * MEBIBYTE)
    with trio.fail_after(30):
        async with trio.open_nursery() as outside:

            async def wait(command: sessions.Command) -> None:
                assert (await command.wait()).reason == "lost"

            async def wait_for(command: sessions.Command) -> None:
                with pytest.raises(sessions.EndedFirst, match=r"ended \(lost"):
                    await command.wait_for("never")

            async def follow(command: sessions.Command) -> None:
                with pytest.raises(sessions.Closed, match="engine is closed"):
                    await command.follow()

            async with sessions.open_engine(disk.root, limits=sessions.Limits(kill_grace_seconds=0.5)) as engine:
                session = await engine.create_session("test")
                disk.fill(but=MEBIBYTE)
                command = await session.run_async(f"cat {data}")
                for verb in (wait, wait_for, follow):
                    outside.start_soon(verb, command)
                await until_state(session, "stalled")
    disk.free()


async def test_what_a_closed_session_has_yet_to_write_goes_into_no_other_file(
    engine: sessions.Engine, session: sessions.Session, disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is written its log stays open, so that the numbers of its descriptors are not another file's."""
    monkeypatch.setattr("sessions.closing.STALL_SECONDS", 0.1)
    data, expected = data_file(tmp_path, "data", 8 * MEBIBYTE)
    disk.fill(but=MEBIBYTE)
    command = await session.run_async(f"cat {data}")
    await until_state(session, "stalled")
    await session.close(grace=0)
    assert (session.state, command.state) == ("closed", "running")
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context((tmp_path / f"other{number}").open("w+b")) for number in range(4)]
        disk.free()
        with trio.fail_after(30):
            assert (await command.wait()).reason == "session_closed"
        await until(lambda: session.id not in engine.archive.live)
        assert [other.read() for other in others] == [b""] * 4
    written = (await command.logs()).stdout
    assert len(written) > 0
    assert same(written, expected[: len(written)])
    assert engine.archive.catalog.list_sessions()[0].state == "closed"


async def test_an_engine_is_not_opened_on_a_full_disk(disk: Disk, root: Path) -> None:
    disk.fill()
    with trio.fail_after(10), pytest.raises(sessions.Broken, match="space"):
        async with sessions.open_engine(disk.root):
            pass
    disk.free()
    async with sessions.open_engine(disk.root) as engine, engine.open_session() as session:
        assert (await session.run("echo on")).stdout == "on\n"
