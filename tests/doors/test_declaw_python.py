"""The door, with Declaw's own SDK for Python, both of its clients: each check runs there, here each is a test."""

from __future__ import annotations

import pytest
from sdk_runs import BOTH, LONG, Checked, Sdk, cases

SDK = Sdk("declaw")
pytestmark = [SDK.needs_python, LONG]

FILES = ("declaw_sandboxes.py", "declaw_processes.py", "declaw_terminals.py")
BATCHES = [[(kind, file) for kind in BOTH] for file in FILES]


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Checked:
    return SDK.check(tmp_path_factory.mktemp("declaw"), *BATCHES)


@pytest.mark.parametrize(("kind", "name"), cases(*BATCHES))
def test_sdk(checked: Checked, kind: str, name: str) -> None:
    checked.expect_ok(kind, name)


def test_all_end_well(checked: Checked) -> None:
    checked.expect_end()
