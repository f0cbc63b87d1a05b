"""A log keeps within its cap and says what it gave up; what is no longer wanted is removed, and nothing else."""

from __future__ import annotations

import os
import shlex
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

import sessions

MEBIBYTE = 1 << 20
CAP = 4 * MEBIBYTE
SLACK = 2 * MEBIBYTE
"""One read of a pipe, and blocks that are not wholly given up."""


@pytest.fixture
async def capped(root: Path) -> AsyncIterator[sessions.Engine]:
    """An engine that keeps 4 MiB of each command."""
    limits = sessions.Limits(log_bytes=CAP, kill_grace_seconds=1.0)
    async with sessions.open_engine(root, limits=limits) as engine:
        yield engine


def disk_bytes(path: Path) -> int:
    """What a file or a directory takes on the disk."""
    files = [path, *path.rglob("*")]
    return sum(file.stat().st_blocks * 512 for file in files)


def transcript(engine: sessions.Engine, session: sessions.Session) -> Path:
    return engine.root / "sessions" / session.id / "transcript"


def numbers(size: int) -> bytes:
    """What ``seq -f %015.0f 1000000 | head -c size`` prints."""
    return b"".join(b"%015d\n" % number for number in range(1, size // 16 + 2))[:size]


def pour(size: int) -> str:
    return f"seq -f %015.0f 100000000 | head -c {size}"


# The cap


async def test_the_newest_bytes_are_kept_and_the_rest_is_told(capped: sessions.Engine) -> None:
    session = await capped.create_session()
    size = 40 * MEBIBYTE
    result = await session.run(pour(size))
    logs = result.logs
    kept = len(logs.output)
    assert CAP - CAP // 16 - SLACK // 2 <= kept <= CAP
    assert logs.output == logs.stdout == numbers(size)[-kept:]
    command = result.command
    assert (command.exit_code, command.stdout_bytes, command.size_bytes) == (0, size, size)
    assert command.dropped_bytes == logs.dropped_bytes == size - kept
    assert disk_bytes(transcript(capped, session)) <= CAP + SLACK
    stored = await capped.get_command(command.id)
    assert (stored.dropped_bytes, stored.stdout_bytes) == (size - kept, size)


async def test_the_disk_never_holds_more_while_a_command_pours(capped: sessions.Engine) -> None:
    session = await capped.create_session()
    command = await session.run_async("yes 'a runaway command'")
    other = await capped.create_session()
    most = 0
    with trio.fail_after(60):
        async with command.follow() as records:
            async for _ in records:
                most = max(most, disk_bytes(transcript(capped, session)))
                if command.stdout_bytes > 60 * MEBIBYTE:
                    break
        assert (await other.run("echo unharmed")).output == "unharmed\n"
        assert (await session.run("echo unharmed")).output == "unharmed\n"
        await command.kill()
    assert most <= CAP + SLACK
    assert command.dropped_bytes >= command.size_bytes - CAP
    assert disk_bytes(capped.root) <= CAP + 3 * SLACK


async def test_a_runaway_command_costs_others_in_its_session_nothing(capped: sessions.Engine) -> None:
    session = await capped.create_session()
    before = (await session.run(pour(MEBIBYTE))).command
    beside = await session.run_async("for i in {1..500}; do echo $i; echo err $i >&2; sleep 0.001; done")
    runaway = await session.run_async(pour(30 * MEBIBYTE))
    await runaway.wait()
    await beside.wait()
    after = (await session.run(pour(MEBIBYTE))).command
    for command in (before, after):
        assert (await command.logs()).output == numbers(MEBIBYTE)
        assert command.dropped_bytes == 0
    assert (await beside.logs()).stdout == b"".join(b"%d\n" % number for number in range(1, 501))
    assert (await beside.logs()).stderr == b"".join(b"err %d\n" % number for number in range(1, 501))
    assert beside.dropped_bytes == 0
    logs = await runaway.logs()
    assert logs.output == numbers(30 * MEBIBYTE)[-len(logs.output) :]
    assert (await session.logs()).dropped_bytes == runaway.dropped_bytes == 30 * MEBIBYTE - len(logs.output)


async def test_a_follower_is_told_what_it_missed(capped: sessions.Engine) -> None:
    session = await capped.create_session()
    size = 30 * MEBIBYTE
    command = await session.run_async(f"echo first; read x; {pour(size)}", stdin=True)
    seen, dropped, behind_notice = b"", 0, b""
    async with command.follow() as records:
        first = await anext(aiter(records))
        assert first.data == b"first\n"
        await command.send_input("go\n")
        await command.wait()  # it pours while nobody reads
        async for record in records:
            if record.stream == "dropped":
                assert (record.data, record.command_id) == (b"", command.id)
                assert record.dropped_bytes > 0
                dropped += record.dropped_bytes
                behind_notice = b""
            else:
                seen += record.data
                behind_notice += record.data
    # The first line is among what was given up since; the follower had seen it before.
    assert dropped + len(b"first\n") == command.dropped_bytes or dropped == command.dropped_bytes
    assert len(seen) + command.dropped_bytes == size + len(b"first\n")
    assert behind_notice == seen == (await command.logs()).output == numbers(size)[-len(seen) :]
    async with command.follow() as records:
        again = [record async for record in records]
    assert sum(record.dropped_bytes for record in again) == command.dropped_bytes
    assert b"".join(record.data for record in again) == seen
    assert [record.seq for record in again] == sorted({record.seq for record in again})


async def test_parts_of_a_log_that_was_cut(capped: sessions.Engine) -> None:
    session = await capped.create_session()
    size = 20 * MEBIBYTE
    command = (await session.run(pour(size))).command
    whole = numbers(size)
    assert (await command.logs(tail=10)).output == b"".join(whole.splitlines(keepends=True)[-10:])
    # Positions are those of all that was written.
    part = await command.logs(start=size - 1000, stop=size - 500)
    assert (part.output, part.dropped_bytes) == (whole[size - 1000 : size - 500], 0)
    gone = await command.logs(start=0, stop=1000)
    assert (gone.output, gone.dropped_bytes) == (b"", 1000)
    border = command.dropped_bytes
    over = await command.logs(start=border - 100, stop=border + 100)
    assert (over.output, over.dropped_bytes) == (whole[border : border + 100], 100)
    more = await command.logs(tail=10_000_000)
    assert (more.output, more.dropped_bytes > 0) == (whole[border:], True)
    excerpt = await command.excerpt(max_bytes=3000)
    assert excerpt.tail == whole[-len(excerpt.tail) :]
    assert excerpt.tail
    # A match in what is gone is gone.
    assert await command.wait_for(rb"^%015d$" % (size // 16))
    with pytest.raises(sessions.EndedFirst):
        await command.wait_for(rb"^%015d$" % 1)


@pytest.mark.parametrize("cap", [20_000, 100_000, 300_000])
async def test_a_small_cap_keeps_most_of_what_it_allows(root: Path, cap: int) -> None:
    async with sessions.open_engine(root, limits=sessions.Limits(log_bytes=cap)) as engine:
        session = await engine.create_session()
        for size in (65_536 * 8, 3 * MEBIBYTE):
            # One write of all of it: what is read at once may be much more than is kept.
            result = await session.run(f"{pour(size)} | dd bs={size} iflag=fullblock status=none")
            kept = result.logs.output
            assert cap // 2 <= len(kept) <= cap
            assert kept == numbers(size)[-len(kept) :]
            assert result.command.dropped_bytes == size - len(kept)
        small = await session.run("printf %500s x")
        assert (len(small.stdout), small.command.dropped_bytes) == (500, 0)


async def test_a_command_that_reads_the_logs_while_it_writes_one_stays_within_the_cap(capped: sessions.Engine) -> None:
    session = await capped.create_session()
    await session.run(pour(MEBIBYTE))
    store = shlex.quote(str(capped.root / "sessions"))
    result = await session.run(f"grep -R . {store}", timeout=2)
    assert disk_bytes(transcript(capped, session)) <= CAP + MEBIBYTE + SLACK
    assert result.command.size_bytes - result.command.dropped_bytes <= CAP
    assert (await session.run("echo ok")).output == "ok\n"


# What stays


async def test_logs_and_facts_outlive_session_and_engine(root: Path) -> None:
    async with sessions.open_engine(root) as engine:
        session = await engine.create_session("kept", labels={"a": "b"})
        first = (await session.run("echo out; echo err >&2; exit_code() { return 3; }; exit_code")).command
        second = await (await session.run_async("kill -9 $BASHPID", labels={"c": "d"})).wait()
        await session.close()
        facts = [(c.info, await c.logs()) for c in (first, second)]
    for _ in range(2):
        async with sessions.open_engine(root) as engine:
            assert (await engine.get_session("kept")).state == "closed"
            assert [(c.info, await c.logs()) for c in await engine.list_commands(session="kept")] == facts
            assert [c.exit_code for c in await engine.list_commands()] == [3, 137]


# Retention


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
