"""From a write to its receipt by a follower, one stream.

A small writer puts `CLOCK_MONOTONIC` (one clock for all processes) into each line just before it writes it, a line
every 4 ms; the receiver subtracts it from the same clock when the record reaches it. The peer is the least there can
be: a trio program that reads the same writer's pipe itself and stores nothing. Rounds of both alternate.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path

import attrs
import trio

import sessions

from .measure import percentile
from .report import Row

PAUSE_SECONDS = 0.004
WRITER = f"""
import os, sys, time
for _ in range(int(sys.argv[1])):
    time.sleep({PAUSE_SECONDS})
    os.write(1, b"%d\\n" % time.monotonic_ns())
"""


class Lags:
    """Seconds between each line's stamp and its receipt."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.rest = b""

    def receive(self, data: bytes | bytearray) -> None:
        now = time.monotonic_ns()
        *lines, self.rest = bytes(self.rest + data).split(b"\n")
        self.seconds += [(now - int(line)) / 1e9 for line in lines]


async def measure(place: str, quick: bool) -> list[dict[str, object]]:
    rounds, lines = (2, 250) if quick else (5, 1000)
    arguments = [sys.executable, "-I", "-S", "-c", WRITER, str(lines)]
    ours, peer = Lags(), Lags()
    async with sessions.open_engine(Path(place) / "root") as engine, engine.open_session() as session:
        for _ in range(rounds):
            command = await session.run_async(shlex.join(arguments))
            async with command.follow() as records:
                async for record in records:
                    ours.receive(record.data)
            await read_pipe(arguments, peer)
    expected = rounds * lines
    if (len(ours.seconds), len(peer.seconds)) != (expected, expected):
        raise RuntimeError(f"{len(ours.seconds)} and {len(peer.seconds)} lines arrived, not {expected}")
    rows = [
        Row(
            what=f"write to follower's receipt, p{percent}",
            ours=percentile(ours.seconds, percent),
            peer=percentile(peer.seconds, percent),
            peer_name="bare pipe in trio",
            at_most=at_most,
        )
        for percent, at_most in ((50, 0.001), (99, 0.010))
    ]
    return [attrs.asdict(row) for row in rows]


async def read_pipe(arguments: list[str], lags: Lags) -> None:
    process = await trio.lowlevel.open_process(arguments, stdout=subprocess.PIPE)
    assert process.stdout is not None
    async with process.stdout:
        async for data in process.stdout:
            lags.receive(data)
    await process.wait()
