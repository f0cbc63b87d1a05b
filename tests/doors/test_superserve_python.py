"""The door, with Superserve's own SDK for Python, both of its clients: each check runs there, here each is a test."""

from __future__ import annotations

import pytest
from daytona_sdk import names_of, read_checks
from superserve_sdk import CHECKS, needs_python, run_python, superserve_server

pytestmark = needs_python

FILES = [("sync", "superserve_commands.py"), ("async", "superserve_commands.py"), ("async", "superserve_spawn.py")]
CASES = [(kind, name) for kind, file in FILES for name in names_of(file)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    place = tmp_path_factory.mktemp("superserve")
    results = {}
    with superserve_server(place / "root") as variables:
        for kind, file in FILES:
            printed = run_python(CHECKS / file, variables, place, kind)
            results |= {(kind, name): told for name, told in read_checks(printed).items()}
        assert list((place / "root" / "spaces").iterdir()) == []
    return results


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_sdk(found: dict[tuple[str, str], str], kind: str, name: str) -> None:
    assert found[kind, name] == "ok", found[kind, name]
