"""The door, with Miosa's own SDK, both of its clients: each check runs there, here each is a test."""

from __future__ import annotations

import psutil
import pytest
from sdk_runs import BOTH, PROGRAMS, Found, Sdk, cases

SDK = Sdk("miosa")
pytestmark = SDK.needs_python

FILES = ("miosa_computers.py", "miosa_sandboxes.py", "miosa_commands.py", "miosa_hosts.py")
RUNS = [(kind, file) for kind in BOTH for file in FILES] + [("async", "miosa_spawn.py")]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What the checks have found, and what the program that was written for Miosa has printed."""
    place = tmp_path_factory.mktemp("miosa")
    with SDK.server(place / "root") as variables:
        found = SDK.check(variables, place, RUNS)
        found["seed", "seed"] = SDK.run_python(PROGRAMS / "miosa_seed.py", variables, place)
        assert list((place / "root" / "spaces").iterdir()) == []
    assert [one for one in psutil.process_iter(["cmdline"]) if str(place) in " ".join(one.info["cmdline"] or [])] == []
    return found


@pytest.mark.parametrize(("kind", "name"), cases(RUNS))
def test_sdk(found: Found, kind: str, name: str) -> None:
    assert found[kind, name] == "ok", found[kind, name]


def test_a_program_that_was_written_for_miosa(found: Found) -> None:
    lines = found["seed", "seed"].splitlines()
    assert lines[-1] == "SEED PASS"
    assert "Command killed after 1s" in lines
    assert "second use of a ticket -> 401" in lines
