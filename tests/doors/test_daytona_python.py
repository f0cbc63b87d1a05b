"""The door, with Daytona's own SDK for Python, both of its clients: each check runs there, here each is a test."""

from __future__ import annotations

import pytest
from sdk_runs import BOTH, Found, Sdk, cases

SDK = Sdk("daytona")
pytestmark = SDK.needs_python

RUNS = [(kind, file) for kind in BOTH for file in ("daytona_processes.py", "daytona_terminals.py")]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    place = tmp_path_factory.mktemp("daytona")
    found = {}
    with SDK.server(place / "root") as variables:
        for run in RUNS:
            found |= SDK.check(variables, place, [run])
    return found


@pytest.mark.parametrize(("kind", "name"), cases(RUNS))
def test_sdk(found: Found, kind: str, name: str) -> None:
    assert found[kind, name] == "ok", found[kind, name]
