"""``python -m benchmarks [name ...] [--quick] [--json FILE]``: run them one after the other and print one table.

Each benchmark is a module with ``measure(place, quick) -> list[Row as dict]``, called in a process of its own with an
empty directory that is removed afterwards. Exit code 1 if a requirement is missed, a peer is missing, or one failed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import attrs

from .measure import call_in_child
from .report import Row, failures, table

BENCHMARKS = {
    "imports": "`import sessions` beside its three dependencies",
    "latency": "one short command: run, run_async + wait, and five other ways to do it",
    "follow": "from a write to the follower's receipt, one stream",
    "throughput": "1.5 GB and 200,000 lines from one command into the log",
    "reading": "logs, follow and tail of a 600 MB log",
    "idle": "300 sessions that do nothing",
    "fleet": "1,000 talking commands in 20 sessions, one follow_all",
    "http": "the same verbs over HTTP: one command, much output, many lines, many followers",
    "daytona_sdk": "Daytona's own SDK against our server: one command, many lines, much output, a stream's end",
    "commandline": "`sessions run` and `sessions --help` as whole processes",
}
LONGEST_SECONDS = 600
NEEDED_BYTES = 8_000_000_000
"""Two files of 1.5 GB in `throughput` at the worst moment, and air."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Speed and size of the engine beside its peers, in one run.",
        epilog="\n".join(f"  {name:<11} {what}" for name, what in BENCHMARKS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="name", help="which ones (all)")
    parser.add_argument("--quick", action="store_true", help="about a tenth of the load: a hint, not a verdict")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rows there too")
    parser.add_argument("--dir", type=Path, help="where the data goes while it is needed (the system's temporary)")
    options = parser.parse_args()
    for name in options.names:
        if name not in BENCHMARKS:
            parser.error(f"there is no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")

    # Ended from outside: what was started ends too, and its data goes, as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="sessions-bench-", dir=options.dir, ignore_cleanup_errors=True) as place:
        if not options.quick and shutil.disk_usage(place).free < NEEDED_BYTES:
            parser.error(f"{place} has less than {NEEDED_BYTES / 1e9:g} GB free; name another with --dir")
        for name in options.names or BENCHMARKS:
            rows += run_one(name, Path(place) / name, quick=options.quick)

    print(f"\n{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"load {os.getloadavg()[0]:.1f}" + ("; --quick: a hint, not a verdict" if options.quick else "") + "\n")
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps([as_json(row) for row in rows], indent=1) + "\n")
    failed = failures(rows)
    judged = [row for row in rows if row.verdict]
    print(f"\n{len(judged) - len(failed)} of {len(judged)} reached" + "".join(f"\n{complaint(row)}" for row in failed))
    return 1 if failed else 0


def run_one(name: str, place: Path, *, quick: bool) -> list[Row]:
    """All rows of one benchmark; if it raises, one row that says so."""
    print(f"{name}: {BENCHMARKS[name]} ...", end="", file=sys.stderr, flush=True)
    began = time.monotonic()
    place.mkdir()
    try:
        found = call_in_child(
            f"benchmarks.{name}:measure", timeout=LONGEST_SECONDS, own_group=True, place=str(place), quick=quick
        )
        rows = [Row(**fields) for fields in found]
    except Exception as problem:
        rows = [Row(what=name, problem=str(problem))]
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(f" {time.monotonic() - began:.0f} s", file=sys.stderr)
    return rows


def complaint(row: Row) -> str:
    return f"{row.verdict}: {row.what}" + (f" ({row.problem})" if row.problem else "")


def as_json(row: Row) -> dict[str, object]:
    ratio = None if math.isnan(row.ratio) else row.ratio
    ours = None if math.isnan(row.ours) else row.ours
    return attrs.asdict(row) | {"ours": ours, "ratio": ratio, "verdict": row.verdict}


if __name__ == "__main__":
    sys.exit(main())
