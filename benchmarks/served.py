"""A server in a process of its own, as its users have it: ``sessions serve`` on a unix socket in a fresh root."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def server(root: Path, tcp: bool = False) -> Iterator[str]:
    """Its address, for `sessions.connect`: that of its unix socket, or with `tcp` one on this machine."""
    bind = ["--bind", "127.0.0.1:0"] if tcp else []
    process = subprocess.Popen(
        [sys.executable, "-m", "sessions", "--root", str(root), "serve", "--json", *bind],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"`sessions serve` ended with {process.wait()} before it served")
        addresses = json.loads(line)
        yield addresses["urls"][0] if tcp else f"unix://{root / 'serve.sock'}"
    finally:
        process.terminate()
        process.wait(30)
