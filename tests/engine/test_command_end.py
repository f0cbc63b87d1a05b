"""A command ends when it ends, with the code that it ended with, and by then all of its output is there."""

from __future__ import annotations

import hashlib
import random
import signal
from pathlib import Path

import pytest
import trio
import trio.testing
from conftest import SHELLS

import sessions

AT_ONCE_SECONDS = 10
"""Far less than what the commands here leave behind would take, far more than a busy machine needs."""
LATE = "(until [ -e go ]; do sleep 0.01; done; echo late) &"
"""Leaves a child behind that holds stdout and writes to it once the file ``go`` is there."""


# Who left what behind


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_child_that_holds_the_output_does_not_delay_the_end(engine: sessions.Engine, shell: str) -> None:
    session = await engine.create_session(shell=shell)
    for left in ("sleep 600 &", "(sleep 600 &)", "setsid sleep 600 &", "nohup sleep 600 2>&1 &", "sleep 600 | cat &"):
        with trio.fail_after(AT_ONCE_SECONDS):
            result = await session.run(f"echo done; {left}")
            command = await (await session.run_async(f"echo done; {left}")).wait()
        assert (result.exit_code, result.reason, result.stdout) == (0, "exit", "done\n")
        assert (command.exit_code, command.reason, (await command.logs()).stdout) == (0, "exit", b"done\n")


@pytest.mark.parametrize("in_shell", [True, False])
async def test_late_output_goes_to_the_same_log(engine: sessions.Engine, tmp_path: Path, in_shell: bool) -> None:
    session = await engine.create_session(cwd=tmp_path)
    command = await session.run_async(f"{LATE} echo now", in_shell=in_shell)
    await command.wait()
    assert (await command.logs()).stdout == b"now\n"
    async with command.follow() as records:
        until_the_end = [record.data async for record in records]
    assert b"".join(until_the_end) == b"now\n"

    async with command.follow(late=True) as records:
        assert (await anext(records)).data == b"now\n"
        (tmp_path / "go").touch()
        rest = [record async for record in records]
    assert b"".join(record.data for record in rest) == b"late\n"
    assert {record.command_id for record in rest} == {command.id}
    assert (await command.logs()).stdout == b"now\nlate\n"
    assert command.size_bytes == len("now\nlate\n")


async def test_late_output_is_never_another_commands(engine: sessions.Engine, tmp_path: Path) -> None:
    session = await engine.create_session(cwd=tmp_path)
    first = (await session.run(f"{LATE} echo now")).command
    second = await session.run_async("touch go; until [ -e over ]; do sleep 0.01; done; echo mine", in_shell=True)
    await first.wait_for("now")
    async with first.follow(late=True) as records:
        assert b"".join([record.data async for record in records]) == b"now\nlate\n"
    (tmp_path / "over").touch()
    await second.wait()
    assert (await second.logs()).output == b"mine\n"


# The end comes after the output


async def test_whoever_waited_sees_all_output(session: sessions.Session) -> None:
    seen: dict[int, bytes] = {}

    async def one(number: int) -> None:
        command = await session.run_async(f"echo {number}; echo e{number} >&2")
        await command.wait()
        logs = await command.logs()
        seen[number] = logs.stdout + logs.stderr

    for first in range(0, 1000, 50):
        async with trio.open_nursery() as nursery:
            for number in range(first, first + 50):
                nursery.start_soon(one, number)
    assert seen == {number: b"%d\ne%d\n" % (number, number) for number in range(1000)}


async def test_results_of_short_commands_are_whole(session: sessions.Session) -> None:
    for number in range(500):
        assert (await session.run(f"echo {number}")).stdout == f"{number}\n"


@pytest.mark.parametrize("in_shell", [True, False])
async def test_the_end_of_a_large_output_is_not_cut(session: sessions.Session, in_shell: bool) -> None:
    expected = "".join(f"{number}\n" for number in range(1, 2_000_001)).encode()
    assert len(expected) == 14_888_896
    for _ in range(3):
        command = await session.run_async("seq 1 2000000", in_shell=in_shell)
        await command.wait()
        assert command.stdout_bytes == len(expected)
        assert (await command.logs()).stdout == expected


# Following


async def test_a_million_lines_are_followed_in_order(session: sessions.Session) -> None:
    command = await session.run_async("seq 1 1000000")
    received = bytearray()
    seq = -1
    async with command.follow() as records:
        async for record in records:
            assert record.seq > seq
            seq = record.seq
            received += record.data
    assert received == "".join(f"{number}\n" for number in range(1, 1_000_001)).encode()


async def test_a_silent_command_keeps_its_follower(session: sessions.Session) -> None:
    command = await session.run_async("read line; echo got $line", stdin=True, in_shell=True)
    received = []

    async def follow() -> None:
        async with command.follow() as records:
            async for record in records:
                received.append(record.data)

    with trio.fail_after(AT_ONCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await trio.testing.wait_all_tasks_blocked()
            assert (received, command.state) == ([], "running")
            await command.send_input("it\n")
    assert received == [b"got it\n"]


@pytest.mark.parametrize(
    ("text", "act", "reason"),
    [
        ("echo on; exit 3", None, "exit"),
        ("echo on; kill -9 $BASHPID", None, "signal"),
        ("echo on; sleep 600", "timeout", "timeout"),
        ("echo on; sleep 600", "kill", "killed"),
        ("echo on; sleep 600", "close", "session_closed"),
    ],
)
async def test_a_stream_that_ends_says_why(session: sessions.Session, text: str, act: str | None, reason: str) -> None:
    command = await session.run_async(text, timeout=1 if act == "timeout" else None)
    async with trio.open_nursery() as nursery:
        async with command.follow() as records:
            assert (await anext(records)).data == b"on\n"
            if act == "kill":
                nursery.start_soon(command.kill)
            if act == "close":
                nursery.start_soon(session.close)
            assert [record async for record in records] == []
            assert (command.state, command.reason) == ("finished", reason)


# Following again


async def test_a_reader_that_comes_back_for_each_record_loses_and_repeats_nothing(session: sessions.Session) -> None:
    command = await session.run_async("while read n; do echo $n; echo $n >&2; done", stdin=True)
    received = {"stdout": b"", "stderr": b""}
    after = None
    for number in range(200):
        await command.send_input(f"{number}\n")
        line = f"{number}\n".encode()
        while not all(data.endswith(line) for data in received.values()):
            async with command.follow(after=after) as records:
                record = await anext(records)
            received[record.stream] += record.data
            after = record.seq
    await command.close_input()
    async with command.follow(after=after) as records:
        assert [record async for record in records] == []
    expected = "".join(f"{number}\n" for number in range(200)).encode()
    assert received == {"stdout": expected, "stderr": expected}
    assert command.size_bytes == 2 * len(expected)


async def test_a_reader_that_comes_back_while_the_command_writes_at_full_speed(session: sessions.Session) -> None:
    chance = random.Random(4)
    command = await session.run_async("for ((i = 0; i < 20000; i++)); do echo $i; ((i % 7)) || echo $i >&2; done")
    digest = hashlib.sha256()
    after = None
    ended = False
    while not ended:
        left = chance.randrange(1, 4)
        ended = True
        async with command.follow(after=after) as records:
            async for record in records:
                digest.update(record.data)
                after = record.seq
                left -= 1
                if not left:
                    ended = False
                    break
    logs = await command.logs()
    assert digest.digest() == hashlib.sha256(logs.output).digest()
    assert logs.stdout == "".join(f"{number}\n" for number in range(20000)).encode()
    assert logs.stderr == "".join(f"{number}\n" for number in range(0, 20000, 7)).encode()


async def test_a_reader_cancelled_at_any_moment_goes_on_exactly(session: sessions.Session) -> None:
    command = await session.run_async("for ((i = 0; i < 300; i++)); do echo $i; read -t 0.002 <> <(:); done")
    received = bytearray()
    after = None
    while True:
        with trio.move_on_after(0.005) as scope:
            async with command.follow(after=after) as records:
                async for record in records:
                    received += record.data
                    after = record.seq
        if not scope.cancelled_caught:
            break
    assert received == "".join(f"{number}\n" for number in range(300)).encode()


async def test_a_log_is_read_on_from_where_a_follower_stopped(session: sessions.Session) -> None:
    command = await session.run_async("for ((i = 0; i < 5000; i++)); do echo $i; done")
    async with command.follow() as records:
        head = await anext(records)
    await command.wait()
    rest = (await command.logs(after=head.seq)).output
    assert head.data + rest == (await command.logs()).output == "".join(f"{n}\n" for n in range(5000)).encode()


# How it ended

ENDS = [
    ("true", 0, "exit", None),
    ("false", 1, "exit", None),
    ("(exit 7)", 7, "exit", None),
    ("return 9", 9, "exit", None),
    ("/no/such/program", 127, "exit", None),
    ("/etc/passwd", 126, "exit", None),
    ("if", 2, "exit", None),
    ("false | true", 0, "exit", None),
    ("sh -c 'kill -9 $$'", 137, "signal", signal.SIGKILL),
    ("sh -c 'kill -TERM $$'", 143, "signal", signal.SIGTERM),
    ("(ulimit -c 0; sh -c 'kill -SEGV $$')", 139, "signal", signal.SIGSEGV),
    ("(exit 255)", 255, "exit", None),
]


@pytest.mark.parametrize("shell", ["bash", "sh"])
@pytest.mark.parametrize("in_shell", [True, False])
async def test_the_exit_code_is_the_commands_own(engine: sessions.Engine, shell: str, in_shell: bool) -> None:
    session = await engine.create_session(shell=shell)
    for text, exit_code, reason, number in ENDS:
        command = await (await session.run_async(text, in_shell=in_shell)).wait()
        found = (command.text, command.exit_code, command.reason, command.signal)
        assert found == (text, exit_code, reason, number)
        assert (await session.run("echo alive")).stdout == "alive\n"


@pytest.mark.parametrize(
    ("text", "exit_code", "reason"),
    [("exit 7", 7, "exit"), ("kill -9 $BASHPID", 137, "signal"), ("exec sh -c 'exit 6'", 6, "exit")],
)
async def test_a_background_command_that_ends_its_own_fork(
    session: sessions.Session, text: str, exit_code: int, reason: str
) -> None:
    command = await (await session.run_async(text)).wait()
    assert (command.exit_code, command.reason) == (exit_code, reason)
    assert (await session.run("echo alive")).stdout == "alive\n"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("in_shell", [True, False])
async def test_what_was_killed_never_counts_as_success(engine: sessions.Engine, shell: str, in_shell: bool) -> None:
    session = await engine.create_session(shell=shell, restart=True)
    for text in ("sleep 600", "trap 'exit 0' TERM INT; while :; do sleep 0.01; done", "while :; do :; done"):
        killed = await session.run_async(f"echo on; {text}", in_shell=in_shell)
        await killed.wait_for("on")
        await killed.kill()
        assert (text, killed.reason) == (text, "killed")
        assert killed.exit_code not in (0, None)
        late = await session.run_async(f"echo on; {text}", in_shell=in_shell, timeout=0.3)
        await late.wait()
        assert (text, late.reason) == (text, "timeout")
        assert late.exit_code not in (0, None)


async def test_a_failure_is_raised_when_asked_for(session: sessions.Session) -> None:
    with pytest.raises(sessions.CommandFailed, match="what went wrong") as caught:
        await session.run("echo what went wrong >&2; false", check=True)
    assert (caught.value.result.exit_code, caught.value.result.stderr) == (1, "what went wrong\n")
    with pytest.raises(sessions.CommandFailed, match="timeout"):
        await session.run("sleep 600", timeout=0.1, check=True)


# A timeout keeps the output


async def test_a_timeout_keeps_the_output_so_far(session: sessions.Session) -> None:
    with trio.fail_after(AT_ONCE_SECONDS):
        result = await session.run("echo PROGRESS; echo trouble >&2; sleep 600", timeout=1)
    assert (result.reason, result.stdout, result.stderr) == ("timeout", "PROGRESS\n", "trouble\n")
    assert (await result.command.logs()).stdout == b"PROGRESS\n"

    command = await session.run_async("echo PROGRESS; sleep 600", timeout=1)
    with trio.fail_after(AT_ONCE_SECONDS):
        await command.wait()
    assert (command.reason, (await command.logs()).stdout) == ("timeout", b"PROGRESS\n")
