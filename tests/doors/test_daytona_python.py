"""The door, with Daytona's own SDK for Python, both of its clients: each check runs there, here each is a test."""

from __future__ import annotations

import pytest
from sdk_runs import BOTH, LONG, Checked, Sdk, cases

SDK = Sdk("daytona")
pytestmark = [SDK.needs_python, LONG]

ALL = "daytona_checks.py"
PARTS = ("daytona_sandboxes.py", "daytona_processes.py", "daytona_streams.py", "daytona_terminals.py")
CASES = cases([(kind, part) for kind in BOTH for part in PARTS])


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Checked:
    return SDK.check(tmp_path_factory.mktemp("daytona"), [(kind, ALL) for kind in BOTH])


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_sdk(checked: Checked, kind: str, name: str) -> None:
    checked.expect_ok(kind, name)


def test_all_end_well(checked: Checked) -> None:
    checked.expect_end()
