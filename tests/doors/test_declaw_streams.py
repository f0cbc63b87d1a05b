"""The Declaw door's long answers: what is said in silence, what clients get who vanish, or read slowly, or outlive the server."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from conftest import leftovers
from declaw_wire import Wire, open_test_wire, open_wire  # noqa: F401
from left_behind import named
from served import over_tcp, served

import sessions
from sessions.spaces import Space


async def test_a_stream_is_what_the_document_says(wire: Wire) -> None:
    text = await wire.stream("echo 1; sleep 0.1; echo oops >&2; exit 3", stream=True, user="nobody-here")
    assert text.replace(b": keepalive\n\n", b"") == (
        b'event: stdout\ndata: {"type": "stdout", "stream": "stdout", "data": "1\\n"}\n\n'
        b'event: stderr\ndata: {"type": "stderr", "stream": "stderr", "data": "oops\\n"}\n\n'
        b'event: exit\ndata: {"exit_code": 3}\n\n'
    )


async def test_a_silent_stream_gives_signs_of_life(wire: Wire) -> None:
    text = await wire.stream("sleep 1000", timeout=0.9)
    assert text.count(b": keepalive") >= 3
    assert text.endswith(b'event: exit\ndata: {"exit_code": 124}\n\n')


async def test_a_stream_with_hardly_any_time_ends(wire: Wire) -> None:
    with trio.fail_after(10):
        text = await wire.stream("sleep 1000", timeout=1e-9)
    assert text.endswith(b'event: exit\ndata: {"exit_code": 124}\n\n')
    assert text.count(b": keepalive") < 100


@pytest.mark.parametrize("way", ["waited", "streamed", "background"])
async def test_nothing_is_left_when_an_end_in_time_is_told(wire: Wire, engine: sessions.Engine, way: str) -> None:
    """What ignores its first signal is not left to the grace of the engine."""
    command = "echo up; setsid sh -c \"trap '' TERM; exec sleep 1000\" & sleep 1000"
    if way == "streamed":
        assert b'{"exit_code": 124}' in await wire.stream(command, timeout=0.5)
    elif way == "waited":
        found = await wire.ask("POST", f"{wire.path}/commands", {"cmd": command, "timeout": 0.5})
        assert found == {"stdout": "up\n", "stderr": "", "exit_code": 124}
    else:
        path = await wire.start(command, timeout=0.5)
        assert (await wire.ask("GET", f"{path}/wait"))["exit_code"] == 124
    (session,) = await engine.list_sessions(labels={"space": wire.sandbox})
    assert named("sleep", session.id) == []


async def test_an_answer_that_is_waited_for_gives_signs_of_life(wire: Wire) -> None:
    answer = await wire.http.post(f"{wire.path}/commands", json={"cmd": "sleep 1.2; echo x"})
    assert answer.content.startswith(b" ")
    assert answer.json() == {"stdout": "x\n", "stderr": "", "exit_code": 0}


async def test_no_timeout_is_none(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[Any] = []
    start = Space.start_process

    async def note(*arguments: Any, **options: Any) -> Any:
        limits.append(options["timeout"])
        return await start(*arguments, **options)

    monkeypatch.setattr(Space, "start_process", note)
    for none in ({}, {"timeout": 0}, {"timeout": None}):
        assert (await wire.ask("POST", f"{wire.path}/commands", {"cmd": "echo x", **none}))["exit_code"] == 0
        assert b'{"exit_code": 0}' in await wire.stream("echo x", **none)
        path = await wire.start("echo x", **none)
        assert (await wire.ask("GET", f"{path}/wait"))["stdout"] == "x\n"
    assert limits == [None] * 9


async def test_nothing_is_started_twice_when_the_server_ends(engine: sessions.Engine, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    found: dict[str, object] = {}

    async def ask(path: str, mark: str) -> None:
        try:
            answer = await http.post(path, json={"cmd": f"echo {mark} >>{ran}; sleep 1000"})
            found[mark] = answer.text.split("\n\n")[-3:]
        except httpx.HTTPError as error:
            found[mark] = type(error)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            async with served(engine, stop_seconds=0.5) as addresses:
                http = over_tcp(addresses, timeout=60)
                commands = f"/sandboxes/{(await http.post('/sandboxes', json={})).json()['sandbox_id']}/commands"
                nursery.start_soon(ask, commands, "waited")
                nursery.start_soon(ask, f"{commands}/stream", "streamed")
                while not ran.exists() or len(ran.read_text().split()) < 2:
                    await trio.sleep(0.01)
    await http.aclose()
    assert found["waited"] is httpx.RemoteProtocolError  # which no client asks again for
    assert found["streamed"] == [
        'event: error\ndata: {"error": "the server is about to end: ask the next one how it went on"}',
        'event: exit\ndata: {"exit_code": -1}',
        "",
    ]
    assert sorted(ran.read_text().split()) == ["streamed", "waited"]


async def test_a_vanished_client_ends_nothing(wire: Wire, tmp_path: Path) -> None:
    for number, way in enumerate(("commands", "commands/stream")):
        begun, gone, done = [tmp_path / f"{name} {number}" for name in ("begun", "gone", "done")]
        text = f"touch '{begun}'; until [ -e '{gone}' ]; do sleep 0.05; done; touch '{done}'"
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(wire.http.post, f"{wire.path}/{way}", json={"cmd": text}))
                while not begun.exists():
                    await trio.sleep(0.02)
                nursery.cancel_scope.cancel()
            gone.touch()
            while not done.exists():
                await trio.sleep(0.02)


async def test_killing_leaves_nothing(wire: Wire, engine: sessions.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """And who waits is told."""
    monkeypatch.setattr("sessions.doors.declaw.commands.QUIET_SECONDS", 0.05)
    command = await wire.start("sleep 1000 & sleep 1000")
    await wire.ask("POST", f"{wire.path}/pty", {"size": {"cols": 80, "rows": 24}}, 201)
    ids = {session.id for session in await engine.list_sessions(labels={"space": wire.sandbox})}
    with trio.fail_after(20):
        async with wire.http.stream("GET", f"{command}/wait") as answer:  # which has begun, so it waits
            assert await wire.ask("DELETE", wire.path) == {"killed": True}
            assert json.loads(await answer.aread()) == {"stdout": "", "stderr": "", "exit_code": 137}
    assert leftovers(ids) == []


async def test_entries_go_on_behind_a_number(wire: Wire) -> None:
    made = await wire.ask("POST", f"{wire.path}/stdio", {"cmd": "read a; echo 1; read a; echo 2 >&2"}, 201)
    path = f"{wire.path}/stdio/{made['cmd_id']}"
    for _ in range(2):
        await wire.ask("POST", f"{path}/stdin", {"data": "Cg=="}, 204)
    text = (await wire.http.get(f"{path}/stream")).text
    entries = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]
    assert [entry.get("data") for entry in entries] == ["MQo=", "Mgo=", None]
    text = (await wire.http.get(f"{path}/stream?last_entry_id={entries[0]['entry_id']}")).text
    assert "MQo=" not in text
    assert text.endswith('event: exit\ndata: {"exit_code": 0}\n\n')
    assert await wire.refused("GET", f"{path}/stream?last_entry_id=x") == "invalid"
    await wire.ask("POST", f"{path}/stdin/close", status=204)
    assert await wire.refused("POST", f"{path}/stdin", {"data": "Cg=="}, 409) == "process_ended"


async def test_a_client_that_reads_slowly_holds_up_nobody(wire: Wire, engine: sessions.Engine) -> None:
    async with wire.http.stream(
        "POST", f"{wire.path}/commands/stream", json={"cmd": "seq 2000000; echo end"}
    ) as answer:
        found = await wire.ask("POST", f"{wire.path}/commands", {"cmd": "echo quick"})
        assert found["stdout"] == "quick\n"
        size, last = 0, b""
        async for piece in answer.aiter_bytes():
            size += len(piece)
            last = (last + piece)[-500:]
    assert b'"data": "end\\n"' in last
    assert size > 2000000 * 70


async def test_many_streams_at_once_are_exact(wire: Wire) -> None:
    found: dict[int, bytes] = {}

    async def stream(number: int) -> None:
        found[number] = await wire.stream(f"for i in {{1..3000}}; do echo {number}-$i; done")

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(stream, number)
    for number, text in found.items():
        events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith(b"data: ")]
        assert "".join(event.get("data", "") for event in events) == "".join(f"{number}-{i}\n" for i in range(1, 3001))
        assert events[-1] == {"exit_code": 0}


async def test_what_finds_no_place_is_not_started(engine: sessions.Engine, tmp_path: Path) -> None:
    async with open_wire(engine, followers=1) as wire, trio.open_nursery() as nursery:
        nursery.start_soon(wire.stream, "sleep 1000")
        while not (running := await wire.ask("GET", f"{wire.path}/commands")):
            await trio.sleep(0.01)
        answer = await wire.http.post(f"{wire.path}/commands/stream", json={"cmd": f"touch {tmp_path}/ran"})
        assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (429, "busy", "1")
        assert await wire.ask("GET", f"{wire.path}/commands") == running
        assert await wire.ask("DELETE", f"{wire.path}/commands/{running[0]['pid']}") == {"killed": True}
    assert not (tmp_path / "ran").exists()
