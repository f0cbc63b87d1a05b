"""Verbs on a disk without a byte of space, where no server runs: what is stored is shown, and room is made."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest
import trio
from killed_program import killed_program
from small_disk import MEBIBYTE, Disk, disk

import sessions
from sessions.cli import reading
from sessions.cli.main import main
from sessions.errors import Broken
from sessions.store.catalog import Catalog
from sessions.store.schema import FORMAT, copy_to_memory
from sessions.store.transcript import Transcript

__all__ = ["disk"]  # a fixture

LARGE = f"head -c {MEBIBYTE} /dev/zero | tr '\\0' x"


class Done(NamedTuple):
    code: int
    stdout: str
    stderr: str

    @property
    def told(self) -> str:
        assert self.code == 0, self.stderr
        return self.stdout.removesuffix("\n")


Cli = Callable[..., Done]


@pytest.fixture
def cli(disk: Disk, capfd: pytest.CaptureFixture[str]) -> Cli:
    """The command line, in this process: programs that do not start leave more time for what is tested."""

    def call(*arguments: str) -> Done:
        capfd.readouterr()
        code = main(["--root", str(disk.root), *arguments])
        return Done(code, *capfd.readouterr())

    return call


async def store(disk: Disk, how: str) -> list[str]:
    """Three commands, of which the first wrote much and the last was running when their engine ended, on a full disk; their ids."""
    if how == "killed":
        return await killed_program(
            disk.root,
            f"""
            session = await engine.create_session("s")
            ids = [(await session.run({LARGE!r})).command.id, (await session.run("echo small")).command.id]
            print(*ids, (await session.run_async("sleep 1000")).id, flush=True)
            with open({str(disk.path / "ballast")!r}, "ab", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(4096))
                except OSError:
                    pass
            """,
        )
    async with sessions.open_engine(disk.root) as engine:
        session = await engine.create_session("s")
        ids = [(await session.run(LARGE)).command.id, (await session.run("echo small")).command.id]
        ids.append((await session.run_async("sleep 1000")).id)
    disk.fill()
    return ids


@pytest.mark.parametrize(("how", "reason"), [("closed", "session_closed"), ("killed", "lost")])
def test_what_is_stored_is_shown(cli: Cli, disk: Disk, how: str, reason: str) -> None:
    large, small, cut = trio.run(store, disk, how)
    disk.fill()
    found = {command["id"]: command for command in json.loads(cli("ps", "--json").told)}
    assert [found[each]["exit_code"] for each in (large, small)] == [0, 0]
    assert found[cut]["reason"] == reason
    assert len(json.loads(cli("ps", "--sessions", "--all", "--json").told)) == 1
    assert len(cli("logs", large).told) == MEBIBYTE
    assert cli("follow", small).told == "small"
    assert cli("wait", small).told == ""
    assert cli("follow", cut).stdout == ""


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_prune_makes_room(cli: Cli, disk: Disk, how: str) -> None:
    large, small, cut = trio.run(store, disk, how)
    disk.fill()
    pruned = json.loads(cli("prune", "--keep", "1000", "--json").told)
    assert (pruned["commands"], pruned["freed_bytes"]) == (1, MEBIBYTE)
    space = os.statvfs(disk.path)
    assert space.f_bavail * space.f_frsize > MEBIBYTE // 2
    # It is written down, so that others know it.
    assert "expired" in cli("logs", large).stderr
    assert cli("logs", small).told == "small"

    async def look() -> str | None:
        async with sessions.open_engine(disk.root) as engine:
            with pytest.raises(sessions.Expired):
                await engine.get_command(large)
            return (await engine.get_command(cut)).reason

    assert trio.run(look) in ("lost", "session_closed")


def test_prune_says_when_it_can_make_no_room(cli: Cli, disk: Disk) -> None:
    trio.run(store, disk, "closed")
    assert json.loads(cli("prune", "--keep", "1G", "--json").told)["commands"] == 0
    disk.free()
    cli("prune", "--keep", "1000")
    disk.fill()
    # What is left holds a few bytes, and no whole block.
    done = cli("prune", "--keep", "3")
    assert done.code == 3
    assert "its disk is full: delete something else there" in done.stderr


@pytest.mark.parametrize("how", ["closed", "killed"])
def test_doctor_says_what_to_do(cli: Cli, disk: Disk, how: str) -> None:
    trio.run(store, disk, how)
    disk.fill()
    done = cli("doctor")
    assert done.code == 1
    assert "WRONG the root's file system is full" in done.stdout
    assert "sessions prune --keep" in done.stdout
    assert "1 sessions are stored" in done.stdout
    assert "can't be" not in done.stdout


def test_an_engine_that_can_not_recover_says_so(disk: Disk) -> None:
    trio.run(store, disk, "killed")

    async def open_it() -> None:
        async with sessions.open_engine(disk.root):
            pass

    with pytest.raises(sessions.Broken, match="full"):
        trio.run(open_it)


def test_a_copy_leaves_nothing_locked(disk: Disk) -> None:
    trio.run(store, disk, "closed")
    path = disk.root / "catalog.sqlite3"
    with closing(copy_to_memory(path)) as copy:
        disk.free()
        with closing(Catalog(path)) as catalog:
            catalog.forget_events(older_than=1e12)
            assert catalog.last_event() == 0
        assert copy.execute("SELECT count(*) FROM events").fetchone()[0] > 0


def test_what_another_process_holds_is_not_waited_for(disk: Disk) -> None:
    trio.run(store, disk, "closed")
    path = disk.root / "catalog.sqlite3"
    program = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('PRAGMA locking_mode = EXCLUSIVE');"
        " db.execute('SELECT * FROM sessions').fetchall(); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(Broken, match="database is locked"):
            copy_to_memory(path)
        other.communicate()


def test_a_catalog_of_a_later_format_is_not_read(cli: Cli, disk: Disk) -> None:
    trio.run(store, disk, "closed")
    disk.free()
    with closing(sqlite3.connect(disk.root / "catalog.sqlite3")) as db:
        db.execute(f"PRAGMA user_version = {FORMAT + 1}")
    disk.fill()
    done = cli("ps")
    assert done.code == 3
    assert f"has format {FORMAT + 1}; this version of sessions reads up to" in done.stderr


@pytest.mark.parametrize("failing", ["its mark", "any file"])
def test_what_a_dead_engine_left_is_told_though_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """Not even the few bytes of a mark, on a full disk; nor anything, where a backup is looked at that may only be read."""

    async def look() -> str | None:
        words = await killed_program(
            tmp_path,
            """
            session = await engine.create_session("s")
            print((await session.run_async("sleep 1000")).id, flush=True)
            """,
        )
        path = tmp_path / "catalog.sqlite3"
        monkeypatch.setattr(reading, "open_catalog", lambda root: Catalog(path, copy_to_memory(path)))
        if failing == "its mark":
            monkeypatch.setattr(Transcript, "mark_finished", fail_with(errno.ENOSPC))
        else:
            monkeypatch.setattr(reading, "take_over", fail_with(errno.EROFS))
        with reading.RootReader(tmp_path) as reader:
            return (await reader.get_command(words[0])).reason

    assert trio.run(look) == ("lost" if failing == "its mark" else None)


def fail_with(number: int) -> Callable[..., NoReturn]:
    def fail(*_: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return fail
