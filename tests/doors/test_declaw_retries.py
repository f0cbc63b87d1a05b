"""What Declaw's SDKs ask for again: as often as they do, and with no more than one command or sandbox for it."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
from sdk_runs import BOTH, CHECKS, NODE, Sdk, names_of, read_checks
from served import TOKEN, served

import sessions
from sessions.cli.env import SYSTEMS
from sessions.doors.declaw import routing, sandboxes
from sessions.doors.own_shells import SHOWN
from sessions.spaces import Space, Spaces

SDK = Sdk("declaw")
TRIES = 3


class Trouble:
    """A server in which some texts can't be run, and some sandboxes are made slowly; it counts how often it was asked."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.asked: Counter[str] = Counter()
        self.has_come_again = trio.Event()
        self._start = Space.start_process
        self._create = Spaces.create
        self._stopped = routing.stopped
        self._making = sandboxes.making
        patch.setattr(Space, "start_process", lambda space, *words, **options: self.start(space, *words, **options))
        patch.setattr(Spaces, "create", lambda spaces, *words, **options: self.create(spaces, *words, **options))
        patch.setattr(routing, "stopped", self.stopped)
        patch.setattr(sandboxes, "making", self.making)

    async def start(self, space: Space, *words: Any, **options: Any) -> Any:
        asked = options["labels"][SHOWN]
        self.asked[asked] += 1
        if asked.startswith("stop "):
            await space.stop()
        if asked.startswith(("broken ", "stop ")) or (" # late " in asked and self.asked[asked] < TRIES):
            raise sessions.Broken("no shell can be started")
        return await self._start(space, *words, **options)

    async def create(self, spaces: Spaces, *words: Any, **options: Any) -> Space:
        kind = options["labels"].get("slow")
        if kind is not None:
            self.asked[f"slow {kind}"] += 1
            await self.has_come_again.wait()
        return await self._create(spaces, *words, **options)

    def stopped(self, sandbox_id: str) -> Any:
        self.asked["stopped"] += 1
        return self._stopped(sandbox_id)

    def making(self) -> Any:
        self.has_come_again.set()
        return self._making()


@pytest.fixture
def trouble(monkeypatch: pytest.MonkeyPatch) -> Trouble:
    return Trouble(monkeypatch)


async def check(engine: sessions.Engine, names: list[str], cwd: Path, *argv: str | Path) -> None:
    async with served(engine) as addresses:
        variables = {**os.environ, **SYSTEMS["declaw"](addresses.urls[0], TOKEN), "HOME": str(cwd)}
        words = [str(word) for word in argv]
        with trio.fail_after(100):
            done = await trio.run_process(words, env=variables, cwd=cwd, capture_stdout=True, capture_stderr=True)
    assert read_checks(done.stdout.decode()) == dict.fromkeys(names, "ok")


def counted(asked: Mapping[str, int]) -> dict[str, int]:
    """How often what is marked was asked for."""
    return {text.partition("# ")[2] or text: number for text, number in asked.items() if text != "echo on"}


@SDK.needs_python
@pytest.mark.parametrize("kind", BOTH)
async def test_python(engine: sessions.Engine, trouble: Trouble, tmp_path: Path, kind: str) -> None:
    program = "declaw_retries.py"
    await check(engine, names_of(program), tmp_path, SDK.python, CHECKS / program, kind)
    streamed = {f"broken stream {kind}": 1} if kind == "sync" else {}
    assert counted(trouble.asked) == {
        f"broken {kind}": TRIES,
        f"late {kind}": TRIES,
        f"stop {kind}": 1,
        "stopped": 3 if kind == "sync" else 2,
        f"slow {kind}": 1,
        "echo x": 1,
        **streamed,
    }


@SDK.needs_node
async def test_node(engine: sessions.Engine, trouble: Trouble, tmp_path: Path) -> None:
    program = "declaw_retries.ts"
    (tmp_path / "node_modules").symlink_to(SDK.node_modules)
    copy = shutil.copy(
        CHECKS / program, tmp_path / "declaw_retries.mts"
    )  # it awaits at its top, so it must be a module
    await check(engine, names_of(program), tmp_path, SDK.node_modules / ".bin" / "tsx", copy)
    found = counted(trouble.asked)
    for text in ("broken", "broken stream", "late", "late stream"):
        assert found[f"{text} {NODE}"] == TRIES
    assert (found[f"stop {NODE}"], found["stopped"]) == (1, 2 + TRIES)
    assert found["echo x >>runs; sleep 4.5"] == 1
