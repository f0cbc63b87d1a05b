"""Readers that are killed, stopped or slow: they get every byte in the end, and nobody else notices them."""

from __future__ import annotations

import hashlib
import random
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import trio
from large_logs import MEBIBYTE, forget_peak, peak_kib

import sessions

# Another program on the same root, which follows a command and writes what it gets to its stdout, each record behind its seq and
# size; an empty one at the end.
READER = """
import struct, sys, trio, sessions

async def main(root, command_id, after):
    async with sessions.open_engine(root) as engine:
        command = await engine.get_command(command_id)
        async with command.follow(after=int(after)) as records:
            async for record in records:
                sys.stdout.buffer.write(struct.pack("<QQ", record.seq, len(record.data)) + record.data)
                sys.stdout.buffer.flush()
        await command.refresh()
        sys.stdout.buffer.write(struct.pack("<QQ", command.exit_code, 0))

trio.run(main, *sys.argv[1:])
"""
HEAD = struct.Struct("<QQ")


def start_reader(command: sessions.Command, root: Path, after: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", READER, root, command.id, str(after)], stdout=subprocess.PIPE)


async def read(process: subprocess.Popen[bytes], size: int) -> bytes:
    assert process.stdout is not None
    return await trio.to_thread.run_sync(process.stdout.read, size)


async def read_whole(process: subprocess.Popen[bytes], take: Callable[[int, bytes], None]) -> int:
    """Read records to the last one; the exit code that it tells."""
    while True:
        seq, size = HEAD.unpack(await read(process, HEAD.size))
        if not size:
            return int(seq)
        take(seq, await read(process, size))


async def test_a_program_that_is_killed_while_it_follows_goes_on_where_it_was(
    engine: sessions.Engine, session: sessions.Session
) -> None:
    """Killed at any byte of what it hands on: what was not whole comes again."""
    text = (
        "for ((i = 1; i <= 30000; i++)); do echo $i; ((i % 7)) || echo $i >&2; ((i % 30)) || sleep 0.003; done; exit 9"
    )
    command = await session.run_async(text)
    chosen = random.Random(4)
    digest = hashlib.sha256()
    after, deaths = -1, 0

    def take(seq: int, data: bytes) -> None:
        nonlocal after
        assert seq > after
        digest.update(data)
        after = seq

    with trio.fail_after(60):
        for _ in range(6):
            with start_reader(command, engine.root, after) as process:
                data = await read(process, chosen.randrange(1, 3000))
                process.kill()
            at = 0
            while len(data) >= at + HEAD.size:
                seq, size = HEAD.unpack_from(data, at)
                if not size or len(data) < at + HEAD.size + size:
                    break
                take(seq, data[at + HEAD.size : at + HEAD.size + size])
                at += HEAD.size + size
            deaths += process.returncode == -signal.SIGKILL
        with start_reader(command, engine.root, after) as process:
            assert await read_whole(process, take) == 9
    assert deaths == 6
    assert digest.digest() == hashlib.sha256((await command.logs()).output).digest()
    assert (await command.logs()).stdout == b"".join(b"%d\n" % number for number in range(1, 30001))


async def test_a_program_that_is_stopped_while_it_follows_holds_up_nobody_and_misses_nothing(
    engine: sessions.Engine, session: sessions.Session
) -> None:
    size = 128 * MEBIBYTE
    command = await session.run_async(f"echo begun; read x; seq 1 100000000 | head -c {size}; exit 9", stdin=True)
    digest, total = hashlib.sha256(), 0

    def take(_: int, data: bytes) -> None:
        nonlocal total
        digest.update(data)
        total += len(data)

    with trio.fail_after(100), start_reader(command, engine.root, -1) as process:
        try:
            begun = await read(process, HEAD.size + len("begun\n"))
            process.send_signal(signal.SIGSTOP)
            reader = psutil.Process(process.pid)
            while reader.status() != psutil.STATUS_STOPPED:
                await trio.sleep(0.001)
            forget_peak()
            before = peak_kib()
            await command.send_input("go\n")
            await command.wait()
            assert peak_kib() - before < 20 * 1024
            assert (reader.status(), command.stdout_bytes) == (psutil.STATUS_STOPPED, size + len("begun\n"))
            assert begun.endswith(b"begun\n")
            process.send_signal(signal.SIGCONT)
            assert await read_whole(process, take) == 9
        finally:
            process.kill()
    expected = await session.run(f"seq 1 100000000 | head -c {size} | sha256sum")
    assert (total, digest.hexdigest()) == (size, expected.stdout.split()[0])


async def test_one_slow_follower_among_hundreds_holds_up_no_other(engine: sessions.Engine) -> None:
    opened = [await engine.create_session() for _ in range(5)]
    text = "for ((i = 1; i <= 1000; i++)); do echo $i; done"
    commands = [await opened[number % 5].run_async(text) for number in range(200)]
    expected = b"".join(b"%d\n" % number for number in range(1, 1001))
    outputs: dict[str, bytes] = {}
    merged = {command.id: bytearray() for command in commands}
    all_others = trio.Event()

    async def follow(command: sessions.Command, slow: bool) -> None:
        output = bytearray()
        async with command.follow() as records:
            async for record in records:
                assert record.command_id == command.id
                output += record.data
                if slow:
                    await all_others.wait()
        outputs[command.id] = bytes(output)

    async def follow_all(slow: bool) -> None:
        async with sessions.follow_all(commands) as records:
            async for command, record in records:
                assert record.command_id == command.id
                if slow:
                    await all_others.wait()
                else:
                    merged[command.id] += record.data

    with trio.fail_after(60):
        async with trio.open_nursery() as slow_ones:
            slow_ones.start_soon(follow, commands[0], True)
            slow_ones.start_soon(follow_all, True)
            async with trio.open_nursery() as others:
                others.start_soon(follow_all, False)
                for command in commands[1:]:
                    others.start_soon(follow, command, False)
            assert commands[0].id not in outputs
            all_others.set()
    assert {command_id for command_id, output in outputs.items() if output == expected} == set(merged)
    assert [bytes(output) == expected for output in merged.values()] == [True] * 200


async def test_hundreds_of_followers_end_at_once_when_they_are_cancelled(engine: sessions.Engine) -> None:
    opened = [await engine.create_session() for _ in range(5)]
    commands = [await opened[number % 5].run_async("echo begun; sleep 600") for number in range(200)]
    begun: set[str] = set()
    all_begun = trio.Event()

    async def follow(command: sessions.Command) -> None:
        async with command.follow() as records:
            async for record in records:
                begun.add(record.command_id)
                if len(begun) == len(commands):
                    all_begun.set()

    async def follow_all() -> None:
        async with sessions.follow_all(commands) as records:
            async for _ in records:
                pass

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow_all)
            for command in commands:
                nursery.start_soon(follow, command)
            await all_begun.wait()
            started = trio.current_time()
            nursery.cancel_scope.cancel()
        assert trio.current_time() - started < 1
    assert {command.state for command in commands} == {"running"}
