"""A program that was written for Miosa, unmodified."""

from __future__ import annotations

from pathlib import Path

from sdk_runs import PROGRAMS, Sdk

SDK = Sdk("miosa")


@SDK.needs_python
def test_the_program_of_the_document(tmp_path: Path) -> None:
    with SDK.server(tmp_path / "root") as variables:
        lines = SDK.run_python(PROGRAMS / "miosa_seed.py", variables, tmp_path).splitlines()
    assert lines[-1] == "SEED PASS"
    assert "Command killed after 1s" in lines
    assert "second use of a ticket -> 401" in lines
    assert list((tmp_path / "root" / "spaces").iterdir()) == []
