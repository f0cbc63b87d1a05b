"""A 600 MB log read back: `logs()` whole, `follow` from its beginning, the last 100 lines.

The log is written by one command in one process, and read by a later engine on the same root, as it would be the day
after (from the page cache, on both sides). ``logs()`` and `Path.read_bytes` of the transcript alternate; each result is
dropped before the next is made. `follow` runs in a process that has read nothing else, so the growth of its peak memory
is the follower's; the peer reads the transcript in pieces of 1 MiB. ``logs(tail=100)`` counts from a new engine's first
call on, and its slowest call is judged; the peer is a ``tail -n 100`` process.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any, TypedDict

import attrs
import trio

import sessions

from .measure import call_in_child, interleave, median, resident_bytes
from .report import Row

LOG_BYTES = 600_000_000
LINE = b"%09d " + b"x" * 89 + b"\n"
WRITER = """
import os, sys
size, streams = int(sys.argv[1]), [int(number) for number in sys.argv[2].split(",")]
line, number = b"%09d " + b"x" * 89 + b"\\n", 0
for turn in range(size // 100_000):
    part = b"".join(line % (turn * 1000 + n) for n in range(1000))
    while part:
        part = part[os.write(streams[turn % len(streams)], part):]
"""


class Followed(TypedDict):
    seconds: list[float]
    peer_seconds: list[float]
    grown_bytes: int


def measure(place: str, quick: bool) -> list[dict[str, object]]:
    size = LOG_BYTES // 10 if quick else LOG_BYTES
    root = str(Path(place) / "root")
    rows: list[Row] = []
    for what, streams in (("", "1"), (", half of it stderr", "1,2")):
        source: dict[str, Any] = {"root": root, "command_id": write(root, size, streams), "size_bytes": size}
        taken: dict[str, list[float]] = call_in_child("benchmarks.reading:whole", timeout=200, **source)
        named = f"{size / 1e6:.0f} MB log{what}"
        whole, whole_peer = median(taken["logs"]), median(taken["read_bytes"])
        tail, tail_peer = max(taken["tail"]), median(taken["tail process"])
        followed: Followed = call_in_child("benchmarks.reading:follow", timeout=200, **source)
        rate, rate_peer = size / median(followed["seconds"]), size / median(followed["peer_seconds"])
        grown, pieces = followed["grown_bytes"], "read in pieces"
        rows += [
            Row(what=f"logs(): {named}", ours=whole, peer=whole_peer, peer_name="Path.read_bytes", ratio_at_most=3),
            Row(what=f"follow: {named}", ours=rate, unit="B/s", peer=rate_peer, peer_name=pieces, at_least=500e6),
            Row(what=f"follow, memory: {named}", ours=grown, unit="B", at_most=64e6),
            Row(what=f"tail=100, slowest: {named}", ours=tail, peer=tail_peer, peer_name="tail -n 100", at_most=0.05),
        ]
    return [attrs.asdict(row) for row in rows]


def write(root: str, size: int, streams: str) -> str:
    """The id of a command that has written the log."""
    command_id: str = call_in_child("benchmarks.reading:written", timeout=200, root=root, size=size, streams=streams)
    return command_id


async def written(root: str, size: int, streams: str) -> str:
    async with sessions.open_engine(root) as engine, engine.open_session() as session:
        command = await session.run_async(shlex.join([sys.executable, "-I", "-S", "-c", WRITER, str(size), streams]))
        await command.wait()
        if command.size_bytes != size:
            raise RuntimeError(f"the log has {command.size_bytes} bytes, not {size}")
        return command.id


def transcript_of(root: str, command: sessions.Command) -> Path:
    return Path(root) / "sessions" / command.session_id / "transcript"


async def whole(root: str, command_id: str, size_bytes: int) -> dict[str, list[float]]:
    async with sessions.open_engine(root) as engine:
        command = await engine.get_command(command_id)
        transcript = transcript_of(root, command)
        last = LINE % (size_bytes // 100 - 1)

        async def tail() -> float:
            began = time.perf_counter()
            logs = await command.logs(tail=100)
            seconds = time.perf_counter() - began
            if logs.output.count(b"\n") != 100 or not logs.output.endswith(last):
                raise RuntimeError("tail=100 did not give the last 100 lines")
            return seconds

        async def tail_process() -> None:
            await trio.run_process(["tail", "-n", "100", str(transcript)], capture_stdout=True)

        async def logs() -> float:
            began = time.perf_counter()
            found = await command.logs()
            seconds = time.perf_counter() - began
            if len(found.output) != size_bytes or len(found.stdout) + len(found.stderr) != size_bytes:
                raise RuntimeError(f"logs() gave {len(found.output)} bytes, not {size_bytes}")
            return seconds

        async def read_bytes() -> float:
            began = time.perf_counter()
            found = transcript.read_bytes()
            seconds = time.perf_counter() - began
            assert len(found) == size_bytes
            return seconds

        taken = await interleave({"tail": tail, "tail process": tail_process}, rounds=50)
        return taken | await interleave({"logs": logs, "read_bytes": read_bytes}, rounds=9, warmup=1)


async def follow(root: str, command_id: str, size_bytes: int) -> Followed:
    async with sessions.open_engine(root) as engine:
        command = await engine.get_command(command_id)
        transcript = transcript_of(root, command)

        async def ours() -> None:
            arrived = 0
            async with command.follow() as records:
                async for record in records:
                    arrived += len(record.data)
            if arrived != size_bytes:
                raise RuntimeError(f"follow gave {arrived} bytes, not {size_bytes}")

        async def pieces() -> None:
            source = os.open(transcript, os.O_RDONLY)
            while os.read(source, 1 << 20):
                pass
            os.close(source)

        before = resident_bytes(peak=True)
        taken = await interleave({"ours": ours, "pieces": pieces}, rounds=7)
        grown = resident_bytes(peak=True) - before
        return Followed(seconds=taken["ours"], peer_seconds=taken["pieces"], grown_bytes=grown)
