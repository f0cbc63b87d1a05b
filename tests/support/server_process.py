"""A server in a process of its own, as its users have it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PROGRAM: Final = """
import json, sys
from sessions import Limits
from sessions.server.limits import ServerLimits
from sessions.server.running import serve_root
limits, servers = {"kill_grace_seconds": 1.0}, {}
for name, value in json.loads(sys.argv[3]).items():
    (servers if name in ServerLimits.__annotations__ else limits)[name] = value
serve_root(sys.argv[1], bind=["127.0.0.1:0"], token=sys.argv[2], limits=Limits(**limits),
    server_limits=ServerLimits(**servers), ready=lambda addresses: print(addresses.urls[0], flush=True))
"""
TOKEN: Final = "the-token-of-the-tests"


class ServerProcess:
    """Its addresses, and its end."""

    def __init__(self, root: Path, **limits: float) -> None:
        self.root = root
        self.log = root.parent / f"{root.name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(root), TOKEN, json.dumps(limits)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        self.http = self.process.stdout.readline().strip()
        assert self.http, self.log.read_text()

    @property
    def unix(self) -> str:
        return f"unix://{self.root}/serve.sock"

    def kill(self) -> None:
        """Without a word."""
        self.process.kill()
        self.process.wait(30)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        if self.process.stdout is not None:
            self.process.stdout.close()


@contextmanager
def server_process(root: Path, **limits: float) -> Iterator[ServerProcess]:
    """`limits` are those of `ServerLimits` and of `Limits`."""
    server = ServerProcess(root, **limits)
    try:
        yield server
    finally:
        server.stop()
