"""Daytona's own SDK against our server: one short command, many lines, much output, and the end of a stream.

The SDK runs in an environment of its own (`make sdks`), as another process, as does the server. Beside it, the scheme by which
Daytona's own daemon runs commands, in this process and without its HTTP: what it takes before the first byte is sent.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import attrs

from .daytona import LabelledShell
from .measure import REPOSITORY, median, percentile
from .report import Row
from .served import server

PYTHON = REPOSITORY / ".sdks" / "daytona" / "bin" / "python"
TALK = 'for ((i = 0; i < {}; i++)); do echo "line $i"; done'
POUR = "head -c {} /dev/zero | tr '\\0' x"
PROGRAM = Path(__file__).with_name("daytona_client.py")


def measure(place: str, quick: bool) -> list[dict[str, object]]:
    if not PYTHON.exists():
        problem = f"{PYTHON.relative_to(REPOSITORY)} is not there: make sdks"
        return [attrs.asdict(Row(what="Daytona's SDK", peer_name="the SDK", ours=0.0, problem=problem))]
    rounds, lines, size = (100, 10_000, 2_000_000) if quick else (1000, 100_000, 20_000_000)
    talk_size = sum(len(f"line {number}\n") for number in range(lines))
    root = Path(place) / "root"
    with server(root, tcp=True) as url:
        environment = {
            **os.environ,
            "DAYTONA_API_URL": f"{url}/daytona/api",
            "DAYTONA_API_KEY": (root / "token").read_text().strip(),
        }
        done = subprocess.run(
            [PYTHON, "-P", PROGRAM, str(rounds), TALK.format(lines), str(talk_size), POUR.format(size), str(size)],
            env=environment,
            stdout=subprocess.PIPE,
            check=True,
            timeout=240,
        )
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    with LabelledShell(Path(place) / "labelled") as shell:
        polled = median([timed(shell, "true") for _ in range(20)])
        labelled_lines, labelled_bytes = timed(shell, TALK.format(lines)), timed(shell, POUR.format(size))
    rows = [
        Row(
            what='Daytona SDK: execute_session_command("true"), p50',
            ours=median(found["short"]),
            peer=polled,
            peer_name="Daytona's scheme",
            at_most=0.012,
        ),
        Row(what='Daytona SDK: execute_session_command("true"), p99', ours=percentile(found["short"], 99)),
        Row(
            what=f"Daytona SDK: {lines:,} lines through the async logs",
            ours=median(found["lines"]),
            peer=labelled_lines,
            peer_name="Daytona's scheme",
            at_most=4 * lines / 100_000,
        ),
        Row(
            what=f"Daytona SDK: {size / 1e6:.0f} MB through the async logs",
            ours=median(found["bytes"]),
            peer=labelled_bytes,
            peer_name="Daytona's scheme",
            at_most=3 * size / 20e6,
        ),
        Row(
            what="Daytona SDK: last byte of a command -> stream closed, p50",
            ours=median(found["end"]),
            at_most=0.05,
        ),
    ]
    return [attrs.asdict(row) for row in rows]


def timed(shell: LabelledShell, text: str) -> float:
    began = time.perf_counter()
    shell.run(text)
    return time.perf_counter() - began
