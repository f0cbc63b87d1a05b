"""The door, with Nullspace's own SDK, both of its clients: each check runs there, here each is a test."""

from __future__ import annotations

import pytest
from daytona_sdk import CHECKS, names_of, read_checks, side_by_side
from nullspace_sdk import needs_sdk, nullspace_server, run_python

pytestmark = needs_sdk

FILES = ("nullspace_machines.py", "nullspace_processes.py", "nullspace_streams.py", "nullspace_terminals.py")
CASES = [(kind, name) for kind in ("sync", "async") for file in FILES for name in names_of(file)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    place = tmp_path_factory.mktemp("nullspace")
    results = {}
    with nullspace_server(place / "root") as variables:
        for kind in ("sync", "async"):
            calls = [(run_python, CHECKS / file, variables, place, kind) for file in FILES]
            for printed in side_by_side(*calls):
                results |= {(kind, name): told for name, told in read_checks(printed).items()}
    return results


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_sdk(found: dict[tuple[str, str], str], kind: str, name: str) -> None:
    assert found[kind, name] == "ok", found[kind, name]
