"""Streams as objects: several tasks may read from one, and one that is closed before its end never looks as if it had ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from conftest import read_all

import sessions

Opener = Callable[[sessions.Engine, sessions.Session, sessions.Command], Any]
STREAMS: dict[str, Opener] = {
    "a command": lambda engine, session, command: command.follow(),
    "a session": lambda engine, session, command: session.follow(),
    "many commands": lambda engine, session, command: sessions.follow_all([command]),
    "events": lambda engine, session, command: engine.watch(),
}


async def test_several_tasks_share_the_records_of_one_stream(session: sessions.Session) -> None:
    text = "for i in {1..50}; do echo $i; sleep 0.005; done"
    commands = [await session.run_async(text) for _ in range(4)]
    found: list[tuple[str, int]] = []

    async def work(records: Any) -> None:
        async for command, record in records:
            found.append((command.id, record.seq))

    with trio.fail_after(60):
        async with sessions.follow_all(commands) as records, trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(work, records)
    expected = [(command.id, record.seq) for command in commands for record in await read_all(command.follow())]
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("kind", STREAMS)
async def test_a_stream_that_is_closed_under_its_reader_has_not_ended(
    engine: sessions.Engine, session: sessions.Session, kind: str
) -> None:
    command = await session.run_async("sleep 60")

    async def read(items: Any) -> None:
        with pytest.raises(sessions.Conflict, match="not open"):
            async for _ in items:
                pass

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            async with STREAMS[kind](engine, session, command) as items:
                nursery.start_soon(read, items)
                await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize("kind", STREAMS)
async def test_a_stream_whose_block_is_over_yields_nothing_and_says_why(
    engine: sessions.Engine, session: sessions.Session, kind: str
) -> None:
    command = (await session.run("echo one")).command
    async with STREAMS[kind](engine, session, command) as items:
        pass
    with trio.fail_after(30), pytest.raises(sessions.Conflict, match="not open"):
        await anext(aiter(items))


async def test_a_stream_can_be_opened_again_and_begins_again(session: sessions.Session) -> None:
    command = (await session.run("echo one; echo two >&2")).command
    stream = command.follow()
    assert await read_all(stream) == await read_all(stream) != []
