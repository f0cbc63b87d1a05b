"""What once left bytes that nobody could remove any more, or let an error of the disk escape: prune, delete, and what is stored late."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import trio
from killed_program import killed_program
from large_logs import MEBIBYTE, disk_bytes, numbers, pour, transcript

import sessions
from sessions.cli.reading import RootReader
from sessions.store import catalog
from sessions.store.catalog import session_of

LITTLE_BYTES = 64 << 10
"""Less than any of the outputs here."""

# Cancelled half way


async def cancelled_after(checkpoints: int, function: Callable[[], Awaitable[object]]) -> None:
    """Call it, and cancel it when others have run so many times."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def cancel() -> None:
                for _ in range(checkpoints):
                    await trio.lowlevel.checkpoint()
                scope.cancel()

            nursery.start_soon(cancel)
            await function()


@pytest.mark.parametrize("closed", [False, True])
async def test_a_prune_that_is_cancelled_leaves_no_bytes_behind(engine: sessions.Engine, closed: bool) -> None:
    for checkpoints in range(9):
        session = await engine.create_session()
        for _ in range(4):
            await session.run(pour(MEBIBYTE // 4))
        if closed:
            await session.close()
        await cancelled_after(checkpoints, lambda: engine.prune(older_than=0))
        for command in await session.list_commands():  # what it has not come to is whole
            assert (await command.logs()).output == numbers(MEBIBYTE // 4)
        pruned = await engine.prune(older_than=0)
        assert pruned.sessions <= closed
        left = transcript(engine, session)
        assert not closed or not left.exists()
        assert closed or disk_bytes(left) < LITTLE_BYTES
        await session.close()
        await engine.prune(older_than=0)


async def test_a_deletion_that_is_cancelled_is_done_or_not_begun(engine: sessions.Engine) -> None:
    for checkpoints in (0, 1, 2, 3, 4, 20):  # the last ones while it closes the session
        session = await engine.create_session()
        await session.run_async("sleep 600")
        await cancelled_after(checkpoints, lambda name=session.id: engine.delete_session(name))
        known = session.id in {one.id for one in await engine.list_sessions()}
        assert transcript(engine, session).exists() == known
        if known:
            await engine.delete_session(session.id)


# Several engines


async def test_a_session_is_pruned_by_the_engine_that_writes_it(engine: sessions.Engine, root: Path) -> None:
    session = await engine.create_session()
    command = (await session.run(pour(MEBIBYTE))).command
    async with sessions.open_engine(root) as other:
        assert await other.prune(older_than=0) == sessions.Pruned(commands=0, sessions=0, freed_bytes=0)
        assert (await command.logs()).output == numbers(MEBIBYTE)
        assert (await session.run("echo on")).stdout == "on\n"
        await session.close()
        pruned = await other.prune(older_than=0)
        assert pruned == sessions.Pruned(commands=2, sessions=1, freed_bytes=MEBIBYTE + 3)
        assert await engine.prune(older_than=0) == sessions.Pruned(commands=0, sessions=0, freed_bytes=0)
    assert not transcript(engine, session).exists()


async def test_a_session_that_was_emptied_while_it_was_open_goes_later(engine: sessions.Engine) -> None:
    session = await engine.create_session()
    await session.run(pour(MEBIBYTE))
    assert await engine.prune(older_than=0) == sessions.Pruned(commands=1, sessions=0, freed_bytes=MEBIBYTE)
    await session.close()
    assert await engine.prune(older_than=0) == sessions.Pruned(commands=0, sessions=1, freed_bytes=0)
    assert not transcript(engine, session).parent.exists()


async def test_many_short_engines_beside_a_long_one_leave_no_large_write_ahead_log(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the last connection moves it into the file by itself."""
    monkeypatch.setattr("sessions.store.catalog.LARGE_WAL_BYTES", 1 << 16)
    sizes = []
    async with sessions.open_engine(root):
        for _ in range(8):
            async with sessions.open_engine(root) as short, short.open_session() as session:
                for _ in range(10):
                    await session.run("true")
            sizes.append(os.stat(root / "catalog.sqlite3-wal").st_size)
    assert sizes[0] > 1 << 16
    assert sizes[-1] < 3 * sizes[0]


async def test_to_find_what_is_open_nothing_that_has_ended_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be very many."""
    read: list[str] = []

    def note(row: sqlite3.Row) -> sessions.SessionInfo:
        read.append(row["state"])
        return session_of(row)

    async with sessions.open_engine(root) as engine:
        async with engine.open_session(labels={"a": "b"}) as ended:
            await ended.run("true")
        session = await engine.create_session("test", labels={"a": "b"})
        await (await session.run_async("echo on; sleep 60")).wait_for("on")
        monkeypatch.setattr(catalog, "session_of", note)
        assert [one.id for one in await engine.list_sessions(state="open", labels={"a": "b"})] == [session.id]
        assert await engine.list_sessions(state="open", labels={"a": "c"}) == []
        assert len(await engine.list_commands(limit=1)) == 1
        await engine.prune(keep_bytes=MEBIBYTE)
        with RootReader(root) as reader:
            assert len(await reader.list_commands(state="running")) == 1
        assert read
        async with sessions.open_engine(root):
            pass
        assert set(read) == {"open"}
        assert {one.state for one in await engine.list_sessions()} == set(read) == {"open", "closed"}


# A disk that is full, a database that is locked


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    if os.getuid() != 0:
        pytest.skip("NOT TESTED: pruning on a full disk; mounting a small file system takes root")
    path = tmp_path / "disk"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", path]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"NOT TESTED: pruning on a full disk; a tmpfs can't be mounted here: {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def fill(disk: Path) -> None:
    with open(disk / "ballast", "ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


async def prune(engine: sessions.Engine) -> None:
    assert (await engine.prune(older_than=0)).freed_bytes == MEBIBYTE


async def delete(engine: sessions.Engine) -> None:
    await engine.delete_session("old")


@pytest.mark.parametrize("verb", [prune, delete])
async def test_a_full_disk_is_emptied(small_disk: Path, verb: Callable[[sessions.Engine], Awaitable[None]]) -> None:
    async with sessions.open_engine(small_disk / "root") as engine:
        async with engine.open_session("old") as old:
            await old.run(pour(MEBIBYTE))
        session = await engine.create_session("new")
        command = await session.run_async(f"read -r go; {pour(MEBIBYTE // 2)}", stdin=True)
        fill(small_disk)
        await command.send_input("\n")
        with trio.fail_after(20):
            while session.state != "stalled":
                await trio.sleep(0.01)
            await verb(engine)
            # There is space again: who waited for it goes on.
            await command.wait()
        assert (await command.logs()).output == numbers(MEBIBYTE // 2)
        with pytest.raises((sessions.Expired, sessions.NotFound)):
            await engine.get_command(f"{old.id}-1")


async def test_a_locked_catalog_is_told_and_changes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessions.store.schema.BUSY_SECONDS", 0.05)
    async with sessions.open_engine(root) as engine:
        async with engine.open_session("old") as old:
            await old.run(pour(MEBIBYTE))
        session = await engine.create_session("new")
        with contextlib.closing(sqlite3.connect(root / "catalog.sqlite3", isolation_level=None)) as catalog:
            catalog.execute("BEGIN IMMEDIATE")
            verbs: list[Callable[[], Awaitable[object]]] = [
                lambda: engine.prune(older_than=0),
                lambda: engine.delete_session("old"),
                lambda: engine.create_session("other"),
                lambda: session.run("echo on"),
            ]
            for verb in verbs:
                with trio.fail_after(10), pytest.raises(sessions.Broken, match="locked"):
                    await verb()
            catalog.execute("ROLLBACK")
        assert [one.name for one in await engine.list_sessions()] == ["old", "new"]
        assert (await session.run("echo on")).stdout == "on\n"
        assert (await engine.prune(older_than=3600)).commands == 0
        await engine.delete_session("old")
        assert not transcript(engine, old).parent.exists()
        assert (await (await engine.create_session("other")).run("echo on")).stdout == "on\n"


# A program that was killed


async def test_late_output_outlives_the_program_that_logged_it(root: Path) -> None:
    (command_id,) = await killed_program(
        root,
        """
        session = await engine.create_session("build")
        go = engine.root / "go"
        command = await session.run_async(f"(until [ -e {go} ]; do sleep 0.02; done; echo late; exec sleep 600) & echo one")
        await command.wait()
        go.touch()
        async with command.follow(late=True) as records:
            async for record in records:
                if b"late" in record.data:
                    break
        print(command.id, flush=True)
        """,
    )
    async with sessions.open_engine(root) as engine:
        command = await engine.get_command(command_id)
        assert ((await command.logs()).output, command.stdout_bytes) == (b"one\nlate\n", 9)
        async with command.follow(late=True) as records:
            assert b"".join([record.data async for record in records]) == b"one\nlate\n"
