"""The door, with Declaw's own SDK for Python, both of its clients: each check runs there, here each is a test."""

from __future__ import annotations

import pytest
from daytona_sdk import CHECKS, names_of, read_checks, side_by_side
from declaw_sdk import declaw_server, needs_python, run_python

pytestmark = needs_python

FILES = ("declaw_processes.py", "declaw_terminals.py")
CASES = [(kind, name) for kind in ("sync", "async") for file in FILES for name in names_of(file)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    place = tmp_path_factory.mktemp("declaw")
    results = {}
    with declaw_server(place / "root") as variables:
        for file in FILES:
            calls = [(run_python, CHECKS / file, variables, place, kind) for kind in ("sync", "async")]
            for (*_, kind), printed in zip(calls, side_by_side(*calls), strict=True):
                results |= {(str(kind), name): told for name, told in read_checks(printed).items()}
    return results


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_sdk(found: dict[tuple[str, str], str], kind: str, name: str) -> None:
    assert found[kind, name] == "ok", found[kind, name]
