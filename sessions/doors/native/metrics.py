"""Numbers for Prometheus, in its text format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp

from ...archive import Archive
from ...lifecycle import OPEN_STATES, REASONS, SESSION_STATES, SessionState
from ...threads import run_in_thread
from ..operations import Call, Operation

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
ENDS: Final = (("queued", ""), ("running", ""), *(("finished", reason) for reason in REASONS))
"""All are told from the start: of a number that is not there, nobody sees how it grows."""


def family(name: str, kind: str, doc: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> list[str]:
    """One metric with all its samples."""
    lines = [f"# HELP {name} {doc}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        inner = ",".join(f'{key}="{text}"' for key, text in labels.items())
        lines.append(f"{name}{{{inner}}} {value:.15g}" if inner else f"{name} {value:.15g}")
    return lines


async def measure_commands(archive: Archive) -> list[str]:
    tally = await run_in_thread(archive.catalog.tally)
    written = {"stdout": 0, "stderr": 0}
    dropped = 0
    counts = dict.fromkeys(ENDS, 0)
    for state, reason, commands, stdout_bytes, stderr_bytes, dropped_bytes in tally:
        counts[state, reason or ""] = commands
        written["stdout"] += stdout_bytes
        written["stderr"] += stderr_bytes
        dropped += dropped_bytes
    for live in archive.live.values():
        for command in live.commands.values():
            if not command.is_finished:  # what it has written so far is not in the catalog yet
                written["stdout"] += command.stdout_bytes
                written["stderr"] += command.stderr_bytes
                dropped += command.dropped_bytes
    return [
        *family(
            "sessions_commands",
            "gauge",
            "Commands of this root, by state and by the reason of their end.",
            [({"state": state, "reason": reason}, commands) for (state, reason), commands in counts.items()],
        ),
        *family(
            "sessions_logged_bytes",
            "gauge",
            "Bytes that the commands of this root have written.",
            [({"stream": stream}, size) for stream, size in written.items()],
        ),
        *family("sessions_dropped_bytes", "gauge", "Those of them that are no longer kept.", [({}, dropped)]),
    ]


async def count_sessions(archive: Archive) -> Counter[SessionState]:
    """By state. Those that have ended may be very many: they are not read, only counted."""
    counts = Counter([info.state for state in OPEN_STATES for info in await archive.list_sessions(state, None)])
    counts.update(await run_in_thread(archive.catalog.count_ended_sessions))
    return counts


async def metrics(call: Call) -> ASGIApp:
    by_state = await count_sessions(call.engine.archive)
    lines = [
        *family(
            "sessions_sessions",
            "gauge",
            "Sessions of this root, by state.",
            [({"state": state}, by_state[state]) for state in SESSION_STATES],
        ),
        *await measure_commands(call.engine.archive),
        *family("sessions_streams", "gauge", "Open streams: follows and event feeds.", [({}, len(call.streams))]),
        *family(
            "sessions_stream_lag_seconds",
            "gauge",
            "How long the slowest of them has kept a piece waiting.",
            [({}, call.streams.lag_seconds())],
        ),
    ]
    return Response("\n".join(lines) + "\n", headers={"Content-Type": MEDIA_TYPE})


OPERATIONS: Final = [
    Operation(method="GET", path="/metrics", summary="Numbers for Prometheus.", answer=metrics, media=("text/plain",))
]
