"""`python -m sessions.demo`, as `make demo` runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("demo")
    env = {**os.environ, "TMPDIR": str(directory), "COLUMNS": "80", "PYTHONWARNINGS": "error"}
    env.pop("FORCE_COLOR", None)
    done = subprocess.run([sys.executable, "-m", "sessions.demo"], env=env, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert list(Path(directory).iterdir()) == []
    return done.stdout


def test_each_job_is_followed_live(output: str) -> None:
    for job in ("tests", "wheel", "asyncio", "email", "json", "compile", "ticker"):
        assert re.search(rf"^ *{job} [│║] ", output, re.M)


def test_nothing_is_coloured_or_wider_than_a_terminal(output: str) -> None:
    assert "\x1b" not in output
    assert max(map(len, output.splitlines())) <= 80


def test_the_table_tells_how_each_command_ended(output: str) -> None:
    rows = [line.split() for line in output.splitlines() if re.match(r"[0-9a-z]{10}-\d+ +\w+ +\w+ +\d+ ", line)]
    ends = {row[2]: (row[3], row[4]) for row in rows}
    # The ticker's shell may end by TERM or report the code of the interrupted sleep: never 0.
    assert ends.pop("ticker")[1] == "timeout"
    assert ends.pop("compile") == ("3", "exit")
    assert set(ends.values()) == {("0", "exit")}
    assert len(rows) == 14


def test_the_second_engine_reads_the_same_bytes_and_nothing_is_left(output: str) -> None:
    assert "7 logs read by id: the same bytes as seen live" in output
    assert output.rstrip().endswith("processes left: none")
