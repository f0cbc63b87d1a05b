"""The native door's table, its documentation, its OpenAPI document and what it really answers agree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from http_server import TOKEN, Web
from http_server import open_test_web as open_test_web

import sessions
from sessions.doors.native.door import OPERATIONS
from sessions.doors.operations import Operation

HERE = Path(__file__).parent.parent
PAGE = (HERE.parent / "docs" / "http.md").read_text()
EXAMPLES = re.findall(r"^```sh\n(curl .*?)^```", PAGE, re.M | re.S)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: f"{one.method} {one.path}")
def test_each_route_is_documented_with_an_example(operation: Operation) -> None:
    name = f"`{operation.method} /v1{operation.path}`"
    sections = [section for section in PAGE.split("\n### ")[1:] if name in section]
    assert len(sections) == 1
    assert "```sh\ncurl " in sections[0]
    for parameter in operation.query:
        assert f"{parameter}=" in sections[0] or f"`{parameter}`" in PAGE, parameter


def test_nothing_is_documented_that_is_not_there() -> None:
    named = set(re.findall(r"`((?:GET|POST|DELETE|PUT|PATCH) /v1[^`]*)`", PAGE))
    assert named == {f"{one.method} /v1{one.path}" for one in OPERATIONS}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed: the examples are NOT run")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.partition("/v1/")[2].split()[0].strip('"'))
async def test_each_example_works(web: Web, example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # without startup files for login shells
    if "DELETE" not in example and "name" not in example:
        await web.post("/sessions", {"name": "build", "labels": {"ci": "42"}}, 201)
    acts = any(verb in example for verb in ("/input", "/signal", "/interrupt", "/kill"))
    text = {"text": "cat", "stdin": True} if acts else {"text": "echo hello"}
    command_id = await web.start("test", **text)
    if "DELETE" in example:
        await web.post("/sessions", {"name": "build"}, 201)
    if "/terminals/shell" in example or "/resize" in example:
        command_id = (await web.post("/terminals", {"name": "shell"}, 201))["id"]
    if "/events" in example or "/sessions/build/follow" in example or "/attach" in example:
        example = f"timeout 0.5 {example.strip()} || (( $? == 124 ))"  # goes on for ever
    done = await trio.run_process(
        ["bash", "-c", example.replace("curl ", "curl --fail-with-body ")],
        env={**os.environ, "SOCK": str(web.unix), "ID": command_id},
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if acts:
        await web.post(f"/commands/{command_id}/kill", {"grace": 0})


async def test_the_document_is_generated_from_the_table(web: Web) -> None:
    document = await web.get("/openapi.json")
    assert document["openapi"].startswith("3.1.")
    assert document["servers"] == [{"url": "/v1"}]
    listed = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert listed == {(one.method, one.path) for one in OPERATIONS}
    schemas = document["components"]["schemas"]
    assert schemas["SubmitCommand"]["required"] == ["command"]
    assert schemas["SubmitCommand"]["properties"]["on_disconnect"] == {
        "type": "string",
        "enum": ["continue", "interrupt"],
    }
    assert schemas["CommandView"]["properties"]["exit_code"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    ids = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
    assert len(set(ids)) == len(ids)


async def test_answers_are_what_the_document_says(
    web: Web, engine: sessions.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds of requests, right and wrong by the document, and each answer judged by it."""
    monkeypatch.chdir(tmp_path)  # commands of random text run here
    monkeypatch.setenv("HOME", str(tmp_path))
    session = await engine.create_session("known")
    command = (await session.run("echo known; echo error >&2")).command
    program = [sys.executable, str(HERE / "support" / "http_fuzz.py"), f"{web.url}/v1", TOKEN, session.id, command.id]
    done = await trio.run_process(program, capture_stdout=True, stderr=subprocess.STDOUT, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout.decode()[-8000:]
    assert int(done.stdout.split()[-2]) > 150, done.stdout.decode()
    assert (await web.get("/health"))["status"] == "ok"


async def test_metrics(web: Web) -> None:
    await web.post("/sessions", {"name": "ended"}, 201)
    await web.post("/sessions/ended/close")
    await web.finish("test", "printf 12345; printf 123 >&2")
    await web.finish("test", "exit 3")
    running = await web.start("test", "printf 1234567; read line", stdin=True)
    async with web.stream(f"/commands/{running}/follow") as stream:
        await stream.next()
        answer = await web.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
    assert lines['sessions_sessions{state="open"}'] == "1"
    assert lines['sessions_sessions{state="closed"}'] == "1"
    assert lines['sessions_sessions{state="lost"}'] == "0"
    assert lines['sessions_commands{state="finished",reason="exit"}'] == "2"
    assert lines['sessions_commands{state="running",reason=""}'] == "1"
    assert lines['sessions_commands{state="queued",reason=""}'] == "0"
    assert lines['sessions_commands{state="finished",reason="lost"}'] == "0"
    assert lines['sessions_logged_bytes{stream="stdout"}'] == "12"
    assert lines['sessions_logged_bytes{stream="stderr"}'] == "3"
    assert lines["sessions_dropped_bytes"] == "0"
    assert lines["sessions_streams"] == "1"
    assert float(lines["sessions_stream_lag_seconds"]) >= 0
    for name in {line.split()[2] for line in answer.text.splitlines() if line.startswith("# TYPE")}:
        assert f"# HELP {name} " in answer.text
        assert any(line.startswith(name) for line in lines)
