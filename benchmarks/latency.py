"""One short command: ``session.run("true")`` and ``run_async("true")`` + ``wait()`` beside other ways to do it.

All in one process and interleaved call by call, the order turning; a call counts from before it is made until its
result is there. First against `trio.run_process`, alone, because it is as fast as we are; then a smaller number of
rounds against the slow ones, which are imported only now so that their heap does not weigh on the first part; these
spend most of their time asleep, so each makes five calls in a row: one alone would measure how a processor wakes up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import attrs
import trio

import sessions

from .daytona import LabelledShell
from .measure import interleave, median, percentile
from .report import Row

BASH_TRUE = ["bash", "-c", "true"]
REPLWRAP = "pexpect.replwrap"
SWE_REX = "SWE-ReX run_in_session"
LABELLED = "Daytona's wrapper, 50 ms poll"
LABELLED_BUSY = "Daytona's wrapper, 1 ms poll"


async def measure(place: str, quick: bool) -> list[dict[str, object]]:
    async with sessions.open_engine(Path(place) / "root") as engine, engine.open_session() as session:

        async def run() -> None:
            result = await session.run("true")
            assert result.exit_code == 0

        async def start_and_wait() -> None:
            command = await session.run_async("true")
            await command.wait()
            assert command.exit_code == 0

        rows = await against_trio(run, start_and_wait, rounds=200 if quick else 1500)
        rows += await against_slow_ones(run, Path(place), rounds=2 if quick else 8)
    return [attrs.asdict(row) for row in rows]


async def against_trio(
    run: Callable[[], Awaitable[None]], start_and_wait: Callable[[], Awaitable[None]], *, rounds: int
) -> list[Row]:
    async def run_process() -> None:
        await trio.run_process(BASH_TRUE)

    contenders = {"run": run, "run_async": start_and_wait, "trio": run_process}
    taken = await interleave(contenders, rounds=rounds, warmup=20)
    peer, peer_late = median(taken["trio"]), percentile(taken["trio"], 99)
    name = "trio.run_process"
    ours, ours_late = median(taken["run"]), percentile(taken["run"], 99)
    beside, beside_late = median(taken["run_async"]), percentile(taken["run_async"], 99)
    return [
        Row(what='run("true"), p50', ours=ours, peer=peer, peer_name=name, ratio_at_most=0.5),
        Row(what='run("true"), p99', ours=ours_late, peer=peer_late, peer_name=name),
        Row(what='run_async("true") + wait, p50', ours=beside, peer=peer, peer_name=name, ratio_at_most=1.5),
        Row(what='run_async("true") + wait, p99', ours=beside_late, peer=peer_late, peer_name=name),
    ]


async def against_slow_ones(run: Callable[[], Awaitable[None]], place: Path, *, rounds: int) -> list[Row]:
    contenders: dict[str, Callable[[], Awaitable[None]]] = {"run": run}
    missing: dict[str, str] = {}
    with LabelledShell(place / "labelled") as shell:
        contenders[LABELLED] = blocking(lambda: shell.run("true"))
        contenders[LABELLED_BUSY] = blocking(lambda: shell.run("true", poll_seconds=0.001))
        endings = []
        for name, open_peer in ((REPLWRAP, open_replwrap), (SWE_REX, open_swe_rex)):
            try:
                once, end = open_peer()
            except ImportError as problem:
                missing[name] = f"{problem}; pip install 'sessions[bench]'"
                continue
            contenders[name] = blocking(once)
            endings.append(end)
        try:
            taken = await interleave(contenders, rounds=rounds, warmup=1, block=5)
        finally:
            for end in endings:
                end()

    ours = median(taken["run"])

    def row(name: str, faster_at_least: float | None = None) -> Row:
        return Row(
            what='run("true"), p50, among slow ones',
            ours=ours,
            peer=None if name in missing else median(taken[name]),
            peer_name=name,
            problem=missing.get(name, ""),
            faster_at_least=faster_at_least,
        )

    return [row(REPLWRAP, 50), row(SWE_REX, 100), row(LABELLED), row(LABELLED_BUSY)]


def blocking(once: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    """Peers that block the loop may: our engine has nothing to do while they are timed."""

    async def call() -> None:
        once()

    return call


def open_replwrap() -> tuple[Callable[[], object], Callable[[], object]]:
    replwrap: Any = import_module("pexpect.replwrap")
    shell = replwrap.bash()
    return (lambda: shell.run_command("true")), (lambda: shell.child.close(force=True))


def open_swe_rex() -> tuple[Callable[[], object], Callable[[], object]]:
    """Its runtime is asyncio by name, so it gets a loop of its own; a call is one turn of that loop."""
    runtimes: Any = import_module("swerex.runtime.local")
    requests: Any = import_module("swerex.runtime.abstract")
    silent = logging.getLogger("benchmarks.swe-rex")
    silent.addHandler(logging.NullHandler())
    silent.propagate = False
    runtime = runtimes.LocalRuntime(logger=silent)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(runtime.create_session(requests.CreateBashSessionRequest()))

    def once() -> None:
        loop.run_until_complete(runtime.run_in_session(requests.BashAction(command="true")))

    def end() -> None:
        loop.run_until_complete(runtime.close())
        loop.close()

    return once, end
