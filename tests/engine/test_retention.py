"""What is no longer wanted is removed, by age, by size or by name, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
from large_logs import MEBIBYTE, disk_bytes, numbers, pour, transcript

import sessions

# By age and size


async def test_pruning_by_age_removes_what_is_finished_and_nothing_else(engine: sessions.Engine) -> None:
    session = await engine.create_session()
    finished = [(await session.run(f"echo {number}; {pour(MEBIBYTE)}")).command for number in range(3)]
    running = await session.run_async(f"{pour(MEBIBYTE)}; sleep 60")
    await running.wait_for(numbers(MEBIBYTE)[-16:])
    queued_behind = await session.run_async("sleep 60", in_shell=True)
    queued = await session.run_async("echo queued", in_shell=True)
    taken = disk_bytes(transcript(engine, session))
    assert await engine.prune(older_than=3600) == sessions.Pruned(0, 0, 0)
    pruned = await engine.prune(older_than=0)
    sizes = sum(command.size_bytes for command in finished)
    assert pruned == sessions.Pruned(commands=3, sessions=0, freed_bytes=sizes)
    assert disk_bytes(transcript(engine, session)) <= taken - sizes + 8 * 4096
    assert [command.id for command in await session.list_commands()] == [running.id, queued_behind.id, queued.id]
    assert (await running.logs()).output == numbers(MEBIBYTE)
    assert [running.state, queued_behind.state, queued.state] == ["running", "running", "queued"]
    assert await engine.prune(older_than=0) == sessions.Pruned(0, 0, 0)
    assert (await session.logs()).output == numbers(MEBIBYTE)


async def test_an_id_that_was_pruned_is_expired_and_not_unknown(engine: sessions.Engine) -> None:
    session = await engine.create_session()
    old = (await session.run("echo old")).command
    await engine.prune(older_than=0)
    with pytest.raises(sessions.Expired, match=old.id):
        await engine.get_command(old.id)
    for verb in (old.logs, old.excerpt, old.refresh):
        with pytest.raises(sessions.Expired, match=old.id):
            await verb()
    with pytest.raises(sessions.Expired):
        await old.wait_for("old")
    with pytest.raises(sessions.NotFound) as caught:
        await engine.get_command(f"{session.id}-99")
    assert not isinstance(caught.value, sessions.Expired)
    # Numbers are not used again.
    assert (await session.run("echo new")).command.id == f"{session.id}-2"


async def test_pruning_by_size_removes_the_oldest_first(engine: sessions.Engine) -> None:
    one, other = await engine.create_session(), await engine.create_session()
    commands = []
    for number in range(8):
        session = one if number % 2 else other
        commands.append((await session.run(f"{pour(100_000)}; printf {number}")).command)
    assert await engine.prune(keep_bytes=800_008) == sessions.Pruned(0, 0, 0)
    assert await engine.prune(keep_bytes=500_008) == sessions.Pruned(3, 0, 300_003)
    assert [command.id for command in await engine.list_commands()] == [command.id for command in commands[3:]]
    for number, command in enumerate(commands):
        if number < 3:
            with pytest.raises(sessions.Expired):
                await command.logs()
        else:
            assert (await command.logs()).output == numbers(100_000) + b"%d" % number
    assert await engine.prune(keep_bytes=0) == sessions.Pruned(5, 0, 500_005)
    assert await engine.list_commands() == []


async def test_what_finished_first_goes_first_whenever_it_was_started(engine: sessions.Engine) -> None:
    session = await engine.create_session()
    slow = await session.run_async("echo slow; read x", stdin=True)
    quick = (await session.run("echo quick")).command
    await slow.close_input()
    await slow.wait()
    await engine.prune(keep_bytes=len("slow\n"))
    assert [command.id for command in await engine.list_commands()] == [slow.id]
    assert quick.finished_at is not None


async def test_a_session_in_which_nothing_is_left_goes_with_its_directory(engine: sessions.Engine) -> None:
    closed, still_open, half = [await engine.create_session(name) for name in ("closed", "open", "half")]
    for session in (closed, still_open, half):
        await session.run("echo one")
    await closed.close()
    await half.run(pour(MEBIBYTE))
    newest = (await half.run("echo two")).command
    await half.close()
    pruned = await engine.prune(keep_bytes=4)
    assert (pruned.commands, pruned.sessions) == (4, 1)
    directory = engine.root / "sessions"
    assert sorted(os.listdir(directory)) == sorted([still_open.id, half.id])
    assert (await newest.logs()).output == b"two\n"
    assert disk_bytes(directory / half.id / "transcript") <= 8 * 4096
    assert (await still_open.run("echo three")).output == "three\n"
    with pytest.raises(sessions.Expired):
        await closed.logs()
    with pytest.raises(sessions.Expired):
        await engine.get_command(f"{closed.id}-1")


async def test_pruning_reaches_what_earlier_engines_left(root: Path) -> None:
    ids = []
    for number in range(3):
        async with sessions.open_engine(root) as engine:
            session = await engine.create_session()
            ids.append((await session.run(f"echo {number}")).command.id)
    async with sessions.open_engine(root) as engine:
        assert await engine.prune(older_than=0) == sessions.Pruned(3, 3, 6)
        assert os.listdir(root / "sessions") == []
        for command_id in ids:
            with pytest.raises(sessions.Expired):
                await engine.get_command(command_id)


async def test_pruning_needs_a_measure(engine: sessions.Engine) -> None:
    session = await engine.create_session()
    await session.run("echo kept")
    wrong: list[dict[str, object]] = [
        {},
        {"older_than": -1},
        {"keep_bytes": -1},
        {"older_than": "1"},
        {"keep_bytes": float("nan")},
    ]
    for arguments in wrong:
        with pytest.raises(sessions.Invalid):
            await engine.prune(**arguments)  # type: ignore[arg-type]
    assert (await session.logs()).output == b"kept\n"


# Deleting


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "open"])
async def test_deleting_a_session_leaves_neither_records_nor_files(engine: sessions.Engine, closed: bool) -> None:
    session = await engine.create_session("doomed")
    other = await engine.create_session("other")
    await other.run("echo kept")
    command = (await session.run("echo gone")).command
    detached = await session.run_async("echo begun; sleep 60", detach=True)
    await detached.wait_for("begun")
    if closed:
        await session.close()
    with trio.fail_after(30):
        await engine.delete_session("doomed" if closed else session.id)
    for look in (
        engine.get_session("doomed"),
        engine.get_session(session.id),
        engine.get_command(command.id),
        command.logs(),
    ):
        with pytest.raises(sessions.NotFound) as caught:
            await look
        assert not isinstance(caught.value, sessions.Expired)
    with pytest.raises(sessions.NotFound):
        await engine.delete_session(session.id)
    assert os.listdir(engine.root / "sessions") == [other.id]
    assert [path for path in engine.root.rglob("*") if session.id in path.name] == []
    assert [command.session_id for command in await engine.list_commands()] == [other.id]
    assert (await other.logs()).output == b"kept\n"
    # The name is free; the id is not used again.
    assert (await engine.create_session("doomed")).id != session.id
