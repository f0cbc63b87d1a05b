"""A program that was written for Superserve, unmodified: by our front, and by a bridge that it brings itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from sdk_runs import PROGRAMS, Sdk

SDK = Sdk("superserve")
pytestmark = SDK.needs_python


@pytest.mark.parametrize("way", ["front", "bridge"])
def test_seed(tmp_path: Path, way: str) -> None:
    with SDK.server(tmp_path / "root") as variables:
        if way == "front":
            variables = {**variables, "SUPERSERVE_NO_BRIDGE": "1"}
        else:
            url = variables["SUPERSERVE_BASE_URL"]
            key = variables["SUPERSERVE_API_KEY"]
            data = url.removesuffix("/superserve")
            variables = {"SUPERSERVE_BASE_URL": url, "SUPERSERVE_API_KEY": key, "SUPERSERVE_DATA_URL": data}
        printed = SDK.run_python(PROGRAMS / "superserve_seed.py", variables, tmp_path)
    lines = printed.splitlines()
    assert len([line for line in lines if line.startswith("PASS ")]) == 13
    assert [line for line in lines if line.startswith("FAIL ")] == []
