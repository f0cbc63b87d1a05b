"""The door, with Superserve's own SDK for Python, both of its clients: each check runs there, here each is a test."""

from __future__ import annotations

import pytest
from sdk_runs import Found, Sdk, cases

SDK = Sdk("superserve")
pytestmark = SDK.needs_python

RUNS = [("sync", "superserve_commands.py"), ("async", "superserve_commands.py"), ("async", "superserve_spawn.py")]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    place = tmp_path_factory.mktemp("superserve")
    found = {}
    with SDK.server(place / "root") as variables:
        for run in RUNS:
            found |= SDK.check(variables, place, [run])
        assert list((place / "root" / "spaces").iterdir()) == []
    return found


@pytest.mark.parametrize(("kind", "name"), cases(RUNS))
def test_sdk(found: Found, kind: str, name: str) -> None:
    assert found[kind, name] == "ok", found[kind, name]
