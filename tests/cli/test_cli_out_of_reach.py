"""`sessions doctor` where the user may not look: it says so, and goes on."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sessions.cli.main import main

NOBODY = 65534


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that others may search, unlike the usual one."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def doctor(root: Path) -> tuple[int, list[dict[str, Any]]]:
    """Its exit code and findings, as seen by a user who is not root."""
    main(["--root", str(root), "doctor", "--json"])  # loads all that it needs, which that user may not be able to do
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.dup2(write, 1)
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
            os._exit(main(["--root", str(root), "doctor", "--json"]))
        finally:
            os._exit(99)
    os.close(write)
    with open(read) as file:
        found = file.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(OSError):  # made there for run directories
        os.rmdir(f"/dev/shm/sessions-{NOBODY}")
    return code, json.loads(found)


def wrong(findings: list[dict[str, Any]]) -> list[str]:
    return [finding["what"] for finding in findings if finding["state"] == "wrong"]


def test_a_root_below_a_directory_that_may_not_be_searched(place: Path) -> None:
    hidden = place / "hidden"
    (hidden / "root").mkdir(parents=True)
    hidden.chmod(0)
    try:
        code, findings = doctor(hidden / "root")
    finally:
        hidden.chmod(0o700)
    assert code == 1
    assert f"the root {hidden}/root is out of reach: {hidden} may not be searched" in wrong(findings)
    assert any("descriptors" in finding["what"] for finding in findings), "the rest is looked at, too"


def test_a_root_that_may_not_be_read(place: Path) -> None:
    root = place / "root"
    root.mkdir(mode=0o700)
    (root / "catalog.sqlite3").write_bytes(b"")
    if os.getuid() == 0:
        os.chown(root, NOBODY, NOBODY)
    root.chmod(0)
    try:
        code, findings = doctor(root)
    finally:
        root.chmod(0o700)
    assert code == 1
    assert f"the root {root} can't be written" in wrong(findings)


def test_a_root_of_another_user(place: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("NOT TESTED: a root of another user; making one takes root")
    root = place / "root"
    root.mkdir(mode=0o700)
    (root / "catalog.sqlite3").write_bytes(b"")
    code, findings = doctor(root)
    assert code == 1
    assert f"the root {root} belongs to another user" in wrong(findings)
