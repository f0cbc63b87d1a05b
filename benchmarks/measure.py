"""How things are measured here: interleaved, by percentiles, and in a process of their own where memory counts."""

from __future__ import annotations

import inspect
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import trio

REPOSITORY = Path(__file__).resolve().parent.parent


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def median(values: Sequence[float]) -> float:
    return percentile(values, 50)


async def interleave(
    contenders: Mapping[str, Callable[[], Awaitable[float | None]]], *, rounds: int, warmup: int = 0, block: int = 1
) -> dict[str, list[float]]:
    """Seconds of each contender's every call.

    One call of each per round (`block` calls), so a slow second of the machine hits all of them; in an order that is
    drawn anew each round, so none is always the one after the heaviest. A contender that returns a float has timed
    itself; otherwise the whole call counts.
    """
    names = list(contenders)
    taken: dict[str, list[float]] = {name: [] for name in names}
    order = random.Random(rounds)
    for number in range(-warmup, rounds):
        order.shuffle(names)
        for name in (name for name in names for _ in range(block)):
            began = time.perf_counter()
            own = await contenders[name]()
            seconds = time.perf_counter() - began if own is None else own
            if number >= 0:
                taken[name].append(seconds)
    return taken


def call_in_child(function: str, /, *, timeout: float, own_group: bool = False, **arguments: Any) -> Any:
    """What ``"module:function"`` returns (as JSON) in a fresh interpreter, where only it adds to memory and heap.

    After `timeout` seconds it is killed: a benchmark that hangs must not load the machine for ever. `own_group` kills
    what it started as well; shells of an engine end by themselves when the engine is gone.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.measure", function, json.dumps(arguments)],
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
        start_new_session=own_group,
    )
    try:
        output, _ = child.communicate(timeout=timeout)
    except BaseException as stopped:
        if own_group:
            os.killpg(child.pid, signal.SIGKILL)
        child.kill()
        child.wait()
        if isinstance(stopped, subprocess.TimeoutExpired):
            raise RuntimeError(f"{function} took more than {timeout:g} s and was stopped") from None
        raise
    if child.returncode:
        raise RuntimeError(f"{function} failed in its process, exit code {child.returncode}; its traceback is above")
    return json.loads(output.splitlines()[-1])


def resident_bytes(*, peak: bool = False) -> int:
    """Resident memory of this process: now, or the most there has been since it began."""
    field = "VmHWM:" if peak else "VmRSS:"
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def cpu_seconds(pid: int) -> float:
    """Processor time of all threads of a process, in nanosecond steps (`/proc/pid/stat` counts in 10 ms)."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def main() -> None:
    """The other side of `call_in_child`."""
    module, _, name = sys.argv[1].partition(":")
    function = getattr(import_module(module), name)
    arguments = json.loads(sys.argv[2])
    if inspect.iscoroutinefunction(function):
        value = trio.run(lambda: function(**arguments))
    else:
        value = function(**arguments)
    print(json.dumps(value))


if __name__ == "__main__":
    main()
