"""Other systems' own SDKs, run as separate processes against a real server, in the environments that `make sdks` makes."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from install_sdks import PLACE, is_installed
from server_process import TOKEN, server_process

from sessions.cli.env import SYSTEMS

SDKS: Final = Path(__file__).parent.parent / "sdks"
PROGRAMS: Final = SDKS / "programs"
CHECKS: Final = SDKS / "checks"
BOTH: Final = ("sync", "async")
"""Clients in Python."""

Found = dict[tuple[str, str], str]
"""What checks have found out, by the kind of the client and the name of the check."""


class Sdk:
    """One system's SDK for Python, and that for Node if there is one."""

    def __init__(self, system: str) -> None:
        self.python = PLACE / system / "bin" / "python"
        self.node_modules = PLACE / f"{system}-node" / "node_modules"
        self.needs_python = pytest.mark.skipif(
            not is_installed(system), reason=f"{system.capitalize()}'s SDK IS NOT INSTALLED: make sdks"
        )
        self.needs_node = pytest.mark.skipif(
            not is_installed(f"{system}-node") or shutil.which("node") is None,
            reason=f"node or {system.capitalize()}'s SDK for it IS NOT INSTALLED: make sdks",
        )
        self._system = system

    @contextmanager
    def server(self, root: Path, path: str | None = None) -> Iterator[Mapping[str, str]]:
        """A server in a process of its own, and the variables that point a program there and nowhere else."""
        home = root.parent / "home"
        home.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            if path is not None:
                patch.setenv("PATH", path)
            with server_process(root) as server:
                own = {"HOME": str(home), "XDG_CONFIG_HOME": str(home)}
                yield {**SYSTEMS[self._system](server.http, TOKEN), **own}

    def run_python(self, program: Path, variables: Mapping[str, str], cwd: Path, *arguments: str) -> str:
        return run([self.python, program, *arguments], {**variables, "PYTHONUNBUFFERED": "1"}, cwd)

    def run_node(self, program: Path, variables: Mapping[str, str], cwd: Path) -> str:
        """It is copied to beside the modules that it imports. Checks await at their top, so they must be modules."""
        cwd.mkdir(exist_ok=True)
        (cwd / "node_modules").symlink_to(self.node_modules)
        copy = cwd / (program.name if program.parent == PROGRAMS else program.name.replace(".ts", ".mts"))
        shutil.copyfile(program, copy)
        return run(["node" if copy.suffix == ".mjs" else self.node_modules / ".bin" / "tsx", copy], variables, cwd)

    def check(self, variables: Mapping[str, str], cwd: Path, runs: Sequence[tuple[str, str]]) -> Found:
        """Run programs of checks side by side, each for one kind of client."""
        calls = [partial(self.run_python, CHECKS / file, variables, cwd, kind) for kind, file in runs]
        found = {}
        for (kind, _), printed in zip(runs, side_by_side(*calls), strict=True):
            found |= {(kind, name): told for name, told in read_checks(printed).items()}
        return found


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


def read_checks(printed: str) -> dict[str, str]:
    """What was found out, by the name of the check."""
    lines = [line.partition(" ") for line in printed.splitlines()]
    return {name: json.loads(told) if told.startswith('"') else ast.literal_eval(told) for name, _, told in lines}


def names_of(program: str) -> list[str]:
    """The checks of a program, as they are written there."""
    text = (CHECKS / program).read_text()
    if not program.endswith(".py"):
        return [line.split()[1].partition("(")[0] for line in text.splitlines() if line.startswith("  async node_")]
    table = text.partition("CHECKS: list[Check] = [")[2].partition("]")[0]
    return [name.strip() for name in table.split(",") if name.strip()]


def cases(runs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """All checks of programs, each with the kind of its client."""
    return [(kind, name) for kind, file in runs for name in names_of(file)]


def side_by_side(*calls: Callable[[], str]) -> list[str]:
    """What calls return that are made at the same time."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]
