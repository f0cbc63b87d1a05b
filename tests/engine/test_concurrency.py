"""Many at once: in one session in their order, each with its own output; in many sessions side by side; no end is missed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio
import trio.testing
from conftest import SHELLS

import sessions

AT_ONCE_SECONDS = 20
"""Far more than a busy machine needs."""


# One session


@pytest.mark.parametrize("shell", SHELLS)
async def test_parallel_callers_see_their_own_output_only(engine: sessions.Engine, shell: str) -> None:
    session = await engine.create_session(shell=shell)
    results: dict[int, sessions.Result] = {}

    async def caller(number: int) -> None:
        results[number] = await session.run(f"echo A{number}; sleep 0.01; echo B{number} >&2; (exit {number})")

    with trio.fail_after(AT_ONCE_SECONDS):
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(caller, number)
    for number, result in results.items():
        found = (result.stdout, result.stderr, result.exit_code)
        assert found == (f"A{number}\n", f"B{number}\n", number)
    assert len(results) == 50


async def test_commands_are_taken_in_the_order_of_their_submission(session: sessions.Session) -> None:
    await session.run("order=")
    commands = [await session.run_async(f"order=$order,{number}", in_shell=True) for number in range(200)]
    for command in commands:
        await command.wait()
    assert (await session.run("echo $order")).stdout == "".join(f",{number}" for number in range(200)) + "\n"
    starts = [command.started_at for command in commands]
    assert starts == sorted(starts)
    ends = [command.finished_at for command in commands]
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))


async def test_background_commands_see_what_was_set_before_them(session: sessions.Session) -> None:
    commands = []
    for number in range(50):
        await session.run_async(f"A={number}", in_shell=True)
        commands.append(await session.run_async("echo $A; A=changed; cd /"))
    for number, command in enumerate(commands):
        await command.wait()
        assert (await command.logs()).stdout == f"{number}\n".encode()
    assert (await session.run("echo $A")).stdout == "49\n"


async def test_no_queued_command_is_forgotten(engine: sessions.Engine) -> None:
    # Short commands end while the next are being started: many ends and starts fall into the same moment.
    for _ in range(20):
        session = await engine.create_session()
        outputs: list[str] = []

        async def caller(session: sessions.Session, outputs: list[str], number: int) -> None:
            outputs.append((await session.run(f"echo {number}")).stdout)

        with trio.fail_after(AT_ONCE_SECONDS):
            async with trio.open_nursery() as nursery:
                for number in range(10):
                    nursery.start_soon(caller, session, outputs, number)
        assert sorted(outputs) == [f"{number}\n" for number in range(10)]
        await session.close()


async def test_foreground_and_background_commands_in_turns(session: sessions.Session) -> None:
    commands = [
        (number, await session.run_async(f"echo {number}; echo {-number} >&2", in_shell=bool(number % 2)))
        for number in range(200)
    ]
    with trio.fail_after(AT_ONCE_SECONDS):
        for number, command in commands:
            await command.wait()
            logs = await command.logs()
            assert (logs.stdout, logs.stderr) == (f"{number}\n".encode(), f"{-number}\n".encode())


async def test_many_writers_at_the_same_time_do_not_mix(session: sessions.Session) -> None:
    commands = [
        await session.run_async(f"for ((i = 0; i < 500; i++)); do echo c{number} $i; done") for number in range(20)
    ]
    for number, command in enumerate(commands):
        async with command.follow() as records:
            followed = b"".join([record.data async for record in records])
        expected = "".join(f"c{number} {i}\n" for i in range(500)).encode()
        assert followed == expected == (await command.logs()).output
    whole = (await session.logs()).output
    assert len(whole) == sum(command.size_bytes for command in commands)


async def test_follow_all_gives_each_its_own_in_order(session: sessions.Session) -> None:
    commands = [await session.run_async(f"for ((i = 0; i < 200; i++)); do echo {n} $i; done") for n in range(50)]
    received = {command.id: b"" for command in commands}
    with trio.fail_after(AT_ONCE_SECONDS):
        async with sessions.follow_all(commands) as records:
            async for command, record in records:
                assert record.command_id == command.id
                received[command.id] += record.data
    for number, command in enumerate(commands):
        assert received[command.id] == "".join(f"{number} {i}\n" for i in range(200)).encode()


# Time in the queue


@pytest.mark.parametrize("limit", ["timeout", "idle_timeout"])
async def test_a_timeout_counts_running_time_only(session: sessions.Session, limit: str) -> None:
    first = await session.run_async("read x", in_shell=True, stdin=True)
    limits = {limit: 1.0}
    waiting = [await session.run_async("echo ran", in_shell=True, **limits) for _ in range(3)]
    await trio.sleep(1.2)  # longer than they may run, and than they may be silent
    assert {command.state for command in waiting} == {"queued"}
    await first.close_input()
    for command in waiting:
        await command.wait()
        assert (command.exit_code, command.reason, (await command.logs()).stdout) == (0, "exit", b"ran\n")


async def test_one_timeout_does_not_touch_those_behind_it(session: sessions.Session) -> None:
    results: list[sessions.Result] = []

    async def caller(text: str, timeout: float) -> None:
        results.append(await session.run(text, timeout=timeout))

    with trio.fail_after(AT_ONCE_SECONDS):
        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(caller, "sleep 600" if number % 2 else f"echo {number}", 0.2 if number % 2 else 60)
                await trio.testing.wait_all_tasks_blocked()
    assert [result.reason for result in results] == ["exit", "timeout"] * 3
    assert [result.stdout for result in results] == ["0\n", "", "2\n", "", "4\n", ""]


async def test_cancelling_callers_at_random_leaves_a_working_session(session: sessions.Session) -> None:
    chance = random.Random(20)
    await session.run("A=1")
    before = (await session.run("echo $$")).stdout
    done: list[int] = []

    async def caller(number: int, patience: float) -> None:
        with trio.move_on_after(patience):
            result = await session.run(f"sleep 0.02; echo {number}")
            assert result.stdout == f"{number}\n"
            done.append(number)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(caller, number, chance.uniform(0, 1))
    assert (await session.run("echo $A $$")).stdout == f"1 {before}"
    commands = await session.list_commands()
    assert {command.state for command in commands} == {"finished"}
    assert {command.reason for command in commands} <= {"exit", "killed"}
    starts = [command.started_at for command in commands if command.started_at is not None]
    assert starts == sorted(starts)
    assert len(done) <= len(starts)


# Many sessions


@pytest.mark.parametrize("in_shell", [True, False])
async def test_sessions_run_side_by_side(engine: sessions.Engine, tmp_path: Path, in_shell: bool) -> None:
    count = 10
    # Nobody goes on before all have come: one after the other they would wait for ever.
    text = f"touch here.{in_shell}.$$; until [ $(ls here* | wc -l) -ge {count} ]; do sleep 0.01; done; echo met"
    opened = [await engine.create_session(cwd=tmp_path) for _ in range(count)]
    with trio.fail_after(AT_ONCE_SECONDS):
        commands = [await session.run_async(text, in_shell=in_shell) for session in opened]
        for command in commands:
            await command.wait()
            assert (await command.logs()).stdout == b"met\n"


async def test_a_busy_session_does_not_hold_another_up(engine: sessions.Engine) -> None:
    busy, other = await engine.create_session(), await engine.create_session()
    flood = await busy.run_async("yes", in_shell=True)
    await flood.wait_for("y")
    with trio.fail_after(AT_ONCE_SECONDS):
        for number in range(20):
            assert (await other.run(f"echo {number}")).stdout == f"{number}\n"
    await flood.kill()


async def test_sessions_are_created_and_closed_side_by_side(engine: sessions.Engine) -> None:
    outputs: set[str] = set()

    async def one(number: int) -> None:
        async with engine.open_session(f"s{number}", env={"N": str(number)}) as session:
            outputs.add((await session.run("echo $N")).stdout)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(one, number)
    assert outputs == {f"{number}\n" for number in range(40)}


# No end is missed


async def test_five_hundred_ends_wake_their_waiters_once(engine: sessions.Engine) -> None:
    chance = random.Random(7)
    opened = [await engine.create_session() for _ in range(5)]
    woken: list[str] = []
    ids: set[str] = set()
    seen: list[str] = []

    async def waiter(command: sessions.Command) -> None:
        await command.wait()
        woken.append(command.id)
        assert (command.state, command.exit_code) == ("finished", 3)

    async with engine.watch(after=0) as events:
        for _ in range(len(opened)):
            last = (await anext(events)).seq
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for number in range(500):
                session = opened[number % len(opened)]
                command = await session.run_async(f"sleep {chance.uniform(0, 0.3):.3f}; exit 3")
                ids.add(command.id)
                nursery.start_soon(waiter, command)
            while len(seen) < 500:
                left = chance.randrange(1, 40)
                async with engine.watch(after=last) as events:
                    async for event in events:
                        assert event.seq > last
                        last = event.seq
                        if event.type == "command_finished":
                            assert event.command_id is not None
                            seen.append(event.command_id)
                        left -= 1
                        if not left or len(seen) == 500:
                            break
    assert sorted(woken) == sorted(ids)
    assert sorted(seen) == sorted(ids)


async def test_events_of_a_command_come_in_their_order(engine: sessions.Engine) -> None:
    session = await engine.create_session()
    async with engine.watch() as events:
        command = (await session.run("true")).command
        await session.close()
        types = []
        async for event in events:
            types.append((event.type, event.command_id))
            if event.type == "session_closed":
                break
    assert [kind for kind, command_id in types if command_id == command.id][-1] == "command_finished"
    assert types[-1] == ("session_closed", None)
    assert len(set(types)) == len(types)


async def test_whoever_is_told_of_an_end_sees_the_outcome_and_the_output(engine: sessions.Engine) -> None:
    session = await engine.create_session()
    async with engine.watch() as events:
        for number in range(50):
            await session.run_async(f"echo {number}; exit 5")
        left = 50
        async for event in events:
            if event.type == "command_finished":
                assert event.command_id is not None
                command = await engine.get_command(event.command_id)
                assert (command.state, command.exit_code) == ("finished", 5)
                assert (await command.logs()).stdout == command.text.split()[1].rstrip(";").encode() + b"\n"
                left -= 1
                if not left:
                    break
