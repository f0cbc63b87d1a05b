"""What one of many streams writes: ``python contract_writer.py NAME PLACE ALL``, and the same without running it.

Says that it has begun, and waits until ALL of them have been heard: each one's client makes a file in PLACE. Then
characters byte by byte to both streams in turns, and at the end a mebibyte with a single call.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path

LARGE_BYTES = 1 << 20
BEGUN = "begun\n"
WAIT_SECONDS = 200


def small(name: str) -> str:
    return f"{name} größe €😀\u2028 \u0085é\n"


def large(name: str) -> str:
    """As many bytes, most of them in characters of several; some lines, for dialects that know nothing else."""
    line = f"{name}: " + "ä€😀-" * 300 + "\n"
    whole = line * (LARGE_BYTES // len(line.encode()))
    return whole + "x" * (LARGE_BYTES - len(whole.encode()))


def written(name: str) -> dict[str, str]:
    """All of it, by stream."""
    return {"stdout": BEGUN + small(name) + large(name), "stderr": small(name)[::-1]}


def command_of(name: str, place: Path, total: int) -> str:
    return shlex.join([sys.executable, __file__, name, str(place), str(total)])


def write(name: str, place: Path, total: int) -> None:
    os.write(1, BEGUN.encode())
    deadline = time.monotonic() + WAIT_SECONDS
    while len(os.listdir(place)) < total:
        if time.monotonic() > deadline:
            raise SystemExit(f"only {sorted(os.listdir(place))} have been heard")
        time.sleep(0.02)
    out, err = small(name).encode(), small(name)[::-1].encode()
    for position in range(max(len(out), len(err))):
        os.write(1, out[position : position + 1])
        os.write(2, err[position : position + 1])
        time.sleep(0.001)
    whole = large(name).encode()
    assert os.write(1, whole) == len(whole) == LARGE_BYTES


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
