"""The door, with Declaw's own SDK for Node."""

from __future__ import annotations

import pytest
from sdk_runs import LONG, NODE, Checked, Sdk, cases

SDK = Sdk("declaw")
pytestmark = [SDK.needs_node, LONG]

BATCHES = [[(NODE, "declaw_checks.ts")]]


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Checked:
    return SDK.check(tmp_path_factory.mktemp("declaw-node"), *BATCHES)


@pytest.mark.parametrize(("kind", "name"), cases(*BATCHES))
def test_sdk(checked: Checked, kind: str, name: str) -> None:
    checked.expect_ok(kind, name)


def test_all_end_well(checked: Checked) -> None:
    checked.expect_end()
