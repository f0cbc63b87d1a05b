"""The door, with Daytona's own SDK for Node."""

from __future__ import annotations

import os

import pytest
from sdk_runs import LONG, NODE, Checked, Sdk, cases

SDK = Sdk("daytona")
pytestmark = [SDK.needs_node, LONG]

BATCHES = [[(NODE, "daytona_checks.ts")]]


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Checked:
    path = f"{os.environ['PATH']}:{SDK.node_modules / '.bin'}"
    return SDK.check(tmp_path_factory.mktemp("daytona-node"), *BATCHES, path=path)


@pytest.mark.parametrize(("kind", "name"), cases(*BATCHES))
def test_sdk(checked: Checked, kind: str, name: str) -> None:
    checked.expect_ok(kind, name)


def test_all_end_well(checked: Checked) -> None:
    checked.expect_end()
