"""A blocking program in a process of its own, for tests of how such programs are interrupted and end."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

Leftovers = Callable[[set[str]], list[psutil.Process]]

HEAD = """
import json, os, signal, sys, threading, time
import sessions
from sessions import blocking
signal.signal(signal.SIGINT, signal.default_int_handler)  # who starts us may have it ignored

def tell(*values):
    print(json.dumps(values), flush=True)

root = sys.argv[1]
"""


class Program:
    """What follows HEAD, and tells us lines of JSON. Killed at the end of the block if it is still there."""

    def __init__(self, body: str, root: Path | str, *, group: bool = False) -> None:
        """`root` is what the program finds in its variable of this name; with `group` it has a process group of its own."""
        self.process = subprocess.Popen(
            [sys.executable, "-c", HEAD + body, str(root)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=group,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def hear(self) -> list[Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        told: list[Any] = json.loads(line)
        return told

    def end(self, code: int = 0, stderr: str = "") -> None:
        """It ends soon, with this exit code, and with this in what it says on stderr; with silence if that is empty."""
        _, errors = self.process.communicate(timeout=30)
        assert self.process.returncode == code, errors
        assert stderr in errors if stderr else errors == "", errors


def gone(processes_of: Leftovers, session_id: str) -> bool:
    """Whether nothing of the session is left, at the latest in ten seconds: the keeper outlives a program that died."""
    deadline = time.monotonic() + 10
    while (found := processes_of({session_id})) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not found


def until_there(file: Path, program: Program) -> None:
    while not file.exists():
        assert program.process.poll() is None
        time.sleep(0.01)
