"""From one command into the log, beside ``cmd | cat > file``: 1.5 GB in large writes, 200,000 lines in small ones.

Ours counts from `run_async` until `wait` returns, which is when all bytes are in the transcript and the command is
marked finished; the number of bytes is checked. The peer is a fresh ``bash -c "cmd | cat > file"``, a few milliseconds
to its disadvantage. Interleaved. Both write to the same directory, and what was written is removed after each round, so
that neither writes while the disk is still busy with the other's data.

1.5 GB need as much page cache, which a virtual machine may have given back to its host and has to get again, whoever is
unlucky: by medians the peer takes up to half as long again as itself. Two rows without a requirement show that: the peer
beside itself, and the fastest rounds of both.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import attrs
import trio

import sessions

from .measure import interleave, median
from .report import Row

BULK_BYTES = 1_500_000_000
LINES = 200_000


async def measure(place: str, quick: bool) -> list[dict[str, object]]:
    bulk_bytes, lines = (BULK_BYTES // 5, LINES // 5) if quick else (BULK_BYTES, LINES)
    bulk = f"head -c {bulk_bytes} /dev/zero"
    echoes = f'for ((i = 0; i < {lines}; i++)); do echo "line $i of a talkative build"; done'
    echo_bytes = sum(len(f"line {i} of a talkative build\n") for i in range(lines))
    limits = sessions.Limits(log_bytes=2 * BULK_BYTES)  # all is kept; what the cap costs is a row of its own
    file = Path(place) / "file"
    rows: list[Row] = []
    async with (
        sessions.open_engine(Path(place) / "root", limits=limits) as engine,
        sessions.open_engine(Path(place) / "capped", limits=sessions.Limits(log_bytes=bulk_bytes // 3)) as capped,
    ):
        into_log = partial(ours, engine, bulk, bulk_bytes)
        into_capped = partial(ours, capped, bulk, bulk_bytes)
        copy = partial(peer, bulk, bulk_bytes, file)
        taken = await interleave(
            {"ours": into_log, "capped": into_capped, "peer": copy, "peer again": copy},
            rounds=5 if quick else 15,
            warmup=1,
        )
        size = f"{bulk_bytes / 1e9:g} GB"
        rows.append(compared(f"{size} into the log", taken["ours"], taken["peer"], must=1.15))
        rows.append(compared(f"{size} into the log, fastest round", [min(taken["ours"])], [min(taken["peer"])]))
        rows.append(compared(f"{size}: the peer beside itself", taken["peer again"], taken["peer"]))
        rows.append(compared(f"{size} into a log capped at a third", taken["capped"], taken["peer"]))

        contenders: dict[str, Callable[[], Awaitable[float]]] = {
            "ours": partial(ours, engine, echoes, echo_bytes),
            "beside": partial(ours, engine, echoes, echo_bytes, in_shell=False),
            "peer": partial(peer, echoes, echo_bytes, file),
        }
        taken = await interleave(contenders, rounds=5 if quick else 9, warmup=1)
        rows.append(compared(f"{lines:,} echos into the log", taken["ours"], taken["peer"], must=1.15))
        rows.append(compared(f"{lines:,} echos, beside the shell", taken["beside"], taken["peer"]))
    return [attrs.asdict(row) for row in rows]


async def ours(engine: sessions.Engine, text: str, size_bytes: int, *, in_shell: bool = True) -> float:
    session = await engine.create_session()
    began = time.perf_counter()
    command = await session.run_async(text, in_shell=in_shell)
    await command.wait()
    seconds = time.perf_counter() - began
    if command.stdout_bytes != size_bytes or command.exit_code != 0:
        raise RuntimeError(f"{text!r}: {command.stdout_bytes} of {size_bytes} bytes, exit code {command.exit_code}")
    await session.close()
    await engine.delete_session(session.id)
    return seconds


async def peer(text: str, size_bytes: int, file: Path) -> float:
    began = time.perf_counter()
    await trio.run_process(["bash", "--noprofile", "--norc", "-c", f'{{ {text}; }} | cat > "$0"', str(file)])
    seconds = time.perf_counter() - began
    if (found := os.stat(file).st_size) != size_bytes:
        raise RuntimeError(f"{text!r} | cat: {found} of {size_bytes} bytes")
    os.unlink(file)
    return seconds


def compared(what: str, ours: list[float], peer: list[float], must: float | None = None) -> Row:
    return Row(what=what, ours=median(ours), peer=median(peer), peer_name="cmd | cat > file", ratio_at_most=must)
