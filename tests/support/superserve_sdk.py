"""Superserve's own SDKs, run as separate processes against a real server with a front, in the environments that `make sdks` makes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest
from daytona_sdk import run
from install_sdks import PLACE, is_installed
from server_process import TOKEN, server_process

from sessions.cli.env import superserve

CHECKS: Final = Path(__file__).parent.parent / "sdks" / "checks"
PROGRAMS: Final = Path(__file__).parent.parent / "sdks" / "programs"
PYTHON: Final = PLACE / "superserve" / "bin" / "python"
NODE_MODULES: Final = PLACE / "superserve-node" / "node_modules"

needs_python = pytest.mark.skipif(not is_installed("superserve"), reason="Superserve's SDK IS NOT INSTALLED: make sdks")
needs_node = pytest.mark.skipif(
    not is_installed("superserve-node") or shutil.which("node") is None,
    reason="node or Superserve's SDK for it IS NOT INSTALLED: make sdks",
)


@contextmanager
def superserve_server(root: Path) -> Iterator[Mapping[str, str]]:
    """A server in a process of its own, and the variables that point a program there."""
    with server_process(root) as server:
        yield superserve(server.http, TOKEN)


def run_python(program: Path, variables: Mapping[str, str], cwd: Path, *arguments: str) -> str:
    return run([PYTHON, program, *arguments], {**variables, "PYTHONUNBUFFERED": "1"}, cwd)


def run_node(program: Path, variables: Mapping[str, str], cwd: Path) -> str:
    """It is copied to beside the modules that it imports."""
    cwd.mkdir(exist_ok=True)
    (cwd / "node_modules").symlink_to(NODE_MODULES)
    shutil.copyfile(program, cwd / program.name)
    return run(["node", cwd / program.name], variables, cwd)


def proxied(variables: Mapping[str, str]) -> httpx.Client:
    """A client that goes by the front for all that is not on this machine."""
    names = ("HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            patch.delenv(name)
        for name in names:
            patch.setenv(name, variables[name])
        return httpx.Client(timeout=30)
