"""1,000 background commands in 20 sessions, each with 4 lines a second, followed by one `follow_all`.

Every line carries its number and the time at which it was written. A line counts for the lag if it was written after
the last command had started; that every line came exactly once is checked for all of them. The writers fork nothing:
they sleep by `read -t` on a FIFO that nobody writes to, and bash knows the time. They also end within about a second of
each other, which is part of the load. Starting them counts from the first `run_async`, one task per session, until no
command is queued any more. Memory is the peak of the process that holds the engine and the follower; the writers
are others. The peer holds the same 1,000 writers by bare pipes and one epoll loop, stores nothing, and so shows what
the machine itself adds at this load.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
from array import array
from collections import Counter
from pathlib import Path
from typing import Any, TypedDict

import attrs
import trio

import sessions

from .measure import call_in_child, percentile, resident_bytes
from .report import Row

SESSIONS = 20
WRITER = r"""
exec 9<>"$QUIET_FIFO"
for ((n = 0; n < {lines}; n++)); do
    printf '%s %s\n' "$n" "${{EPOCHREALTIME/,/.}}"
    read -r -t 0.25 -u 9
done
:
"""


class Outcome(TypedDict):
    """What one side found."""

    start_seconds: float
    wrong: int
    lag_p50: float
    lag_p99: float
    resident_bytes: int


class Tally:
    """Lines as they arrive: how late, and which."""

    def __init__(self, lines: int) -> None:
        self.lines = lines
        self.all_started_at = float("inf")
        self.lags = array("d")
        self.rests: dict[int, bytes] = {}
        self.seen: Counter[tuple[int, int]] = Counter()

    def receive(self, writer: int, data: bytes) -> None:
        now = time.time()
        *lines, self.rests[writer] = (self.rests.get(writer, b"") + data).split(b"\n")
        for line in lines:
            number, written_at = line.split()
            self.seen[writer, int(number)] += 1
            if float(written_at) >= self.all_started_at:
                self.lags.append(now - float(written_at))

    def outcome(self, writers: int, start_seconds: float) -> Outcome:
        expected = {(writer, number) for writer in range(writers) for number in range(self.lines)}
        twice = sum(count - 1 for count in self.seen.values())
        return Outcome(
            start_seconds=start_seconds,
            wrong=len(expected ^ self.seen.keys()) + twice,
            lag_p50=percentile(self.lags, 50),
            lag_p99=percentile(self.lags, 99),
            resident_bytes=resident_bytes(peak=True),
        )


def measure(place: str, quick: bool) -> list[dict[str, object]]:
    writers, lines = (200, 24) if quick else (1000, 60)
    fifo = str(Path(place) / "quiet")
    os.mkfifo(fifo)
    load: dict[str, Any] = {"fifo": fifo, "writers": writers, "lines": lines}
    ours: Outcome = call_in_child("benchmarks.fleet:engine", timeout=180, place=place, **load)
    peer: Outcome = call_in_child("benchmarks.fleet:bare_pipes", timeout=180, **load)
    name = "bare pipes, epoll"
    rows = [
        Row(
            what=f"start {writers:,} commands in {SESSIONS} sessions",
            ours=ours["start_seconds"],
            peer=peer["start_seconds"],
            peer_name="subprocess.Popen",
            at_most=2.0,
        ),
        Row(what="lines missing or twice", ours=ours["wrong"], unit="count", at_most=0),
        Row(what="lag of follow_all, p50", ours=ours["lag_p50"], peer=peer["lag_p50"], peer_name=name),
        Row(what="lag of follow_all, p99", ours=ours["lag_p99"], peer=peer["lag_p99"], peer_name=name, at_most=0.25),
        Row(what="memory of engine and follower", ours=ours["resident_bytes"], unit="B", at_most=150e6),
    ]
    return [attrs.asdict(row) for row in rows]


async def engine(place: str, fifo: str, writers: int, lines: int) -> Outcome:
    """Our side, in a process of its own."""
    text = WRITER.format(lines=lines)
    tally = Tally(lines)
    commands: list[sessions.Command] = []
    async with sessions.open_engine(Path(place) / "root") as engine:

        async def start(session: sessions.Session) -> None:
            for _ in range(writers // SESSIONS):
                commands.append(await session.run_async(text))

        opened = [await engine.create_session(env={"QUIET_FIFO": fifo, "LC_ALL": "C"}) for _ in range(SESSIONS)]
        began = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for session in opened:
                nursery.start_soon(start, session)
        waiting = list(commands)
        while waiting := [command for command in waiting if command.state == "queued"]:  # noqa: ASYNC110
            await trio.sleep(0.005)
        start_seconds = time.perf_counter() - began
        tally.all_started_at = time.time()
        numbers = {command.id: number for number, command in enumerate(commands)}
        async with sessions.follow_all(commands) as records:
            async for command, record in records:
                tally.receive(numbers[command.id], record.data)
        if failed := [command for command in commands if command.exit_code != 0]:
            raise RuntimeError(f"{len(failed)} writers failed, the first with {failed[0].exit_code}")
        return tally.outcome(writers, start_seconds)


def bare_pipes(fifo: str, writers: int, lines: int) -> Outcome:
    """The peer's side: the same writers, no log, no ids, no engine."""
    arguments = ["bash", "--noprofile", "--norc", "-c", WRITER.format(lines=lines)]
    environment = os.environ | {"QUIET_FIFO": fifo, "LC_ALL": "C"}
    tally = Tally(lines)
    poll = select.epoll()
    numbers: dict[int, int] = {}
    began = time.perf_counter()
    started = [subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE) for _ in range(writers)]
    start_seconds = time.perf_counter() - began
    tally.all_started_at = time.time()
    for number, process in enumerate(started):
        assert process.stdout is not None
        numbers[process.stdout.fileno()] = number
        poll.register(process.stdout.fileno(), select.EPOLLIN)
    while numbers:
        for descriptor, _ in poll.poll():
            if data := os.read(descriptor, 65536):
                tally.receive(numbers[descriptor], data)
            else:
                poll.unregister(descriptor)
                del numbers[descriptor]
    for process in started:
        process.communicate()
    return tally.outcome(writers, start_seconds)
