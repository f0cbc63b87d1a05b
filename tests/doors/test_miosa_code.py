"""The Miosa door's interpreters, over the life of a server."""

from __future__ import annotations

import shutil

import pytest
from conftest import open_descriptors
from miosa_wire import API, Wire, open_wire  # noqa: F401

import sessions


async def test_a_cell_shows_its_own_output(wire: Wire) -> None:
    path = f"{wire.sandbox}/code/run"
    first = await wire.ask("POST", path, {"code": "import sys\nx = print('one') or print('two', file=sys.stderr) or 3"})
    assert (first["stdout"], first["stderr"], first["result"]) == ("one\n", "two\n", None)
    second = await wire.ask("POST", path, {"code": "print('three')\nx * 2"})
    assert (second["stdout"], second["stderr"], second["result"]) == ("three\n", "", 6)


@pytest.mark.parametrize(
    ("language", "long", "shown"),
    [
        ("python", "'x' * 60_000", "x" * 60_000),
        ("python", "'x' * 100_000", "'xxx"),
        ("python", "'\U0001f600' * 20_000", "'\U0001f600"),
        ("python", "list(range(30_000))", "[0, 1, 2,"),
        ("javascript", "'x'.repeat(60_000)", "x" * 60_000),
        ("javascript", "'ü'.repeat(100_000)", "'üü"),
        ("javascript", "Object.fromEntries(Array(30_000).fill().map((_, n) => ['n' + n, n]))", "{\n  n0: 0,"),
    ],
)
async def test_a_result_that_is_too_long_is_cut(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, language: str, long: str, shown: str
) -> None:
    if language == "javascript" and shutil.which("node") is None:
        pytest.skip("there is no node")
    monkeypatch.setattr("sessions.doors.miosa.interpreters.MOST_BYTES", 1 << 16)
    found = await wire.ask("POST", f"{wire.sandbox}/code/run", {"code": long, "language": language, "timeout": 20})
    assert (found["ok"], found["timed_out"]) == (True, False)
    assert found["result"].startswith(shown)
    assert len(found["result"]) < 1 << 16
    found = await wire.ask("POST", f"{wire.sandbox}/code/run", {"code": "1 + 1", "language": language})
    assert (found["result"], found["stdout"]) == (2, "")


@pytest.mark.parametrize("end", ["delete", "stop"])
async def test_interpreters_leave_no_log_open(wire: Wire, engine: sessions.Engine, end: str) -> None:
    """They end with their sandbox, which nobody may ask for anything again."""
    for _ in range(2):
        path = f"{API}/sandboxes/{(await wire.ask('POST', f'{API}/sandboxes', {}, 201))['id']}"
        assert (await wire.ask("POST", f"{path}/code/run", {"code": "print(1)"}))["stdout"] == "1\n"
        await (wire.http.delete(path) if end == "delete" else wire.ask("POST", f"{path}/stop"))
    assert [name for name in open_descriptors() if f"{engine.root}/sessions/" in name] == []
