"""A test that hangs is one failure that shows where its tasks stood; those after it are none the worse for it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
PROGRAM = """
import pytest, trio
from hypothesis import given, settings, strategies as st

async def wait_shielded():
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()

async def test_of_pytest_trio():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_shielded)

async def test_after_that():
    await trio.sleep(0)

@settings(deadline=None, database=None)
@given(st.integers())
def test_of_hypothesis(number):
    trio.run(wait_shielded)

def test_after_that_too():
    trio.run(trio.sleep, 0)

async def test_that_is_busy():
    while True:
        pass

async def test_after_all():
    await trio.sleep(0)
"""


def test_one_that_hangs_is_one_failure(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrio_mode = true\ntimeout = 1\nfilterwarnings = error\n")
    (tmp_path / "conftest.py").write_text("from hangs import pytest_timeout_cancel_timer, pytest_timeout_set_timer\n")
    (tmp_path / "test_program.py").write_text(PROGRAM)
    plugins = [f"-p{name}" for name in ("no:cacheprovider", "pytest_trio.plugin", "pytest_timeout")]
    command = [sys.executable, "-m", "pytest", "-q", "-o", f"pythonpath={TESTS / 'support'}", *plugins]
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # others take longer than all the rest
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    failures, summary = done.stdout.split("= short test summary info =")  # which repeats all they tell where CI is set
    failed = re.findall(r"^FAILED \S+::(\w+)", summary, re.MULTILINE)
    assert failed == ["test_of_pytest_trio", "test_of_hypothesis", "test_that_is_busy"], done.stdout
    assert "3 failed, 3 passed" in summary
    _, *parts = re.split(r"^_+ (test_\w+) _+$", failures, flags=re.MULTILINE)
    told = dict(zip(parts[::2], parts[1::2], strict=True))
    assert all("the test has not ended within 1.0 s" in told[name] for name in failed), done.stdout
    where = re.compile(r"task \S*wait_shielded\n.*\n.*await trio.sleep_forever")
    assert [name for name in failed if where.search(told[name])] == failed[:2], done.stdout
