"""Programs that were written for Nullspace, unmodified."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from sdk_runs import PROGRAMS, Sdk, side_by_side

SDK = Sdk("nullspace")
pytestmark = SDK.needs_python


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(scope="module")
def printed(place: Path) -> dict[str, list[str]]:
    """What they print, by name. They run side by side, since both sleep for seconds."""
    names = ["nullspace_seed.py", "nullspace_seed_async.py"]
    with SDK.server(place / "root") as variables:
        results = side_by_side(*[partial(SDK.run_python, PROGRAMS / name, variables, place) for name in names])
    return {name: text.splitlines() for name, text in zip(names, results, strict=True)}


def test_blocking_program(printed: dict[str, list[str]]) -> None:
    lines = printed["nullspace_seed.py"]
    assert lines[-2:] == ["worker after kill: 137", "SEED-SYNC PASS"]
    assert lines[:5] == ["== 1. run_streaming", "tick-1", "tick-2", "tick-3", "0"]
    assert [line for line in lines if line.startswith("bg-")] == [f"bg-{number}" for number in range(1, 5)]
    assert "work 0" in lines


def test_async_program(printed: dict[str, list[str]]) -> None:
    lines = printed["nullspace_seed_async.py"]
    assert lines[-2:] == ["worker after kill: 137", "SEED-ASYNC PASS"]
    assert "w" in lines


@pytest.mark.usefixtures("printed")
def test_nothing_is_left(place: Path) -> None:
    assert list((place / "root" / "spaces").iterdir()) == []
