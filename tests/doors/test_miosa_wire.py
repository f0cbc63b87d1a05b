"""The Miosa door on the wire: tickets, both dialects of the WebSocket, errors, and who is let in."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import trio
from served import TOKEN, over_tcp, port_of, served
from websocket_client import Refused, websocket

import sessions

API = "/miosa/api/v1"


class Wire:
    """A client of one server, one computer and one sandbox."""

    def __init__(self, http: httpx.AsyncClient, port: int, computer: str, sandbox: str) -> None:
        self.http = http
        self.port = port
        self.computer = f"{API}/computers/{computer}"
        self.sandbox = f"{API}/sandboxes/{sandbox}"

    async def ask(self, method: str, path: str, body: Any = None, status: int = 200, **options: Any) -> Any:
        """The JSON of an answer that must have this status."""
        answer = await self.http.request(method, path, **({"json": body} if body is not None else {}), **options)
        assert answer.status_code == status, (answer.status_code, answer.text)
        assert answer.headers["content-type"] == "application/json"
        return answer.json()

    async def start(self, command: str, **fields: Any) -> str:
        """The URL that the ticket is good for."""
        told = await self.ask("POST", f"{self.computer}/exec/stream", {"command": command, **fields}, 202)
        assert set(told) == {"ticket", "expires_at", "stream_url"}
        assert 55 < told["expires_at"] - time.time() <= 60
        assert told["stream_url"] == f"{self.computer}/exec/stream/events?ticket={told['ticket']}"
        return str(told["stream_url"])

    async def events(
        self, url: str, token: bool = False, method: str = "GET", body: Any = None
    ) -> list[tuple[str, Any]]:
        """All of a stream that must end well."""
        headers = {"Accept": "text/event-stream", **({} if token else {"Authorization": ""})}
        async with self.http.stream(method, url, headers=headers, json=body) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            text = (await answer.aread()).decode("ascii")
        assert text.endswith("\n\n")
        frames = [frame.split("\n") for frame in text.split("\n\n") if frame and not frame.startswith(":")]
        return [(event.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for event, data in frames]

    def spawn(self, query: str, *subprotocols: str, token: str | None = TOKEN) -> Any:
        headers = [("Authorization", f"Bearer {token}")] if token else []
        return websocket(self.port, f"{self.computer}/exec/stream?{query}", headers, subprotocols)


@pytest.fixture
async def wire(engine: sessions.Engine) -> AsyncIterator[Wire]:
    async with served(engine) as addresses, over_tcp(addresses, timeout=60) as http:
        computer = (await http.post(f"{API}/computers", json={"name": "c"})).json()["id"]
        sandbox = (await http.post(f"{API}/sandboxes", json={})).json()["id"]
        yield Wire(http, port_of(addresses), computer, sandbox)


async def test_a_ticket_is_read_from_the_beginning(wire: Wire, engine: sessions.Engine) -> None:
    url = await wire.start("echo one; echo two >&2; printf 'three \\xe2\\x80\\xa8'; exit 5")
    (command,) = await engine.list_commands()
    await command.wait()  # all is written before anybody looks
    events = await wire.events(url)
    assert [event for event, _ in events] == ["output", "output", "output", "exit"]
    output = {(data["stream"], data["line"]) for _, data in events[:-1]}
    assert output == {("stdout", "one\n"), ("stderr", "two\n"), ("stdout", "three \u2028")}
    assert events[-1][1]["exit_code"] == 5
    assert isinstance(events[-1][1]["duration_ms"], int)


async def test_a_ticket_is_good_once_and_for_its_computer(wire: Wire) -> None:
    url = await wire.start("echo hi")
    other = (await wire.ask("POST", f"{API}/computers", {"name": "d"}, 201))["id"]
    ticket = url.partition("?")[2]
    stranger = {"Authorization": ""}
    elsewhere = f"{API}/computers/{other}/exec/stream/events?{ticket}"
    await wire.ask("GET", elsewhere, status=401, headers=stranger)
    await wire.ask("POST", url, {}, status=401, headers=stranger)
    await wire.ask("GET", f"{wire.computer}?{ticket}", status=401, headers=stranger)
    assert len(await wire.events(url)) == 2
    for headers in (stranger, {}):  # the server's token is no ticket
        error = await wire.ask("GET", url, status=401, headers=headers)
        assert error["error"]["code"] in ("UNAUTHORIZED", "INVALID_TICKET")


async def test_a_ticket_runs_out(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    url = await wire.start("echo hi")
    monkeypatch.setattr("sessions.doors.miosa.streams.TICKETS._clock", lambda: time.time() + 61)
    await wire.ask("GET", url, status=401, headers={"Authorization": ""})


async def test_a_command_of_a_ticket_times_out(wire: Wire) -> None:
    began = trio.current_time()
    events = await wire.events(await wire.start("printf begun; sleep 600", timeout=1))
    assert events == [("output", {"line": "begun", "stream": "stdout"}), ("timeout", {"timeout_seconds": 1})]
    assert trio.current_time() - began < 20
    await wire.ask("POST", f"{wire.computer}/exec/stream", {"command": "true", "timeout": 301}, 422)


async def test_a_stopped_computer_starts_nothing(wire: Wire) -> None:
    await wire.ask("POST", f"{wire.computer}/stop")
    for path in ("exec", "exec/stream", "exec/python"):
        error = await wire.ask("POST", f"{wire.computer}/{path}", {"command": "true", "code": ""}, 409)
        assert error["error"]["code"] == "COMPUTER_NOT_RUNNING"
    with pytest.raises(Refused) as refused:
        async with wire.spawn("command=true"):
            pass
    assert refused.value.status == 409


async def test_the_binary_dialect(wire: Wire) -> None:
    query = "command=sh&args=-c&args=" + quote("cat; echo $A,$B >&2; exit 7") + "&env=A%3D1%3D2&env=B%3Dx%20y&cwd=/usr"
    async with wire.spawn(query, "miosa-exec-v1") as socket:
        assert socket.subprotocol == "miosa-exec-v1"
        await socket.send(b"\x00in \xff\n")
        assert await socket.receive() == b"\x01in \xff\n"
        await socket.send(b"\x09what is this?")
        await socket.send(b"\x05\x00\x28\x00\x64")  # a size, which has no terminal
        # There is no message for the end of the input, so the program must be told in another way.
    async with wire.spawn(query.replace("cat", "true"), "miosa-exec-v1") as socket:
        found = await socket.rest()
    assert found == [b"\x021=2,x y\n", b"\x03" + struct.pack(">I", 7)]
    assert socket.closed == (1000, "")


async def test_the_binary_dialect_on_a_terminal(wire: Wire) -> None:
    query = "tty=true&rows=30&cols=90&command=" + quote("stty size; read x; stty size; exit 300")
    async with wire.spawn(query, "miosa-exec-v1") as socket:
        assert await socket.receive() == b"\x0130 90\r\n"
        await socket.send(b"\x05" + struct.pack(">HH", 40, 100))
        await socket.send(b"\x00go\n")
        found = await socket.rest()
    assert b"40 100" in b"".join(found)
    assert found[-1] == b"\x03" + struct.pack(">I", 300 % 256)


async def test_a_browser_brings_the_token_as_a_subprotocol(wire: Wire) -> None:
    async with wire.spawn("command=echo+hi", "miosa-exec-v1", f"bearer.{TOKEN}", token=None) as socket:
        assert socket.subprotocol == "miosa-exec-v1"
        assert await socket.rest() == [b"\x01hi\n", b"\x03\0\0\0\0"]
    for offered in (["miosa-exec-v1", "bearer.wrong"], ["miosa-exec-v1"], [TOKEN]):
        with pytest.raises(Refused) as refused:
            async with wire.spawn("command=true", *offered, token=None):
                pass
        assert refused.value.status == 401


async def test_the_json_dialect(wire: Wire) -> None:
    async with wire.spawn("command=" + quote("printf '\\xff\\xe2\\x82'; echo é >&2; exit 3")) as socket:
        frames = [json.loads(frame) for frame in await socket.rest()]
    assert frames[-1] == {"type": "exit", "code": 3}
    texts = {name: "".join(f["data"] for f in frames[:-1] if f["type"] == name) for name in ("stdout", "stderr")}
    assert texts == {"stdout": "\ufffd\ufffd", "stderr": "é\n"}
    for query in ("command=", "", "command=true&rows=x", "command=true&env=%7B", "command=true&env=%5B%5D"):
        with pytest.raises(Refused) as refused:
            async with wire.spawn(query):
                pass
        assert refused.value.status == 400


async def test_a_client_that_vanishes_leaves_nothing(wire: Wire, engine: sessions.Engine) -> None:
    async with wire.spawn("command=" + quote("trap '' TERM; sleep 600 & echo up; sleep 600")) as socket:
        assert json.loads(await socket.receive())["data"] == "up\n"
    (command,) = await engine.list_commands()
    with trio.fail_after(20):
        await command.wait()
    assert (command.reason, command.exit_code) == ("killed", 137)


async def test_a_blocking_call_is_kept_alive(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessions.doors.miosa.run.SILENCE_SECONDS", 0.05)
    answer = await wire.http.post(f"{wire.sandbox}/exec", json={"command": "sleep 0.5; echo hi"})
    assert answer.status_code == 200
    assert len(answer.text) - len(answer.text.lstrip()) >= 3
    assert (answer.json()["stdout"], answer.json()["exit_code"]) == ("hi\n", 0)


async def test_a_silent_stream_is_kept_alive(engine: sessions.Engine) -> None:
    async with served(engine, heartbeat_seconds=0.05) as addresses, over_tcp(addresses, timeout=60) as http:
        sandbox = (await http.post(f"{API}/sandboxes", json={})).json()["id"]
        path = f"{API}/sandboxes/{sandbox}/exec/stream"
        text = (await http.post(path, json={"command": "sleep 0.5; echo hi"})).text
    assert text.count(": \n\n") >= 3
    assert text.index(": \n\n") < text.index("event: stdout\n")


async def test_a_server_that_ends_breaks_streams_off(engine: sessions.Engine) -> None:
    """But where the document has a word for it, it is told."""
    begun = trio.Event()
    broken: list[str] = []

    async def read(http: httpx.AsyncClient, path: str) -> None:
        try:
            async with http.stream("POST", path, json={"command": "echo up; sleep 600"}) as answer:
                async for text in answer.aiter_text():
                    if "up" in text:
                        begun.set()
        except httpx.RemoteProtocolError:
            broken.append(path)

    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(timeout=60, trust_env=False, headers=headers) as http, trio.open_nursery() as nursery:
        async with served(engine, stop_seconds=0.2) as addresses:
            base = f"{addresses.urls[0]}{API}"
            sandbox = (await http.post(f"{base}/sandboxes", json={})).json()["id"]
            path = f"{base}/sandboxes/{sandbox}/exec/stream"
            nursery.start_soon(read, http, path)
            await begun.wait()
    assert broken == [path]


async def test_errors_are_what_clients_read(wire: Wire) -> None:
    error = await wire.ask("GET", f"{API}/computers/none", status=404)
    assert set(error) == {"error", "request_id"}
    assert set(error["error"]) == {"code", "message", "retryable"}
    await wire.ask("GET", wire.sandbox.replace("sandboxes", "computers"), status=404)
    await wire.ask("PUT", wire.computer, status=405)
    await wire.ask("GET", f"{API}/nothing", status=404)
    await wire.ask("GET", "/miosa/computers", status=404)
    for path in ("files", "snapshots", "desktop/screenshot", "expose"):
        assert (await wire.ask("GET", f"{wire.computer}/{path}", status=501))["error"]["code"] == "NOT_IMPLEMENTED"
    for body in (
        "{",
        "[]",
        '{"command": 1}',
        "{}",
        '{"command": "true", "timeout": "1"}',
        '{"command": "x", "timeout": 0}',
    ):
        answer = await wire.http.post(f"{wire.computer}/exec", content=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "VALIDATION_ERROR")
    error = await wire.ask("GET", f"{API}/computers", status=401, headers={"Authorization": "Bearer wrong"})
    assert error["error"]["code"] == "UNAUTHORIZED"
    await wire.ask("POST", f"{API}/computers", {"name": "x", "setup_file": "y"}, 501)
    await wire.ask("POST", f"{wire.computer}/start", {"env": {"A": "b"}}, 501)


async def test_too_many_streams(engine: sessions.Engine) -> None:
    """Nothing is started for one that is too many, and no ticket is used up."""
    async with served(engine, followers=1) as addresses, over_tcp(addresses, timeout=60) as http:
        computer = (await http.post(f"{API}/computers", json={"name": "c"})).json()["id"]
        sandbox = (await http.post(f"{API}/sandboxes", json={})).json()["id"]
        path = f"{API}/computers/{computer}/exec/stream"
        ticket = (await http.post(path, json={"command": "echo hi"})).json()["stream_url"]
        headers = [("Authorization", f"Bearer {TOKEN}")]
        async with websocket(port_of(addresses), f"{path}?command=cat", headers):
            answers = (
                await http.post(f"{API}/sandboxes/{sandbox}/exec/stream", json={"command": "true"}),
                await http.get(ticket),
            )
            for error in answers:
                assert (error.status_code, error.json()["error"]["code"]) == (429, "RATE_LIMITED")
                assert error.json()["retry_after"] == 1
            with pytest.raises(Refused) as refused:
                async with websocket(port_of(addresses), f"{path}?command=cat", headers):
                    pass
            assert refused.value.status == 429
        assert [command.text for command in await engine.list_commands()] == ["echo hi", "cat"]
        with trio.fail_after(20):
            while (told := await http.get(ticket)).status_code == 429:
                await trio.sleep(0.02)
        assert "hi" in told.text


async def test_machines_outlive_the_server(engine: sessions.Engine) -> None:
    async with served(engine) as addresses, over_tcp(addresses, timeout=60) as http:
        made = (await http.post(f"{API}/computers", json={"name": "kept"})).json()
        service = {"name": "s", "command": "echo hi"}
        await http.post(f"{API}/computers/{made['id']}/services", json=service)
    async with served(engine) as addresses, over_tcp(addresses, timeout=60) as http:
        assert (await http.get(f"{API}/computers/{made['id']}")).json()["name"] == "kept"
        found = (await http.get(f"{API}/computers/{made['id']}/services")).json()
        assert [one["name"] for one in found] == ["s"]
