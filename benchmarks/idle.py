"""300 sessions that do nothing: what it takes to open and to keep them.

Opened one after the other in a process of its own; the mean is judged, because what a user waits for is the sum. The
peer is the least that opening a shell takes: start the same ``bash -i`` and wait for one line from it; one of these is
opened and closed after each tenth session. Then another process takes the processor time of the engine and of all its
shells from the kernel's nanosecond counters over some seconds in which nobody asks for anything. Memory is the engine's
process alone.

What a process costs that wakes for a moment is not constant: where a machine's memory is fetched back after each rest, as
in some virtual machines, an empty program that only wakes once a second took from 0.3 to 1.6 %. It is the peer.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TypedDict

import attrs
import psutil
import trio

import sessions

from .measure import call_in_child, cpu_seconds, percentile, resident_bytes
from .report import Row

SHELL = ["bash", "--noprofile", "--norc", "--noediting", "-i"]
EMPTY_PROGRAM = """
import trio

async def main():
    while True:
        await trio.sleep(1)

trio.run(main)
"""
SETTLE_SECONDS = 1
"""What follows an opening is not idleness."""


class Outcome(TypedDict):
    open_seconds: list[float]
    peer_seconds: list[float]
    processes: int
    cpu_percent: float
    empty_percent: float
    resident_bytes: int


def measure(place: str, quick: bool) -> list[dict[str, object]]:
    count, watched_seconds = (40, 3) if quick else (300, 10)
    found: Outcome = call_in_child(
        "benchmarks.idle:engine", timeout=120, place=place, count=count, watched_seconds=watched_seconds
    )
    opened, peer = found["open_seconds"], found["peer_seconds"]
    mean, peer_mean = sum(opened) / len(opened), sum(peer) / len(peer)
    late, peer_late = percentile(opened, 99), percentile(peer, 99)
    name = "bash -i and one line"
    rows = [
        Row(what=f"open one of {count} sessions, mean", ours=mean, peer=peer_mean, peer_name=name, at_most=0.020),
        Row(what=f"open one of {count} sessions, p99", ours=late, peer=peer_late, peer_name=name),
        Row(
            what=f"{count} idle sessions, processor",
            ours=found["cpu_percent"],
            peer=found["empty_percent"],
            peer_name="an empty trio program",
            unit="%",
            at_most=1.0,
        ),
        Row(what=f"{count} idle sessions, engine's memory", ours=found["resident_bytes"], unit="B", at_most=90e6),
        Row(what=f"{count} idle sessions, processes", ours=found["processes"], unit="count"),
    ]
    return [attrs.asdict(row) for row in rows]


async def engine(place: str, count: int, watched_seconds: float) -> Outcome:
    open_seconds: list[float] = []
    peer_seconds: list[float] = []
    async with sessions.open_engine(Path(place) / "root") as engine:
        for number in range(count):
            began = time.perf_counter()
            await engine.create_session()
            open_seconds.append(time.perf_counter() - began)
            if number % 10 == 9:
                peer_seconds.append(open_bare_shell())
        pids = [os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))]
        if len(pids) < count + 1:
            raise RuntimeError(f"{len(pids) - 1} processes for {count} sessions")
        watched = partial(
            call_in_child, "benchmarks.idle:watch", timeout=watched_seconds + 60, pids=pids, seconds=watched_seconds
        )
        ours, empty = await trio.to_thread.run_sync(watched)
        return Outcome(
            open_seconds=open_seconds,
            peer_seconds=peer_seconds,
            processes=len(pids),
            cpu_percent=ours,
            empty_percent=empty,
            resident_bytes=resident_bytes(peak=True),
        )


def watch(pids: list[int], seconds: float) -> tuple[float, float]:
    """Processor time of these processes together, and of the peer, in percent."""
    with subprocess.Popen([sys.executable, "-c", EMPTY_PROGRAM]) as peer:
        try:
            time.sleep(SETTLE_SECONDS)
            began, before, peer_before = time.perf_counter(), used(pids), used([peer.pid])
            time.sleep(seconds)
            after, peer_after, passed = used(pids), used([peer.pid]), time.perf_counter() - began
        finally:
            peer.kill()
    return 100 * (after - before) / passed, 100 * (peer_after - peer_before) / passed


def used(pids: Iterable[int]) -> float:
    return sum(map(cpu_seconds, pids))


def open_bare_shell() -> float:
    """Seconds until a shell without an engine around it has answered."""
    began = time.perf_counter()
    with subprocess.Popen(
        SHELL, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        shell.stdin.write(b"echo ready\n")
        shell.stdin.flush()
        shell.stdout.readline()
        return time.perf_counter() - began
