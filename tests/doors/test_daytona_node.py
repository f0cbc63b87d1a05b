"""The door, with Daytona's own SDK for Node."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from daytona_sdk import CHECKS, NODE_MODULES, daytona_server, names_of, needs_node, read_checks, run_node

pytestmark = needs_node


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    place = tmp_path_factory.mktemp("daytona-node")
    with daytona_server(place / "root", f"{os.environ['PATH']}:{NODE_MODULES / '.bin'}") as variables:
        yield read_checks(run_node(CHECKS / "daytona_checks.ts", variables, place / "cwd"))


@pytest.mark.parametrize("name", names_of("daytona_checks.ts"))
def test_sdk(found: dict[str, str], name: str) -> None:
    assert found[name] == "ok", found[name]
