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
from typing import Final, NamedTuple, TypeAlias, TypeVar

import psutil
import pytest
from install_sdks import PLACE, is_installed
from server_process import TOKEN, server_process

from sessions.cli.env import SYSTEMS

SDKS: Final = Path(__file__).parent.parent / "sdks"
PROGRAMS: Final = SDKS / "programs"
CHECKS: Final = SDKS / "checks"
BOTH: Final = ("sync", "async")
"""Clients in Python."""
NODE: Final = "node"
"""The client there."""
SECONDS: Final = 250
"""What a program of checks takes at most, on a loaded machine."""
LONG: Final = pytest.mark.timeout(300)
"""For tests of which the first waits for all programs of checks; half a minute on a machine that has nothing else to do."""

Run: TypeAlias = tuple[str, str]
"""The kind of a client, and a program of checks."""
T = TypeVar("T")


class Checked(NamedTuple):
    """What programs of checks have found out, and what they have left. Each is a test of its own, so none hides the others."""

    told: Mapping[tuple[str, str], str]
    """By the kind of the client and the name of the check."""
    ends: Mapping[Run, str]
    """What a program said that did not end well; nothing of those that did."""
    left: Sequence[str]
    """Spaces, and processes that name them."""

    def expect_ok(self, kind: str, name: str) -> None:
        told = self.told.get((kind, name)) or f"it did not come to this check: {'; '.join(self.ends.values())}"
        assert told == "ok", told

    def expect_end(self) -> None:
        """All have ended well, and put away what they have made."""
        assert dict(self.ends) == {}
        assert list(self.left) == []


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
    def server(self, root: Path, path: str | None = None, **limits: float) -> Iterator[Mapping[str, str]]:
        """A server in a process of its own, and the variables that point a program there and nowhere else."""
        home = root.parent / "home"
        home.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            if path is not None:
                patch.setenv("PATH", path)
            with server_process(root, **limits) as server:
                own = {"HOME": str(home), "XDG_CONFIG_HOME": str(home), "PYTHONUNBUFFERED": "1"}
                yield {**SYSTEMS[self._system](server.http, TOKEN), **own}

    def run_python(self, program: Path, variables: Mapping[str, str], cwd: Path) -> str:
        return said([self.python, program], variables, cwd)

    def run_node(self, program: Path, variables: Mapping[str, str], cwd: Path) -> str:
        return said(self._node_argv(program, cwd), variables, cwd)

    def _node_argv(self, program: Path, cwd: Path) -> Sequence[str | Path]:
        """It is copied to beside the modules that it imports. Checks await at their top, so they must be modules."""
        cwd.mkdir(exist_ok=True)
        (cwd / "node_modules").symlink_to(self.node_modules)
        copy = cwd / (program.name if program.parent == PROGRAMS else program.name.replace(".ts", ".mts"))
        shutil.copyfile(program, copy)
        return ["node" if copy.suffix == ".mjs" else self.node_modules / ".bin" / "tsx", copy]

    def check(self, place: Path, *batches: Sequence[Run], path: str | None = None, **limits: float) -> Checked:
        """Run programs of checks against a server of their own, those of a batch side by side."""
        told: dict[tuple[str, str], str] = {}
        ends: dict[Run, str] = {}
        with self.server(place / "root", path, **limits) as variables:
            for batch in batches:
                calls = [partial(self._run_checks, kind, file, variables, place) for kind, file in batch]
                for (kind, file), done in zip(batch, side_by_side(*calls), strict=True):
                    told |= {(kind, name): found for name, found in read_checks(done.stdout).items()}
                    if done.returncode:
                        ends[kind, file] = f"{file} {kind} ended with {done.returncode}: {done.stderr}"
        left = [*sorted(os.listdir(place / "root" / "spaces")), *processes_naming(place)]
        return Checked(told, ends, left)

    def _run_checks(
        self, kind: str, file: str, variables: Mapping[str, str], place: Path
    ) -> subprocess.CompletedProcess[str]:
        if kind == NODE:
            return run(self._node_argv(CHECKS / file, place / NODE), variables, place / NODE)
        return run([self.python, CHECKS / file, kind], variables, place)


def run(argv: Sequence[str | Path], variables: Mapping[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """What becomes of a program. One that does not end is ended, and what it has said until then is told."""
    words = [str(word) for word in argv]
    environ = {**os.environ, **variables}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, env=environ, cwd=cwd, text=True, **pipes) as process:
        try:
            out, err = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def said(argv: Sequence[str | Path], variables: Mapping[str, str], cwd: Path) -> str:
    """What a program prints. It must end well, and soon."""
    done = run(argv, variables, cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def processes_naming(place: Path) -> list[str]:
    lines = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    return [line for line in lines if str(place) in line]


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


def cases(*batches: Sequence[Run]) -> list[tuple[str, str]]:
    """All checks of programs, each with the kind of its client."""
    return [(kind, name) for batch in batches for kind, file in batch for name in names_of(file)]


def side_by_side(*calls: Callable[[], T]) -> list[T]:
    """What calls return that are made at the same time."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]
