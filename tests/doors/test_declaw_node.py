"""The door, with Declaw's own SDK for Node."""

from __future__ import annotations

import pytest
from daytona_sdk import CHECKS, names_of, read_checks
from declaw_sdk import declaw_server, needs_node, run_node

pytestmark = needs_node


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    place = tmp_path_factory.mktemp("declaw-node")
    with declaw_server(place / "root") as variables:
        return read_checks(run_node(CHECKS / "declaw_checks.ts", variables, place / "cwd"))


@pytest.mark.parametrize("name", names_of("declaw_checks.ts"))
def test_sdk(found: dict[str, str], name: str) -> None:
    assert found[name] == "ok", found[name]
