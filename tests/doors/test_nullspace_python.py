"""The door, with Nullspace's own SDK, both of its clients: each check runs there, here each is a test."""

from __future__ import annotations

import pytest
from sdk_runs import BOTH, Found, Sdk, cases

SDK = Sdk("nullspace")
pytestmark = SDK.needs_python

FILES = ("nullspace_machines.py", "nullspace_processes.py", "nullspace_streams.py", "nullspace_terminals.py")
RUNS = [(kind, file) for kind in BOTH for file in FILES]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    place = tmp_path_factory.mktemp("nullspace")
    found = {}
    with SDK.server(place / "root") as variables:
        for kind in BOTH:
            found |= SDK.check(variables, place, [(kind, file) for file in FILES])
    return found


@pytest.mark.parametrize(("kind", "name"), cases(RUNS))
def test_sdk(found: Found, kind: str, name: str) -> None:
    assert found[kind, name] == "ok", found[kind, name]
