"""Miosa's own SDK, run as separate processes against a real server, in the environment that `make sdks` makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from daytona_sdk import run
from install_sdks import PLACE, is_installed
from server_process import TOKEN, server_process

PYTHON: Final = PLACE / "miosa" / "bin" / "python"

needs_sdk = pytest.mark.skipif(not is_installed("miosa"), reason="Miosa's SDK IS NOT INSTALLED: make sdks")


@contextmanager
def miosa_server(root: Path) -> Iterator[Mapping[str, str]]:
    """A server in a process of its own, and the variables that point a program there."""
    with server_process(root) as server:
        yield {"MIOSA_BASE_URL": f"{server.http}/miosa", "MIOSA_API_KEY": TOKEN, "MIOSA_ACCESS_TOKEN": TOKEN}


def run_python(program: Path, variables: Mapping[str, str], cwd: Path, *arguments: str) -> str:
    return run([PYTHON, program, *arguments], {**variables, "PYTHONUNBUFFERED": "1"}, cwd)
