"""What `logs` returned and what `follow` then shows are the whole log, without a gap, whoever reads it."""

from __future__ import annotations

from pathlib import Path

import trio

import sessions

COUNT = "for ((i = 0; i < 3000; i++)); do echo $i; done; echo last"


async def read_in_two(command: sessions.Command) -> bytes:
    logs = await command.logs()
    rest = []
    async with command.follow(after=logs.last_seq) as records:
        async for record in records:
            assert record.seq > logs.last_seq
            rest.append(record.data)
    return logs.output + b"".join(rest)


async def test_no_gap_in_the_own_engine_and_in_another(engine: sessions.Engine, root: Path) -> None:
    session = await engine.create_session()
    expected = b"".join(b"%d\n" % number for number in range(3000)) + b"last\n"
    async with sessions.open_engine(root) as other:
        for host in (engine, other):
            command = await session.run_async(COUNT)
            seen = await host.get_command(command.id)
            assert await read_in_two(seen) == expected
            assert await read_in_two(seen) == expected


async def test_an_empty_log_is_followed_from_its_beginning(session: sessions.Session) -> None:
    command = await session.run_async("read -r go; echo came", stdin=True)
    logs = await command.logs()
    assert (logs.output, logs.last_seq) == (b"", -1)
    await command.send_input("\n")
    assert await read_in_two(command) == b"came\n"


async def test_others_go_on_while_a_large_log_is_read(session: sessions.Session) -> None:
    command = (await session.run("head -c 300000000 /dev/zero")).command
    turns = 0
    done = trio.Event()

    async def count_turns() -> None:
        nonlocal turns
        while not done.is_set():
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns)
        logs = await command.logs()
        done.set()
    assert len(logs.output) == 300_000_000
    assert turns > 100
