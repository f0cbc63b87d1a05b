"""The door, with Daytona's own SDK for Node."""

from __future__ import annotations

import os

import pytest
from sdk_runs import CHECKS, Sdk, names_of, read_checks

SDK = Sdk("daytona")
pytestmark = SDK.needs_node

PROGRAM = "daytona_checks.ts"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    place = tmp_path_factory.mktemp("daytona-node")
    path = f"{os.environ['PATH']}:{SDK.node_modules / '.bin'}"
    with SDK.server(place / "root", path) as variables:
        return read_checks(SDK.run_node(CHECKS / PROGRAM, variables, place / "cwd"))


@pytest.mark.parametrize("name", names_of(PROGRAM))
def test_sdk(found: dict[str, str], name: str) -> None:
    assert found[name] == "ok", found[name]
