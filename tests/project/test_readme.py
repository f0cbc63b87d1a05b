"""The programs in README.md and in the quickstart run, and print what is shown below them."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent.parent.parent

# A block of python, and the block of plain text right behind it, if there is one.
EXAMPLE = re.compile(r"^```python\n(?P<program>.*?)^```\n(?:\n```text\n(?P<output>.*?)^```\n)?", re.M | re.S)


def examples() -> list[object]:
    found: list[object] = []
    for page in ("README.md", "docs/index.md", "docs/blocking.md", "docs/client.md"):
        text = (HERE / page).read_text()
        for number, match in enumerate(EXAMPLE.finditer(text), 1):
            found.append(pytest.param(match["program"], match["output"], id=f"{page}-{number}"))
    return found


def same(shown: str, printed: str) -> bool:
    """Whether `printed` is `shown`, where each ``...`` in what is shown stands for anything in its line."""
    pattern = ".*".join(re.escape(piece) for piece in shown.split("..."))
    return re.fullmatch(pattern, printed) is not None


@contextlib.contextmanager
def server(env: dict[str, str]) -> Iterator[None]:
    """The server of the root that `env` names."""
    process = subprocess.Popen([sys.executable, "-m", "sessions", "serve", "--json"], env=env, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline()  # it serves
        yield
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.mark.parametrize(("program", "shown"), examples())
def test_example(program: str, shown: str | None, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    env = {**os.environ, "SESSIONS_HOME": str(tmp_path / "root"), "HOME": str(home), "PYTHONWARNINGS": "error"}
    assert shown is not None, "show what the program prints in a ```text block below it"
    with server(env) if "sessions.connect()" in program else contextlib.nullcontext():
        for _ in range(2):  # who runs it again finds no name of the first time in his way
            done = subprocess.run(
                [sys.executable, "-c", program], cwd=home, env=env, capture_output=True, text=True, timeout=60
            )
            assert (done.returncode, done.stderr) == (0, "")
            assert same(shown, done.stdout), done.stdout


def test_there_are_examples() -> None:
    assert len(examples()) >= 4
