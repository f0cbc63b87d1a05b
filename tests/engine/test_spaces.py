"""Spaces: homes for sessions, which outlive their server and leave nothing when they are deleted."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
import trio
from conftest import leftovers

import sessions
from sessions import recent
from sessions.spaces import Space, Spaces, open_spaces


async def test_what_runs_in_a_space_has_its_home_and_its_environment(space: Space) -> None:
    session = await space.create_session("shell/1 ü")
    assert (await session.run("echo $WHO $PWD $HOME")).stdout == f"me {space.info.home} {space.info.home}\n"
    assert session.labels == {"space": "one", "door": "door", "session": "shell/1 ü"}
    assert space.session("shell/1 ü") is session
    with pytest.raises(sessions.Conflict, match="already"):
        await space.create_session("shell/1 ü")


async def test_spaces_do_not_see_each_other(spaces: Spaces, space: Space) -> None:
    await space.create_session("mine")
    other = await spaces.create("door", "two")
    with pytest.raises(sessions.NotFound):
        other.session("mine")
    with pytest.raises(sessions.NotFound):
        spaces.get("another door", "one")
    assert spaces.list("door") == [space, other]
    assert spaces.list("door", {"a": "b"}) == [space]
    with pytest.raises(sessions.Conflict, match="one"):
        await spaces.create("door", "three", name="one")


async def test_a_space_without_a_home_is_none(spaces: Spaces) -> None:
    """It would hold its name for ever, as one that is being made."""
    homes = Path(spaces.engine.root) / "spaces"
    homes.write_text("in the way")
    with pytest.raises(sessions.Broken, match="one"):
        await spaces.create("door", "one", name="name")
    homes.unlink()
    assert spaces.list("door") == []
    assert (await spaces.create("door", "two", name="name")).state == "started"


async def test_process_numbers_are_never_used_again(engine: sessions.Engine, spaces: Spaces, space: Space) -> None:
    first, command = await space.start_process("echo $WHO; exit 3")
    second, _ = await space.start_process("echo two")
    assert (first, second, spaces.next_number(space)) == (1, 2, 3)
    assert await space.process(1) is command
    await command.wait()
    assert ((await command.logs()).stdout, command.exit_code) == (b"me\n", 3)
    with pytest.raises(sessions.NotFound):
        await space.process(4)
    async with open_spaces(engine) as again:  # as after a restart of the server
        later = again.get("door", "one")
        assert (await later.process(1)).id == command.id
        assert (await later.start_process("true"))[0] == 4


async def test_what_no_name_can_be_is_refused(spaces: Spaces) -> None:
    for wrong in ({"name": "\ud800"}, {"labels": {"a": "\ud800"}}):
        with pytest.raises(sessions.Invalid, match="surrogate"):
            await spaces.create("door", "one", **wrong)
    with pytest.raises(sessions.Invalid, match="surrogate"):
        spaces.list("door", {"a": "\ud800"})
    assert not (Path(spaces.engine.root) / "spaces").exists()


async def test_many_processes_are_not_all_kept_in_mind(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "KEPT", 3)
    monkeypatch.setattr(recent, "SWEEP", 2)
    going, _ = await space.start_process("cat", stdin=True)
    for _ in range(8):
        number, command = await space.start_process(f"echo {going}")
        await command.wait()
    assert len(space.processes) <= 3 + 2 + 1
    assert going in space.processes
    assert number in space.processes
    assert going + 1 not in space.processes
    again = await space.process(going + 1)
    assert (again.exit_code, again.labels["process"]) == (0, str(going + 1))
    await (await space.process(going)).kill()


async def test_a_deleted_space_leaves_its_history_and_nothing_else(
    engine: sessions.Engine, spaces: Spaces, space: Space
) -> None:
    session = await space.create_session("s")
    command = await session.run_async("echo kept; (setsid sleep 600 &) ; sleep 600")
    await command.wait_for("kept", timeout=30)
    await space.delete()
    assert leftovers({session.id}) == []
    assert not Path(space.info.home).exists()
    assert (await (await engine.get_command(command.id)).logs()).stdout == b"kept\n"
    assert [found.id for found in await engine.list_sessions(labels={"space": "one"})] == [session.id]
    with pytest.raises(sessions.NotFound):
        spaces.get("door", "one")
    await spaces.create("door", "four", name="one")  # its name is free


async def test_who_has_hidden_in_a_space_is_found(spaces: Spaces, space: Space) -> None:
    """By a session of its own, two forks and an empty environment; one of another space's stays."""
    pids = []
    for one in (await spaces.create("door", "other"), space):
        session = await one.create_session("s")
        await session.run("(env -i setsid bash -c 'sleep 600 & echo $! >pid' &)")
        with trio.fail_after(30):
            while not (path := Path(one.info.home) / "pid").exists() or not path.read_text():
                await trio.sleep(0.01)
        pids.append(psutil.Process(int(path.read_text())))
    other, hidden = pids
    with trio.fail_after(30):
        while hidden.parent().name() == "bash":  # which ends
            await trio.sleep(0.01)
    await space.pause()
    with trio.fail_after(30):
        while hidden.status() != psutil.STATUS_STOPPED:
            await trio.sleep(0.01)
    await space.resume()
    assert hidden.status() != psutil.STATUS_STOPPED
    await space.delete()
    assert not hidden.is_running() or hidden.status() == psutil.STATUS_ZOMBIE
    assert other.status() == psutil.STATUS_SLEEPING


async def test_spaces_outlive_their_server(root: Path) -> None:
    async with sessions.open_engine(root) as engine, open_spaces(engine) as spaces:
        space = await spaces.create("door", "one", facts={"size": 3})
        session = await space.create_session("s")
        await session.run("echo here >file")
    async with sessions.open_engine(root) as engine, open_spaces(engine) as spaces:
        space = spaces.get("door", "one")
        assert (space.state, space.info.facts) == ("started", {"size": 3})
        session = await space.create_session("s")
        assert (await session.run("cat file")).stdout == "here\n"


async def test_a_process_that_kills_its_shell_kills_no_other(space: Space) -> None:
    _, other = await space.start_process("sleep 600")
    _, killer = await space.start_process("kill -9 $$")
    await killer.wait()
    base = space.session("")
    with trio.fail_after(30):
        while base.state != "ended":
            await trio.sleep(0.01)
    _, third = await space.start_process("exit 3")
    assert (await third.wait()).exit_code == 3
    assert other.state == "running"
    await space.delete()
    assert leftovers({base.id}) == []
    assert other.state == "finished"


async def test_a_space_is_ended_though_its_user_deleted_parts_of_it(engine: sessions.Engine, space: Space) -> None:
    terminal = await space.create_terminal("t")
    gone = await space.create_session("gone")
    await terminal.send_input("exit\n")
    await terminal.wait()
    for session_id in (terminal.session_id, gone.id):
        await (await engine.get_session(session_id)).close()
        await engine.delete_session(session_id)
    session = await space.create_session("s")
    await session.run_async("sleep 600")
    await space.delete()
    assert leftovers({session.id}) == []
    assert not Path(space.info.home).exists()


async def test_a_name_may_look_like_the_id_of_one_that_has_gone(spaces: Spaces, space: Space) -> None:
    await space.delete()
    other = await spaces.create("door", "two", name=space.id)
    assert spaces.get("door", space.id) is other


async def test_homes_of_half_deleted_spaces_are_removed_later(root: Path) -> None:
    async with sessions.open_engine(root) as engine, open_spaces(engine) as spaces:
        for space_id in ("kept", "cut"):
            space = await spaces.create("door", space_id)
            (Path(space.info.home) / "file").touch()
        space._move("delete")  # and then its server was killed
    async with sessions.open_engine(root) as engine, open_spaces(engine) as spaces:
        with trio.fail_after(30):
            while (root / "spaces" / "cut").exists():
                await trio.sleep(0.01)
        assert (root / "spaces" / "kept" / "file").exists()


def test_a_home_with_read_only_directories_is_removed() -> None:
    """Caches of packages have them. Root may do everything, so this is tried as somebody else."""
    program = """
import os, sys
from pathlib import Path
from sessions.space_homes import remove_home
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
home = Path(sys.argv[1])
outside = home.parent / "outside"
(home / "go" / "mod").mkdir(parents=True); outside.mkdir(); outside.chmod(0o555)
(home / "go" / "mod" / "file").touch(); (home / "link").symlink_to(outside)
(home / "go" / "mod").chmod(0o555); (home / "go").chmod(0o555)
remove_home(str(home))
assert not home.exists()
assert outside.stat().st_mode & 0o777 == 0o555
"""
    with tempfile.TemporaryDirectory() as place:  # below directories that all may enter
        os.chmod(place, 0o777)
        done = subprocess.run([sys.executable, "-c", program, f"{place}/home"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


async def test_a_home_that_was_made_a_link_leads_nowhere(space: Space, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "below").mkdir(parents=True)
    for directory in (elsewhere, elsewhere / "below"):
        directory.chmod(0o755)
    home = Path(space.info.home)
    home.rmdir()
    home.symlink_to(elsewhere)
    await space.delete()
    assert not home.is_symlink()
    assert {oct(path.stat().st_mode & 0o777) for path in (elsewhere, elsewhere / "below")} == {"0o755"}


async def test_what_can_not_be_removed_keeps_no_server_from_starting(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs that ran as another user, in a container say, may have left files that are theirs."""

    def refuse(path: str, mode: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)

    monkeypatch.setattr(os, "chmod", refuse)
    monkeypatch.setattr(shutil, "rmtree", lambda path, ignore_errors: None)
    async with sessions.open_engine(root) as engine:
        async with open_spaces(engine) as spaces:
            space = await spaces.create("door", "one")
            await space.delete()
            assert Path(space.info.home).is_dir()
        await Spaces(engine).remove_leftovers()
