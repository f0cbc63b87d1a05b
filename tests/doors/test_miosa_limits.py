"""The door of a server that has room for one stream and one shell, with Miosa's own SDK, both of its clients."""

from __future__ import annotations

import pytest
from sdk_runs import BOTH, LONG, Checked, Sdk, cases

SDK = Sdk("miosa")
pytestmark = [SDK.needs_python, LONG]

BATCHES = [[(kind, "miosa_limits.py")] for kind in BOTH]


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Checked:
    return SDK.check(tmp_path_factory.mktemp("miosa-limits"), *BATCHES, followers=1, sessions=1)


@pytest.mark.parametrize(("kind", "name"), cases(*BATCHES))
def test_sdk(checked: Checked, kind: str, name: str) -> None:
    checked.expect_ok(kind, name)


def test_all_end_well(checked: Checked) -> None:
    checked.expect_end()
