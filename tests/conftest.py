"""What all tests share: an engine on a root of its own, and the proof that nothing is left of it."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
from hangs import pytest_timeout_cancel_timer, pytest_timeout_set_timer  # noqa: F401

import sessions
from sessions.spaces import Space, Spaces, open_spaces
from sessions.streams import RecordStream

# A shell that starts us in the background has us and all that we start ignore Ctrl-C, which tests are about.
signal.signal(signal.SIGINT, signal.default_int_handler)

SHELLS = [
    pytest.param(shell, marks=pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is NOT INSTALLED"))
    for shell in ("bash", "sh", "zsh")
]


async def read_all(stream: RecordStream) -> list[sessions.Record]:
    """What a follower gets to the end."""
    async with stream as records:
        return [record async for record in records]


def joined(records: list[sessions.Record]) -> bytes:
    return b"".join(record.data for record in records)


def leftovers(session_ids: set[str]) -> list[psutil.Process]:
    """Processes that carry the mark of one of these sessions."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SESSIONS_SESSION_ID") in session_ids:
                found.append(process)
        except psutil.Error:
            continue
    return found


def open_descriptors() -> set[str]:
    """What this process has open, by descriptor and target."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except FileNotFoundError:
            continue
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
async def engine(root: Path) -> AsyncIterator[sessions.Engine]:
    """An engine with a short grace. After the test, no process of its sessions is left."""
    async with sessions.open_engine(root, limits=sessions.Limits(kill_grace_seconds=1.0)) as engine:
        yield engine
        ids = {session.id for session in await engine.list_sessions()}
    assert leftovers(ids) == []


@pytest.fixture
async def spaces(engine: sessions.Engine) -> AsyncIterator[Spaces]:
    async with open_spaces(engine) as spaces:
        yield spaces


@pytest.fixture
async def space(spaces: Spaces) -> Space:
    return await spaces.create("door", "one", env={"WHO": "me"}, labels={"a": "b"})


@pytest.fixture
async def session(engine: sessions.Engine) -> sessions.Session:
    return await engine.create_session("test")


@pytest.fixture
def processes_of() -> Callable[[set[str]], list[psutil.Process]]:
    return leftovers
