"""Daytona's own SDKs, run as separate processes against a real server, in the environments that `make sdks` makes."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from install_sdks import PLACE, is_installed
from server_process import TOKEN, server_process

SDKS: Final = Path(__file__).parent.parent / "sdks"
PROGRAMS: Final = SDKS / "programs"
CHECKS: Final = SDKS / "checks"
PYTHON: Final = PLACE / "daytona" / "bin" / "python"
NODE_MODULES: Final = PLACE / "daytona-node" / "node_modules"

needs_python = pytest.mark.skipif(not is_installed("daytona"), reason="Daytona's SDK IS NOT INSTALLED: make sdks")
needs_node = pytest.mark.skipif(
    not is_installed("daytona-node") or shutil.which("node") is None,
    reason="node or Daytona's SDK for it IS NOT INSTALLED: make sdks",
)


@contextmanager
def daytona_server(root: Path, path: str | None = None) -> Iterator[Mapping[str, str]]:
    """A server in a process of its own, and the two variables that point a program there."""
    with pytest.MonkeyPatch.context() as patch:
        if path is not None:
            patch.setenv("PATH", path)
        with server_process(root) as server:
            yield {"DAYTONA_API_URL": f"{server.http}/daytona/api", "DAYTONA_API_KEY": TOKEN}


def run(argv: Sequence[str | Path], variables: Mapping[str, str], cwd: Path) -> str:
    """What a program prints. It must end well, and soon."""
    done = subprocess.run(
        [str(word) for word in argv],
        env={**os.environ, **variables},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=100,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_python(program: Path, variables: Mapping[str, str], cwd: Path, *arguments: str) -> str:
    return run([PYTHON, program, *arguments], {**variables, "PYTHONUNBUFFERED": "1"}, cwd)


def run_node(program: Path, variables: Mapping[str, str], cwd: Path) -> str:
    """It is copied to beside the modules that it imports; those that await at their top must be modules."""
    cwd.mkdir(exist_ok=True)
    (cwd / "node_modules").symlink_to(NODE_MODULES)
    copy = cwd / (program.name if program.parent == PROGRAMS else program.stem + ".mts")
    shutil.copyfile(program, copy)
    return run([NODE_MODULES / ".bin" / "tsx", copy], variables, cwd)


def read_checks(printed: str) -> dict[str, str]:
    """What was found out, by the name of the check."""
    lines = [line.partition(" ") for line in printed.splitlines()]
    return {name: json.loads(told) if told.startswith('"') else ast.literal_eval(told) for name, _, told in lines}


def names_of(program: str) -> list[str]:
    """The checks of a program, as they are written there."""
    text = (CHECKS / program).read_text()
    if program.endswith(".ts"):
        return [line.split()[1].partition("(")[0] for line in text.splitlines() if line.startswith("  async node_")]
    table = text.partition("CHECKS: list[Check] = [")[2].partition("]")[0]
    return [name.strip() for name in table.split(",") if name.strip()]


def side_by_side(*calls: tuple[object, ...]) -> list[str]:
    """The results of calls, made at the same time: each a function and its arguments."""
    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(*call) for call in calls]  # type: ignore[arg-type]
        return [future.result() for future in futures]
