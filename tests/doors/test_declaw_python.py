"""The door, with Declaw's own SDK for Python, both of its clients: each check runs there, here each is a test."""

from __future__ import annotations

import pytest
from sdk_runs import BOTH, Found, Sdk, cases

SDK = Sdk("declaw")
pytestmark = SDK.needs_python

FILES = ("declaw_processes.py", "declaw_terminals.py")
RUNS = [(kind, file) for file in FILES for kind in BOTH]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    place = tmp_path_factory.mktemp("declaw")
    found = {}
    with SDK.server(place / "root") as variables:
        for file in FILES:
            found |= SDK.check(variables, place, [(kind, file) for kind in BOTH])
    return found


@pytest.mark.parametrize(("kind", "name"), cases(RUNS))
def test_sdk(found: Found, kind: str, name: str) -> None:
    assert found[kind, name] == "ok", found[kind, name]
