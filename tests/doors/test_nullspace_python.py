"""The door, with Nullspace's own SDK, both of its clients: each check runs there, here each is a test."""

from __future__ import annotations

import pytest
from sdk_runs import BOTH, LONG, Checked, Sdk, cases

SDK = Sdk("nullspace")
pytestmark = [SDK.needs_python, LONG]

FILES = (
    "nullspace_machines.py",
    "nullspace_processes.py",
    "nullspace_streams.py",
    "nullspace_upgrades.py",
    "nullspace_terminals.py",
)
BATCHES = [[(kind, file) for file in FILES] for kind in BOTH]


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Checked:
    return SDK.check(tmp_path_factory.mktemp("nullspace"), *BATCHES)


@pytest.mark.parametrize(("kind", "name"), cases(*BATCHES))
def test_sdk(checked: Checked, kind: str, name: str) -> None:
    checked.expect_ok(kind, name)


def test_all_end_well(checked: Checked) -> None:
    checked.expect_end()
