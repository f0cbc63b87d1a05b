"""The command line as a whole process, from its start to its end, with a server that is there already."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import attrs

from .measure import interleave, median
from .report import Row
from .served import server

BARE = [sys.executable, "-c", "import click"]


async def measure(place: str, quick: bool) -> list[dict[str, object]]:
    root = Path(place) / "root"
    program = [str(Path(sys.executable).parent / "sessions"), "--root", str(root)]
    environment = os.environ | {"NO_COLOR": "1"}

    def timed(*arguments: str) -> float:
        began = time.perf_counter()
        subprocess.run(arguments, env=environment, stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - began

    async def run() -> float:
        return timed(*program, "run", "s", "true")

    async def ps() -> float:
        return timed(*program, "ps")

    async def help_text() -> float:
        return timed(*program, "--help")

    async def bare() -> float:
        return timed(*BARE)

    with server(root):
        contenders = {"run": run, "ps": ps, "help": help_text, "bare": bare}
        taken = await interleave(contenders, rounds=5 if quick else 25, warmup=2)
    peer, name = median(taken["bare"]), "python, import click"
    return [
        attrs.asdict(Row(what=what, ours=median(taken[key]), peer=peer, peer_name=name, at_most=at_most))
        for what, key, at_most in (
            ("sessions run s true, whole process", "run", 0.35),
            ("sessions ps, whole process", "ps", None),
            ("sessions --help, whole process", "help", 0.2),
        )
    ]
