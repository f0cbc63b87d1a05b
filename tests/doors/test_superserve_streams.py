"""The Superserve door's long answers: what is said in silence, what clients get who vanish, or read slowly, or outlive the server."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
import trio
from served import over_tcp, port_of, served
from superserve_wire import Wire, events_of, open_test_wire, open_wire  # noqa: F401
from websocket_client import websocket

import sessions
from sessions.doors.superserve.runs import LAST_WORDS


async def test_stream_tells_times_and_its_end(wire: Wire) -> None:
    events = await wire.events({"command": "echo 1; sleep 0.1; echo e >&2; sleep 0.1; printf '\\303'; exit 3"})
    assert [{k: v for k, v in event.items() if k != "timestamp"} for event in events] == [
        {"stdout": "1\n"}, {"stderr": "e\n"}, {"stdout": "\ufffd"}, {"finished": True, "exit_code": 3}
    ]  # fmt: skip
    times = [datetime.fromisoformat(event["timestamp"]) for event in events]
    assert times == sorted(times)
    assert all(time.tzinfo is not None for time in times)


async def test_silence_is_broken(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessions.doors.superserve.runs.KEEPALIVE_SECONDS", 0.1)
    text = (await wire.exec({"command": "sleep 0.5; echo x"})).text
    assert text.startswith("  ")
    assert json.loads(text)["stdout"] == "x\n"
    text = (await wire.exec({"command": "sleep 0.5; echo x"}, "/exec/stream")).text
    assert text.count(": keepalive\n\n") >= 3
    assert [event.get("stdout") for event in events_of(text)] == ["x\n", None]


async def test_commands_without_a_limit_get_one(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessions.doors.superserve.exec.WaitedExec.default_seconds", 0.5)
    monkeypatch.setattr("sessions.doors.superserve.exec.StreamedExec.default_seconds", 0.5)
    body = {"command": "echo begun; sleep 641"}
    assert (await wire.exec(body)).json() == {"stdout": "begun\n", "stderr": "", "exit_code": 124, "truncated": False}
    assert (await wire.events(body))[-1]["exit_code"] == 124
    assert (await wire.exec({"command": "sleep 1; echo x", "timeout_s": 5})).json()["stdout"] == "x\n"


async def test_commands_end_with_their_clients(wire: Wire, engine: sessions.Engine) -> None:
    body = {"command": "trap '' TERM; echo on; sleep 642 & sleep 643; sleep 644"}
    for number, path in enumerate(("/exec", "/exec/stream"), 1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.exec, body, path)
            with trio.fail_after(30):
                while len([one for one in await engine.list_commands() if one.size_bytes == 3]) < number:
                    await trio.sleep(0.02)
            nursery.cancel_scope.cancel()
    with trio.fail_after(30):
        while [command.reason for command in await engine.list_commands()] != ["killed", "killed"]:
            await trio.sleep(0.05)


async def test_a_client_that_goes_is_noticed_behind_unread_input(wire: Wire, engine: sessions.Engine) -> None:
    async with wire.connect() as socket:
        await socket.send_text('{"command": "echo up; exec sleep 646"}')
        assert await socket.receive() == b"\1up\n"
        with trio.fail_after(30):
            for _ in range(60):
                await socket.send(bytes(1 << 18))
    (command,) = await engine.list_commands()
    with trio.fail_after(30):
        assert (await command.wait()).reason == "killed"


async def test_a_sandbox_that_pauses_behind_the_upgrade_goes_on(wire: Wire) -> None:
    """Its client can't be told any more to activate it, as it would do by itself."""
    async with wire.connect() as socket:
        await wire.ask("POST", f"/sandboxes/{wire.sandbox['id']}/pause")
        await socket.send_text('{"command": "echo on"}')
        assert await socket.rest() == [b"\1on\n", '{"finished": true, "exit_code": 0}']
    assert (await wire.ask("GET", f"/sandboxes/{wire.sandbox['id']}"))["status"] == "active"


async def test_a_sandbox_is_in_use_from_the_upgrade_on(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessions.spaces.LOOK_SECONDS", 0.01)
    path = f"/sandboxes/{wire.sandbox['id']}"
    async with wire.connect():
        await wire.ask("PATCH", path, {"timeout_seconds": 1})
        await trio.sleep(2.3)  # more than its time, and than a look that was begun before
        assert (await wire.ask("GET", path))["status"] == "active"
    with trio.fail_after(30):
        while (await wire.ask("GET", path))["status"] != "paused":
            await trio.sleep(0.02)


async def test_a_sandbox_that_is_killed_behind_the_upgrade(wire: Wire, engine: sessions.Engine) -> None:
    async with wire.connect() as socket:
        await wire.ask("DELETE", f"/sandboxes/{wire.sandbox['id']}", status=204)
        await socket.send_text('{"command": "echo on"}')
        last = json.loads(str(await socket.receive()))
    assert (last["finished"], last["exit_code"], last["code"]) == (True, 126, "conflict")
    assert "is destroyed: create another one" in last["error"]
    assert await engine.list_commands() == []


async def test_what_finds_no_place_is_not_started(engine: sessions.Engine) -> None:
    async with open_wire(engine, followers=1) as wire, wire.connect() as socket:
        await socket.send_text('{"command": "echo up; sleep 647"}')
        assert await socket.receive() == b"\1up\n"
        for path in ("/exec", "/exec/stream"):
            answer = await wire.exec({"command": "true"}, path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (429, "busy")
        async with wire.connect() as other:
            await other.send_text('{"command": "true"}')
            last = json.loads(str(await other.receive()))
            assert (last["finished"], last["exit_code"], last["code"]) == (True, 126, "busy")
        assert len(await engine.list_commands()) == 1


async def test_a_server_that_ends_tells_its_clients(engine: sessions.Engine) -> None:
    told: dict[str, Any] = {}
    body = {"command": "echo x; sleep 645"}
    async with trio.open_nursery() as nursery:
        async with served(engine, stop_seconds=0.5) as addresses:
            async with over_tcp(addresses) as client:
                made = (await client.post("/superserve/sandboxes", json={"name": "x"})).json()
            headers = {"X-Access-Token": made["access_token"]}

            async def ask(path: str) -> None:
                async with over_tcp(addresses, None, timeout=30) as client:
                    told[path] = (await client.post(path, json=body, headers=headers)).text

            async def spawn() -> None:
                offered = [f"token.{made['access_token']}"]
                async with websocket(port_of(addresses), "/exec/connect", subprotocols=offered) as socket:
                    await socket.send_text(json.dumps(body))
                    told["spawn"] = await socket.rest()
                    assert socket.closed is not None
                    assert socket.closed[0] == 1001

            nursery.start_soon(ask, "/exec")
            nursery.start_soon(ask, "/exec/stream")
            nursery.start_soon(spawn)
            with trio.fail_after(30):
                while len([command for command in await engine.list_commands() if command.size_bytes == 2]) < 3:
                    await trio.sleep(0.02)
    assert json.loads(told["/exec"]) == {
        "stdout": "x\n", "stderr": f"{LAST_WORDS}\n", "exit_code": 137, "truncated": False
    }  # fmt: skip
    last = {"finished": True, "exit_code": 137, "error": LAST_WORDS, "code": "closing"}
    first, end = events_of(told["/exec/stream"])
    assert (first["stdout"], {**end, "timestamp": None}) == ("x\n", {**last, "timestamp": None})
    assert (told["spawn"][0], json.loads(told["spawn"][1])) == (b"\1x\n", last)
    assert [command.state for command in await engine.list_commands()] == ["finished"] * 3


async def test_what_is_closed_behind_its_back_is_told(wire: Wire, engine: sessions.Engine) -> None:
    told: list[str] = []

    async def ask(path: str) -> None:
        told.append((await wire.exec({"command": "echo x; sleep 645"}, path)).text)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "/exec")
        nursery.start_soon(ask, "/exec/stream")
        while len([command for command in await engine.list_commands() if command.size_bytes == 2]) < 2:
            await trio.sleep(0.02)
        for session in await engine.list_sessions():
            await session.close()
    answers = sorted(told, reverse=True)
    assert json.loads(answers[0])["exit_code"] == 137
    assert events_of(answers[1])[-1]["exit_code"] == 137


async def test_a_client_that_reads_slowly_holds_up_nobody(wire: Wire) -> None:
    body = {"command": "seq 2000000; echo end", "timeout_s": 100}
    headers = {"X-Access-Token": wire.sandbox["access_token"]}
    async with wire.bare.stream("POST", "/exec/stream", json=body, headers=headers) as answer, wire.connect() as socket:
        await socket.send_text(json.dumps(body))
        assert (await wire.exec({"command": "echo quick"})).json()["stdout"] == "quick\n"
        text = b"".join([piece async for piece in answer.aiter_bytes()])
        frames = [frame[1:] for frame in await socket.rest() if isinstance(frame, bytes)]
    whole = "".join(f"{number}\n" for number in range(1, 2000001)) + "end\n"
    assert "".join(event.get("stdout", "") for event in events_of(text.decode())) == whole
    assert b"".join(frames) == whole.encode()


async def test_many_streams_at_once_are_exact(wire: Wire) -> None:
    found: dict[int, str] = {}

    async def stream(number: int) -> None:
        events = await wire.events({"command": f"for i in $(seq 3000); do echo {number}-$i; done"})
        assert events.pop()["exit_code"] == 0
        found[number] = "".join(event["stdout"] for event in events)

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(stream, number)
    assert found == {number: "".join(f"{number}-{i}\n" for i in range(1, 3001)) for number in range(8)}
