"""The table of all calls in the documentation agrees with the SDKs, whose classes are asked, and with the page of each door."""

from __future__ import annotations

import json
import re
import subprocess
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest
from all_doors import is_there, python_of

from sessions.cli.env import SYSTEMS

DOCS: Final = Path(__file__).parent.parent.parent / "docs"
PAGE: Final = (DOCS / "doors" / "index.md").read_text()
ALL_OTHERS: Final = "*all others*"
NO_CALLS: Final = {
    "cwd",
    "envs",
    "invalid_request",
    "lifecycle",
    "limit",
    "metadata",
    "offset",
    "on_stderr",
    "on_stdout",
}
"""Arguments and codes that the pages name beside the calls."""
VERDICT: Final = re.compile(r"(works|differs: |501|404|raises in the SDK|the SDK makes it up)")
CLASSES: Final = {
    "daytona": {
        "daytona": "daytona:Daytona",
        "sandbox": "daytona._sync.sandbox:Sandbox",
        "sandbox.process": "daytona._sync.process:Process",
        "PtyHandle": "daytona.handle.pty_handle:PtyHandle",
    },
    "declaw": {
        "Sandbox": "declaw:Sandbox",
        "sandbox.commands": "declaw.sandbox_sync.commands.commands:Commands",
        "CommandHandle": "declaw.sandbox_sync.commands.command_handle:CommandHandle",
        "AsyncSandbox": "declaw:AsyncSandbox",
        "sandbox.stdio": "declaw.sandbox_sync.stdio:Stdio",
        "StdioProcess": "declaw.sandbox_sync.stdio:StdioProcess",
        "sandbox.pty": "declaw.sandbox_sync.pty:Pty",
        "PtyHandle": "declaw.sandbox_sync.pty:PtyHandle",
        "sandbox.files": "declaw.sandbox_sync.filesystem.filesystem:Filesystem",
    },
    "miosa": {
        "client.computers": "miosa.resources.computers:ComputersResource",
        "computer": "miosa.resources.computer:Computer",
        "computer.exec": "miosa.resources.exec:ExecResource",
        "ExecProcess": "miosa.resources.exec:ExecProcess",
        "computer.services": "miosa.resources.services:Services",
        "client.sandboxes": "miosa.resources.sandboxes:Sandboxes",
        "sandbox": "miosa.resources.sandboxes:Sandbox",
        "sandbox.exec": "miosa.resources.sandbox_namespaces:SandboxExecRunner",
        "sandbox.commands": "miosa.resources.sandbox_namespaces:SandboxCommands",
        "BackgroundProcessInfo": "miosa.resources.sandbox_namespaces:BackgroundProcessInfo",
        "sandbox.processes": "miosa.resources.sandbox_namespaces:SandboxProcesses",
        "sandbox.terminal": "miosa.resources.sandbox_namespaces:SandboxTerminal",
        "sandbox.git": "miosa.resources.sandbox_namespaces:SandboxGit",
        "client.commands": "miosa.resources.commands:Commands",
        "client.devices": "miosa.resources.devices:Devices",
        "open_computers.jobs": "miosa.resources.open_computers.jobs:JobsResource",
    },
    "nullspace": {
        "Machine": "nullspace:Machine",
        "machine.commands": "nullspace.commands:Commands",
        "BackgroundCommand": "nullspace.types:BackgroundCommand",
        "machine.process": "nullspace.process:Process",
        "machine.pty": "nullspace.pty:Pty",
        "PtySession": "nullspace.pty:PtySession",
    },
    "superserve": {
        "Sandbox": "superserve:Sandbox",
        "sandbox.commands": "superserve.commands:Commands",
        "AsyncCommandSession": "superserve.command_session:AsyncCommandSession",
        "session.stdin": "superserve.command_session:AsyncStdin",
    },
}
"""What has the calls of each SDK, by its name in the table."""
LISTING: Final = """
import importlib, inspect, json, sys, warnings
warnings.simplefilter("ignore")
found = {}
for name, place in json.loads(sys.argv[1]).items():
    module, _, kind = place.partition(":")
    kind = getattr(importlib.import_module(module), kind)
    bases = [base for base in kind.__mro__ if base.__module__.partition(".")[0] == module.partition(".")[0]]
    names = {one for base in bases for one, value in vars(base).items()
             if callable(value) or isinstance(value, (classmethod, staticmethod, property)) or hasattr(value, "__get__")}
    found[name] = [sorted(one for one in names if not one.startswith(("_", "model_"))),
                   sorted(one for one in names if not one.startswith(("_", "model_")) and callable(getattr(kind, one)))]
print(json.dumps(found))
"""
"""Of each class what it has, and what of that can be called."""


def rows() -> dict[str, dict[str, set[str]]]:
    """The table: calls, by system and by what has them."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for line in PAGE.partition("## All calls")[2].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 4 and cells[0].lower() in SYSTEMS:
            assert VERDICT.match(cells[3]), line
            calls = set(re.findall(r"`(\w+)`", cells[2])) or {ALL_OTHERS}
            for name in re.findall(r"`([\w.]+)`", cells[1]) or [cells[1]]:
                assert not (found[cells[0].lower()][name] & calls), line
                found[cells[0].lower()][name] |= calls
    return found


ROWS: Final[Mapping[str, Mapping[str, set[str]]]] = rows()


@pytest.mark.parametrize("system", SYSTEMS)
def test_calls_are_those_of_the_sdk(system: str, tmp_path: Path) -> None:
    """None is left out, and each is there."""
    if not is_there(system):
        pytest.skip(f"the SDK of {system} IS NOT INSTALLED: make sdks")
    command = [str(python_of(system)), "-c", LISTING, json.dumps(CLASSES[system])]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=True)
    for name, (names, calls) in json.loads(done.stdout).items():
        told = ROWS[system][name] - {ALL_OTHERS}
        assert told <= set(names), name
        if ALL_OTHERS not in ROWS[system][name] and name != "AsyncSandbox":  # which is as the other, but for these
            assert set(calls) - told == set(), name


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_a_door_s_page_names_is_in_the_table(system: str) -> None:
    page = (DOCS / "doors" / f"{system}.md").read_text()
    section = re.split(r"\n###? ", page.partition("## What works")[2])[0]
    cells = " ".join(
        line.split("|")[1 if "`" in line.split("|")[1] else 2] for line in section.splitlines() if line[:1] == "|"
    )
    named = {call.rpartition(".")[2] for call in re.findall(r"`([a-z][\w.]*)`", cells)}
    told = {call for calls in ROWS[system].values() for call in calls} | set(re.findall(r"\w+", PAGE))
    assert len(named) > 8
    assert named - told - NO_CALLS == set()


def test_every_page_is_linked() -> None:
    pages = {path.name for path in (DOCS / "doors").glob("*.md")} - {"index.md"}
    assert pages == {f"{system}.md" for system in SYSTEMS}
    top = PAGE.partition("## Spaces")[0]
    assert all(f"]({page})" in top for page in pages)
    assert all(f'`eval "$(sessions env {system})"`' in top for system in SYSTEMS)
    assert all(f"doors/{page}" in (DOCS.parent / "mkdocs.yml").read_text() for page in [*pages, "index.md"])
