"""A program that was written for Declaw, unmodified."""

from __future__ import annotations

from pathlib import Path

from sdk_runs import PROGRAMS, Sdk

SDK = Sdk("declaw")


@SDK.needs_python
def test_the_program_of_the_document(tmp_path: Path) -> None:
    with SDK.server(tmp_path / "root") as variables:
        printed = SDK.run_python(PROGRAMS / "declaw_seed_verbatim.py", variables, tmp_path)
    lines = printed.splitlines()
    # Its first half needs what no version of the SDK has: its stream is no iterator.
    assert lines[0].startswith("NOT-ITERABLE: 'CommandResult' object")
    assert lines[1:4] == ["1", "2", "3"]
    assert lines[-1] == "PASS seed-equivalent ['1\\n', '2\\n', '3\\n']"
