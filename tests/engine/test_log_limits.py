"""A log keeps within its cap and says what it gave up; what it holds outlives its session."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from large_logs import MEBIBYTE, disk_bytes, numbers, pour, transcript

import sessions

CAP = 4 * MEBIBYTE
SLACK = 2 * MEBIBYTE
"""One read of a pipe, and blocks that are not wholly given up."""


@pytest.fixture
async def capped(root: Path) -> AsyncIterator[sessions.Engine]:
    """An engine that keeps 4 MiB of each command."""
    limits = sessions.Limits(log_bytes=CAP, kill_grace_seconds=1.0)
    async with sessions.open_engine(root, limits=limits) as engine:
        yield engine


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
