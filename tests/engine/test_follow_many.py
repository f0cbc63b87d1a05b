"""Following many at once: each byte once and each command's in order, whoever is slow or silent or ends."""

from __future__ import annotations

import random
import shlex
from collections import defaultdict
from pathlib import Path

import pytest
import trio
import trio.testing
from conftest import joined, open_descriptors, read_all

import sessions

# Holds back a process that a command left behind, until the file is there.
UNTIL = "until [ -e {0} ]; do sleep 0.01; done"


# Many commands


async def test_many_commands_at_once_each_line_once_and_in_order(engine: sessions.Engine) -> None:
    opened = [await engine.create_session() for _ in range(4)]
    text = "for i in {1..1000}; do echo $i; done"
    commands = [await opened[number % 4].run_async(text) for number in range(120)]
    outputs: defaultdict[str, list[bytes]] = defaultdict(list)
    chosen = random.Random(34)
    with trio.fail_after(120):
        async with sessions.follow_all(commands) as records:
            async for command, record in records:
                assert record.command_id == command.id
                outputs[command.id].append(record.data)
                if chosen.random() < 0.01:
                    await trio.sleep(0.002)  # a slow reader
    expected = b"".join(b"%d\n" % number for number in range(1, 1001))
    assert set(outputs) == {command.id for command in commands}
    assert [b"".join(output) == expected for output in outputs.values()] == [True] * 120
    assert {command.state for command in commands} == {"finished"}


async def test_many_followers_at_once(session: sessions.Session) -> None:
    commands = [await session.run_async("for i in {1..300}; do echo $i; done") for _ in range(60)]
    outputs: list[bytes] = []

    async def follow(command: sessions.Command) -> None:
        outputs.append(joined(await read_all(command.follow())))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for command in commands:
                nursery.start_soon(follow, command)
                nursery.start_soon(follow, command)
    assert outputs == [b"".join(b"%d\n" % number for number in range(1, 301))] * 120


async def test_a_silent_command_holds_nobody_up(engine: sessions.Engine) -> None:
    one, other = await engine.create_session(), await engine.create_session()
    silent = [await one.run_async("sleep 60"), await other.run_async("sleep 60")]
    speaking = await one.run_async("for i in 1 2 3; do echo $i; read x; done", stdin=True)
    with trio.fail_after(30):
        async with sessions.follow_all([silent[0], speaking, silent[1]]) as records:
            for number in (1, 2, 3):
                command, record = await anext(aiter(records))
                assert (command.id, record.data) == (speaking.id, b"%d\n" % number)
                await speaking.send_input("next\n")


async def test_one_that_pours_does_not_hold_another_up(engine: sessions.Engine) -> None:
    pouring = await (await engine.create_session()).run_async("yes")
    speaking = await (await engine.create_session()).run_async("for i in {1..20}; do echo $i; read x; done", stdin=True)
    seen = []
    with trio.fail_after(60):
        async with sessions.follow_all([pouring, speaking]) as records:
            async for command, record in records:
                if command.id == speaking.id:
                    seen.append(record.data)
                    if len(seen) == 20:
                        break
                    await speaking.send_input("next\n")
    assert seen == [b"%d\n" % number for number in range(1, 21)]
    await pouring.kill()


async def test_following_many_of_one_stream_twice_the_same_and_none(session: sessions.Session) -> None:
    commands = [(await session.run(f"echo out{i}; echo err{i} >&2")).command for i in range(3)]
    async with sessions.follow_all([*commands, commands[0]], stream="stderr") as records:
        assert sorted([record.data async for _, record in records]) == [b"err0\n", b"err1\n", b"err2\n"]
    async with sessions.follow_all([]) as records:
        assert [record async for _, record in records] == []
    with pytest.raises(sessions.Invalid, match="stream"):
        sessions.follow_all(commands, stream="both")


async def test_late_output_of_many(session: sessions.Session, tmp_path: Path) -> None:
    go = tmp_path / "go"
    text = f"({UNTIL.format(shlex.quote(str(go)))}; echo late) & echo now"
    commands = [await (await session.run_async(text)).wait() for _ in range(5)]
    outputs: defaultdict[str, bytes] = defaultdict(bytes)
    with trio.fail_after(30):
        async with sessions.follow_all(commands, late=True) as records:
            async for command, record in records:
                outputs[command.id] += record.data
                if len(outputs) == 5:
                    go.touch()
    assert outputs == {command.id: b"now\nlate\n" for command in commands}


# Whole sessions, other engines, cancelling


async def test_following_a_session_shows_all_its_commands_and_ends_with_it(session: sessions.Session) -> None:
    await session.run("echo before")
    seen: list[sessions.Record] = []

    async def follow() -> None:
        seen.extend(await read_all(session.follow()))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            beside = await session.run_async("echo beside; sleep 60")
            await beside.wait_for("beside")
            for number in range(20):
                await session.run(f"echo {number} >&2")
            await trio.testing.wait_all_tasks_blocked()
            assert nursery.child_tasks
            await session.close()
    assert joined(seen) == (await session.logs()).output
    assert [record.seq for record in seen] == sorted({record.seq for record in seen})
    assert len({record.command_id for record in seen}) == 22
    assert await read_all(session.follow(after=seen[4].seq, stream="stderr")) == [
        record for record in seen[5:] if record.stream == "stderr"
    ]


async def test_following_from_another_engine_on_the_same_root(engine: sessions.Engine) -> None:
    session = await engine.create_session("shared")
    command = await session.run_async("for i in 1 2 3; do echo $i; read x; done; exit 4", stdin=True)
    async with sessions.open_engine(engine.root) as other:
        seen = await other.get_command(command.id)
        number = 0
        with trio.fail_after(30):
            async with seen.follow() as records:
                async for record in records:
                    number += 1
                    assert record.data == b"%d\n" % number
                    await command.send_input("next\n")
            assert number == 3
            assert (await seen.wait()).exit_code == 4


async def test_one_whose_log_has_gone_leaves_no_other_open(engine: sessions.Engine) -> None:
    commands = []
    for name in ("kept", "gone"):
        async with engine.open_session(name) as session:
            commands.append((await session.run("echo on")).command)
    chosen = [await engine.get_command(command.id) for command in commands]
    await engine.delete_session("gone")
    before = open_descriptors()
    with pytest.raises(sessions.Expired):
        async with sessions.follow_all(chosen):
            pass
    assert open_descriptors() == before


async def test_cancelling_ends_all_followers_at_once(engine: sessions.Engine) -> None:
    opened = [await engine.create_session() for _ in range(3)]
    commands = [await opened[number % 3].run_async("echo begun; sleep 60") for number in range(60)]
    begun: set[str] = set()

    async def follow(command: sessions.Command) -> None:
        async with command.follow() as records:
            async for record in records:
                begun.add(record.command_id)

    async def follow_all() -> None:
        async with sessions.follow_all(commands) as records:
            async for _ in records:
                pass

    async with trio.open_nursery() as nursery:
        for command in commands:
            nursery.start_soon(follow, command)
            await command.wait_for("begun")
        nursery.start_soon(follow_all)
        for session in opened:
            nursery.start_soon(read_all, session.follow())
        await trio.testing.wait_all_tasks_blocked()
        assert len(begun) == 60
        started = trio.current_time()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - started < 5
    assert {command.state for command in commands} == {"running"}
    async with trio.open_nursery() as nursery:
        for session in opened:
            nursery.start_soon(session.close)
