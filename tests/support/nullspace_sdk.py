"""Nullspace's own SDK and its command line, run as separate processes against a real server, in the environment that `make sdks` makes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from daytona_sdk import run
from install_sdks import PLACE, is_installed
from server_process import TOKEN, server_process

from sessions.cli.env import SYSTEMS

PYTHON: Final = PLACE / "nullspace" / "bin" / "python"
CLI: Final = PLACE / "nullspace" / "bin" / "nullspace"

needs_sdk = pytest.mark.skipif(not is_installed("nullspace"), reason="Nullspace's SDK IS NOT INSTALLED: make sdks")


@contextmanager
def nullspace_server(root: Path) -> Iterator[Mapping[str, str]]:
    """A server in a process of its own, and the variables that point a program there and nowhere else."""
    with server_process(root) as server:
        home = root.parent / "home"
        home.mkdir()
        yield {
            **SYSTEMS["nullspace"](server.http, TOKEN),
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home),
        }


def run_python(program: Path, variables: Mapping[str, str], cwd: Path, *arguments: str) -> str:
    return run([PYTHON, program, *arguments], {**variables, "PYTHONUNBUFFERED": "1"}, cwd)


def run_cli(variables: Mapping[str, str], *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """What ``nullspace machine ...`` says, and its exit code."""
    return subprocess.run(
        [str(CLI), "machine", *arguments],
        env={**os.environ, **variables, "COLUMNS": "200"},
        cwd=variables["HOME"],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )
