"""``import sessions`` beside ``import trio, attrs, cattrs``.

Each import is timed by a fresh interpreter around the import statement, so that Python's own start (the same for both)
does not flatter the ratio. Interleaved; medians. The first round, which is not counted, writes the byte code of all of
them into a directory of its own: an installed package has it, a checkout may not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable

import attrs
import trio

from .measure import REPOSITORY, interleave, median
from .report import Row

TIMED = "import time; began = time.perf_counter(); {statement}; print(time.perf_counter() - began)"


def importing(statement: str, byte_code: str) -> Callable[[], Awaitable[float]]:
    environment = os.environ | {"PYTHONPYCACHEPREFIX": byte_code}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    async def once() -> float:
        program = TIMED.format(statement=statement)
        found = await trio.run_process(
            [sys.executable, "-c", program], capture_stdout=True, cwd=REPOSITORY, env=environment
        )
        return float(found.stdout)

    return once


async def measure(place: str, quick: bool) -> list[dict[str, object]]:
    statements = ("import sessions", "import sessions; sessions.open_engine", "import trio, attrs, cattrs")
    contenders = {statement: importing(statement, place) for statement in statements}
    taken = await interleave(contenders, rounds=7 if quick else 31, warmup=1)
    ours, with_engine, peer = (median(taken[statement]) for statement in statements)
    name = "trio, attrs, cattrs"
    rows = [
        Row(what="import sessions", ours=ours, peer=peer, peer_name=name, ratio_at_most=1.3),
        Row(what="import sessions, with the engine's modules", ours=with_engine, peer=peer, peer_name=name),
    ]
    return [attrs.asdict(row) for row in rows]
