"""The door, with Miosa's own SDK, both of its clients: each check runs there, here each is a test."""

from __future__ import annotations

import psutil
import pytest
from daytona_sdk import CHECKS, PROGRAMS, names_of, read_checks, side_by_side
from miosa_sdk import miosa_server, needs_sdk, run_python

pytestmark = needs_sdk

BOTH = ("miosa_computers.py", "miosa_sandboxes.py", "miosa_hosts.py")
RUNS = [(kind, file) for kind in ("sync", "async") for file in BOTH] + [("async", "miosa_spawn.py")]
CASES = [(kind, name) for kind, file in RUNS for name in names_of(file)]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], str]:
    """What the checks and the program that was written for Miosa have printed, all side by side on one server."""
    place = tmp_path_factory.mktemp("miosa")
    with miosa_server(place / "root") as variables:
        calls = [(run_python, CHECKS / file, variables, place, kind) for kind, file in RUNS]
        *printed, seed = side_by_side(*calls, (run_python, PROGRAMS / "miosa_seed.py", variables, place))
        results = {("seed", "seed"): seed}
        for (kind, _), text in zip(RUNS, printed, strict=True):
            results |= {(kind, name): told for name, told in read_checks(text).items()}
        assert list((place / "root" / "spaces").iterdir()) == []
    assert [one for one in psutil.process_iter(["cmdline"]) if str(place) in " ".join(one.info["cmdline"] or [])] == []
    return results


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_sdk(found: dict[tuple[str, str], str], kind: str, name: str) -> None:
    assert found[kind, name] == "ok", found[kind, name]


def test_a_program_that_was_written_for_miosa(found: dict[tuple[str, str], str]) -> None:
    lines = found["seed", "seed"].splitlines()
    assert lines[-1] == "SEED PASS"
    assert "Command killed after 1s" in lines
    assert "second use of a ticket -> 401" in lines
