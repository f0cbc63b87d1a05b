"""The documentation builds into a site without a warning, and shows every public name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import sessions

HERE = Path(__file__).parent.parent.parent

pytest.importorskip("mkdocs", reason="the docs extra is not installed: the docs are NOT checked")


PAGES = ["", *(path.stem for path in sorted((HERE / "docs").glob("*.md")) if path.stem != "index")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(target)]
    done = subprocess.run(build, cwd=HERE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


@pytest.mark.parametrize("page", PAGES)
def test_page_is_built(site: Path, page: str) -> None:
    assert (site / page / "index.html").stat().st_size > 5_000


def test_api_page_has_every_public_name(site: Path) -> None:
    html = (site / "api" / "index.html").read_text()
    described = set(re.findall(r'id="sessions\.(\w+)"', html))
    assert described >= set(sessions.__all__) - {"blocking"}  # a module, with a page of its own


def test_log_format_page_agrees_with_the_code(site: Path) -> None:
    """The page's table of fields is the struct's layout: same offsets and sizes, in the same order."""
    from sessions.store import records

    page = (HERE / "docs" / "log-format.md").read_text()
    rows = re.findall(r"^\| (\d+) \| (\d+) \| `(\w+)` \|", page, re.M)
    offsets = [int(offset) for offset, _, _ in rows]
    sizes = [int(size) for _, size, _ in rows]
    assert offsets == [sum(sizes[:position]) for position in range(len(sizes))]
    assert sum(sizes) == records.RECORD_BYTES
    assert sizes == [{"Q": 8, "I": 4, "B": 1, "H": 2}[code] for code in records.LAYOUT.format[1:]]
