"""The door, with Superserve's own SDK for Node."""

from __future__ import annotations

import pytest
from sdk_runs import CHECKS, Sdk, names_of, read_checks

SDK = Sdk("superserve")
pytestmark = SDK.needs_node

PROGRAM = "superserve_checks.mjs"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    place = tmp_path_factory.mktemp("superserve-node")
    with SDK.server(place / "root") as variables:
        return read_checks(SDK.run_node(CHECKS / PROGRAM, variables, place / "cwd"))


@pytest.mark.parametrize("name", names_of(PROGRAM))
def test_sdk(found: dict[str, str], name: str) -> None:
    assert found[name] == "ok", found[name]
