"""Input that waits for a program: exact and in order wherever it waits, and what comes behind it is heard at once."""

from __future__ import annotations

import errno
import os
import random

import pytest
import trio
import trio.testing

from sessions import Closed
from sessions.doors.waiting_input import WaitingInput


class Program:
    """Reads as much as it is let. Stands in for a command."""

    def __init__(self) -> None:
        self.read = b""
        self.has_end = False
        self.room, self._taking = trio.open_memory_channel[None](1000)

    async def send_input(self, data: bytes) -> None:
        await self._taking.receive()
        self.read += data

    async def close_input(self) -> None:
        self.has_end = True


def cut(data: bytes, dice: random.Random) -> list[bytes]:
    pieces = []
    while data:
        size = dice.randrange(9)
        pieces.append(data[:size])
        data = data[size:]
    return pieces


@pytest.mark.parametrize("seed", range(20))
async def test_it_is_exact_and_in_order(seed: int) -> None:
    dice, program, data = random.Random(seed), Program(), random.Random(seed).randbytes(600)
    with trio.fail_after(30), WaitingInput(memory_bytes=10, file_bytes=60) as waiting:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiting.feed, program)
            nursery.start_soon(feed_slowly, program, dice)
            for piece in cut(data, dice):
                await waiting.add(piece)
            waiting.complete()
            while not program.has_end:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert program.read == data


async def feed_slowly(program: Program, dice: random.Random) -> None:
    while True:
        for _ in range(dice.randrange(20)):
            await trio.lowlevel.checkpoint()
        await program.room.send(None)


async def test_who_is_too_far_ahead_waits() -> None:
    program = Program()
    with trio.fail_after(30), WaitingInput(memory_bytes=4, file_bytes=8) as waiting:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiting.feed, program)
            for piece in (b"abcd", b"efgh", b"ijkl", b"mnop"):  # with the program, in memory, and two in the file
                await waiting.add(piece)
                await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(0.05) as scope:
                await waiting.add(b"q")
            assert scope.cancelled_caught
            for _ in range(3):
                await program.room.send(None)
            await waiting.add(b"q")
            waiting.complete()
            await program.room.send(None)
            await program.room.send(None)
    assert (program.read, program.has_end) == (b"abcdefghijklmnopq", True)


async def test_a_full_disk_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it takes nothing, or a part."""
    program, write = Program(), os.pwrite
    rooms = [9, 0, 1]

    def write_some(descriptor: int, data: bytes, offset: int) -> int:
        room = rooms.pop(0)
        if not room:
            raise OSError(errno.ENOSPC, "no space left")
        return write(descriptor, data[:room], offset)

    monkeypatch.setattr(os, "pwrite", write_some)
    with trio.fail_after(30), WaitingInput(memory_bytes=2, file_bytes=9) as waiting:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiting.feed, program)
            for piece in (b"ab", b"cd", b"efg"):  # with the program, in memory, in the file
                await waiting.add(piece)
                await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(waiting.add, b"hij")
            for _ in range(3):
                await trio.testing.wait_all_tasks_blocked()
                await program.room.send(None)
            await trio.testing.wait_all_tasks_blocked()
            waiting.complete()
            await program.room.send(None)
    assert (program.read, rooms) == (b"abcdefghij", [])


async def test_what_is_not_wanted_is_thrown_away() -> None:
    class Ended(Program):
        async def send_input(self, data: bytes) -> None:
            await trio.lowlevel.checkpoint()
            raise Closed("it has ended")

    with WaitingInput() as waiting, trio.fail_after(10):
        await waiting.add(b"x")
        waiting.complete()
        await waiting.feed(Ended())  # type: ignore[arg-type]
