"""Declaw's own SDKs, run as separate processes against a real server, in the environments that `make sdks` makes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from daytona_sdk import run
from install_sdks import PLACE, is_installed
from server_process import TOKEN, server_process

PYTHON: Final = PLACE / "declaw" / "bin" / "python"
NODE_MODULES: Final = PLACE / "declaw-node" / "node_modules"

needs_python = pytest.mark.skipif(not is_installed("declaw"), reason="Declaw's SDK IS NOT INSTALLED: make sdks")
needs_node = pytest.mark.skipif(
    not is_installed("declaw-node") or shutil.which("node") is None,
    reason="node or Declaw's SDK for it IS NOT INSTALLED: make sdks",
)


@contextmanager
def declaw_server(root: Path) -> Iterator[Mapping[str, str]]:
    """A server in a process of its own, and the two variables that point a program there."""
    with server_process(root) as server:
        yield {"DECLAW_DOMAIN": server.http.removeprefix("http://"), "DECLAW_API_KEY": TOKEN}


def run_python(program: Path, variables: Mapping[str, str], cwd: Path, *arguments: str) -> str:
    return run([PYTHON, program, *arguments], {**variables, "PYTHONUNBUFFERED": "1"}, cwd)


def run_node(program: Path, variables: Mapping[str, str], cwd: Path) -> str:
    """It is copied to beside the modules that it imports."""
    cwd.mkdir(exist_ok=True)
    (cwd / "node_modules").symlink_to(NODE_MODULES)
    copy = cwd / (program.stem + ".mts")
    shutil.copyfile(program, copy)
    return run([NODE_MODULES / ".bin" / "tsx", copy], variables, cwd)
