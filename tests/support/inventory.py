"""All that an engine holds, so that a test can show that nothing was added to it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import psutil
from conftest import open_descriptors

import sessions


def run_directory(engine: sessions.Engine) -> Path:
    return Path(json.loads((engine.root / "engines" / engine.id).read_text())["run_directory"])


def inventory(engine: sessions.Engine) -> dict[str, object]:
    """All that an engine holds: rows, files and their sizes, descriptors."""
    database = sqlite3.connect(f"file:{engine.root}/catalog.sqlite3?mode=ro", uri=True)
    try:
        rows = {
            name: database.execute(f"SELECT * FROM {name}").fetchall() for name in ("sessions", "commands", "events")
        }
    finally:
        database.close()
    places = [engine.root, run_directory(engine)]
    paths = [path for place in places for path in place.rglob("*") if not path.name.startswith("catalog.sqlite3")]
    return {**rows, "files": {path: path.lstat().st_size for path in paths}, "descriptors": open_descriptors()}


def processes() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))
