"""The door, with Declaw's own SDK for Node."""

from __future__ import annotations

import pytest
from sdk_runs import CHECKS, Sdk, names_of, read_checks

SDK = Sdk("declaw")
pytestmark = SDK.needs_node

PROGRAM = "declaw_checks.ts"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    place = tmp_path_factory.mktemp("declaw-node")
    with SDK.server(place / "root") as variables:
        return read_checks(SDK.run_node(CHECKS / PROGRAM, variables, place / "cwd"))


@pytest.mark.parametrize("name", names_of(PROGRAM))
def test_sdk(found: dict[str, str], name: str) -> None:
    assert found[name] == "ok", found[name]
