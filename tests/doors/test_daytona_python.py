"""The door, with Daytona's own SDK for Python, both of its clients: each check runs there, here each is a test."""

from __future__ import annotations

import pytest
from daytona_sdk import CHECKS, daytona_server, names_of, needs_python, read_checks, run_python

pytestmark = needs_python

FILES = ("daytona_processes.py", "daytona_terminals.py")
CASES = [(kind, name) for kind in ("sync", "async") for file in FILES for name in names_of(file)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    place = tmp_path_factory.mktemp("daytona")
    results = {}
    with daytona_server(place / "root") as variables:
        for kind in ("sync", "async"):
            for file in FILES:
                printed = run_python(CHECKS / file, variables, place, kind)
                results |= {(kind, name): told for name, told in read_checks(printed).items()}
    return results


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_sdk(found: dict[tuple[str, str], str], kind: str, name: str) -> None:
    assert found[kind, name] == "ok", found[kind, name]
