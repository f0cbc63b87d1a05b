"""The door, with Miosa's own SDK, both of its clients: each check runs there, here each is a test."""

from __future__ import annotations

import pytest
from sdk_runs import BOTH, LONG, Checked, Sdk, cases

SDK = Sdk("miosa")
pytestmark = [SDK.needs_python, LONG]

FILES = ("miosa_computers.py", "miosa_sandboxes.py", "miosa_commands.py", "miosa_hosts.py")
BATCHES = [[*[(kind, file) for kind in BOTH for file in FILES], ("async", "miosa_spawn.py")]]


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Checked:
    return SDK.check(tmp_path_factory.mktemp("miosa"), *BATCHES)


@pytest.mark.parametrize(("kind", "name"), cases(*BATCHES))
def test_sdk(checked: Checked, kind: str, name: str) -> None:
    checked.expect_ok(kind, name)


def test_all_end_well(checked: Checked) -> None:
    checked.expect_end()
