"""Processes that commands leave behind and that write their numbers down, so that they can be looked for."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil
from conftest import leftovers

LEAVE = "sh -c 'echo $$ >>pids; exec sleep 600'"
DEAF = "sh -c 'trap \"\" INT TERM HUP; echo $$ >>pids; while :; do sleep 0.05; done'"


def named(name: str, session_id: str) -> list[psutil.Process]:
    """The programs of a session that have this name. Its shell has forks that are about to end when a command has ended."""
    found = []
    for process in leftovers({session_id}):
        with suppress(psutil.NoSuchProcess):
            if process.name() == name:
                found.append(process)
    return found


def present(directory: Path) -> list[psutil.Process]:
    """Who of those that wrote their numbers to ``pids`` is still there. Zombies count."""
    found = []
    for pid in map(int, (directory / "pids").read_text().split()):
        try:
            found.append(psutil.Process(pid))
        except psutil.NoSuchProcess:
            continue
    return found
