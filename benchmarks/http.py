"""The same verbs over HTTP: one short command, much output, many lines, many followers.

The server is another process, as for its users, and `sessions.connect` speaks to it over its unix socket. What it adds is
measured against the engine alone, doing the same in this process; what its users would have otherwise, against SWE-ReX's
own server and client. 500 followers are 500 connections of one client. A line's lag is from when it was written to when
the follower has it, counted once all commands have started; that each line came exactly once is checked for all of them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import attrs
import trio

import sessions

from .fleet import WRITER, Outcome, Tally
from .latency import blocking
from .measure import call_in_child, interleave, median, percentile
from .report import Row
from .served import server

LINES = "for ((i = 0; i < {}; i++)); do echo $i; done"
SESSIONS = 20


async def measure(place: str, quick: bool) -> list[dict[str, object]]:
    root = Path(place) / "root"
    with server(root) as url:
        rows = await one_command(url, 100 if quick else 1000, 2 if quick else 8)
        rows += await much_output(url, Path(place) / "alone", 30_000_000 if quick else 300_000_000)
        rows += await many_lines(url, Path(place) / "alone", 20_000 if quick else 200_000)
        followers, lines = (50, 12) if quick else (500, 30)
        fifo = str(Path(place) / "quiet")
        os.mkfifo(fifo)
        fleet: Outcome = call_in_child(
            "benchmarks.http:many_followers", timeout=180, url=url, fifo=fifo, followers=followers, lines=lines
        )
    rows += [
        Row(
            what=f"{followers} followers over HTTP: lines missing or twice",
            ours=fleet["wrong"],
            unit="count",
            at_most=0,
        ),
        Row(what=f"{followers} followers over HTTP: lag, p50", ours=fleet["lag_p50"]),
        Row(what=f"{followers} followers over HTTP: lag, p99", ours=fleet["lag_p99"], at_most=0.5),
    ]
    return [attrs.asdict(row) for row in rows]


async def one_command(url: str, rounds: int, slow_rounds: int) -> list[Row]:
    async with sessions.connect(url) as client, client.open_session() as session:

        async def run() -> None:
            result = await session.run("true")
            assert result.exit_code == 0

        taken = await interleave({"run": run}, rounds=rounds, warmup=20)
        ours, late = median(taken["run"]), percentile(taken["run"], 99)
        name = "SWE-ReX over its server"
        try:
            once, end = open_swe_rex()
        except ImportError as problem:
            peer = Row(
                what='run("true") over HTTP, p50', ours=ours, peer_name=name, problem=str(problem), at_most=0.006
            )
        else:
            try:
                both = await interleave({"run": run, "peer": blocking(once)}, rounds=slow_rounds, warmup=1, block=5)
            finally:
                end()
            peer = Row(
                what='run("true") over HTTP, p50, among slow ones',
                ours=median(both["run"]),
                peer=median(both["peer"]),
                peer_name=name,
                faster_at_least=8,
            )
    return [
        Row(what='run("true") over HTTP, p50', ours=ours, at_most=0.006),
        Row(what='run("true") over HTTP, p99', ours=late),
        peer,
    ]


def open_swe_rex() -> tuple[Callable[[], object], Callable[[], object]]:
    """SWE-ReX's server in a process of its own, and its client."""
    remote: Any = import_module("swerex.runtime.remote")
    requests: Any = import_module("swerex.runtime.abstract")
    logging.getLogger("rex-runtime").setLevel(logging.CRITICAL)
    token = secrets.token_hex(16)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "swerex.server", "--host", "127.0.0.1", "--port", str(port), "--auth-token", token],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    silent = logging.getLogger("benchmarks.swe-rex")
    silent.addHandler(logging.NullHandler())
    silent.propagate = False
    loop = asyncio.new_event_loop()
    runtime = remote.RemoteRuntime(auth_token=token, port=port, logger=silent, timeout=10)
    loop.run_until_complete(runtime.wait_until_alive(timeout=60))
    loop.run_until_complete(runtime.create_session(requests.CreateBashSessionRequest()))

    def once() -> None:
        loop.run_until_complete(runtime.run_in_session(requests.BashAction(command="true")))

    def end() -> None:
        loop.run_until_complete(runtime.close())
        loop.close()
        process.terminate()
        process.wait(30)

    return once, end


async def follow_all_of(session: Any, text: str) -> tuple[float, int]:
    """Seconds from the start of a command to the end of following it, and the bytes that came."""
    began = time.perf_counter()
    size = 0
    command = await session.run_async(text)
    async with command.follow() as records:
        async for record in records:
            size += len(record.data)
    return time.perf_counter() - began, size


async def much_output(url: str, root: Path, size: int) -> list[Row]:
    """Reading a log that is there: from its first byte to its end."""
    text = f"head -c {size} /dev/zero | tr '\\0' x"
    seconds = []
    for connect in (lambda: sessions.connect(url), lambda: sessions.open_engine(root)):
        async with connect() as host, host.open_session() as session:
            command = await session.run_async(text)
            await command.wait()
            taken = []
            for _ in range(3):
                began, seen = time.perf_counter(), 0
                async with command.follow() as records:
                    async for record in records:
                        seen += len(record.data)
                assert seen == size, (seen, size)
                taken.append(time.perf_counter() - began)
            seconds.append(median(taken))
    over_http, alone = seconds
    what = f"follow over SSE: {size / 1e6:.0f} MB log"
    return [
        Row(what=what, ours=size / over_http, unit="B/s", peer=size / alone, peer_name="engine alone", at_least=100e6)
    ]


async def many_lines(url: str, root: Path, count: int) -> list[Row]:
    """Following a command that writes short lines, live, from its start to its end."""
    text = LINES.format(count)
    expected = sum(len(f"{i}\n") for i in range(count))
    taken: dict[str, list[float]] = {"http": [], "alone": []}
    async with (
        sessions.connect(url) as client,
        sessions.open_engine(root) as engine,
        client.open_session() as there,
        engine.open_session() as here,
    ):
        for _ in range(3):
            for name, session in (("http", there), ("alone", here)):
                seconds, size = await follow_all_of(session, text)
                assert size == expected, (name, size, expected)
                taken[name].append(seconds)
    return [
        Row(
            what=f"follow over SSE, live: {count:,} short lines",
            ours=median(taken["http"]),
            peer=median(taken["alone"]),
            peer_name="engine alone",
            ratio_at_most=3,
        )
    ]


async def many_followers(url: str, fifo: str, followers: int, lines: int) -> Outcome:
    """In a process of its own."""
    text = WRITER.format(lines=lines).replace("-t 0.25", "-t 0.5")
    tally = Tally(lines)
    async with sessions.connect(url) as client:
        opened = [await client.create_session(env={"QUIET_FIFO": fifo, "LC_ALL": "C"}) for _ in range(SESSIONS)]
        began = time.perf_counter()
        commands = [await opened[number % SESSIONS].run_async(text) for number in range(followers)]
        start_seconds = time.perf_counter() - began

        async def follow(number: int) -> None:
            async with commands[number].follow() as records:
                async for record in records:
                    tally.receive(number, record.data)

        async with trio.open_nursery() as nursery:
            for number in range(followers):
                nursery.start_soon(follow, number)
            tally.all_started_at = time.time() + 2  # connections are being opened until then
        for session in opened:
            await session.close()
        return tally.outcome(followers, start_seconds)
