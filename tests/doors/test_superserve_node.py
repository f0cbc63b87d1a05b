"""The door, with Superserve's own SDK for Node."""

from __future__ import annotations

import pytest
from daytona_sdk import read_checks
from superserve_sdk import CHECKS, needs_node, run_node, superserve_server

pytestmark = needs_node

PROGRAM = CHECKS / "superserve_checks.mjs"
NAMES = [line.split()[1][:-2] for line in PROGRAM.read_text().splitlines() if line.startswith("  async node_")]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    place = tmp_path_factory.mktemp("superserve-node")
    with superserve_server(place / "root") as variables:
        return read_checks(run_node(PROGRAM, variables, place / "cwd"))


@pytest.mark.parametrize("name", NAMES)
def test_sdk(found: dict[str, str], name: str) -> None:
    assert found[name] == "ok", found[name]
