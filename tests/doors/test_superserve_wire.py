"""The door on the wire: exact statuses and bodies, the three ways to name a sandbox, tokens, keepalives, and who leaves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any

import httpx
import pytest
import trio
from served import TOKEN, over_tcp, over_unix, port_of, served
from websocket_client import Refused, WebSocketClient, websocket

import sessions
from sessions.server.listening import Addresses

DATA_HOST = "sandbox.superserve.ai"


class Wire:
    """A client of one server, without the server's token for commands."""

    def __init__(self, addresses: Addresses, http: httpx.AsyncClient, bare: httpx.AsyncClient) -> None:
        self.port = port_of(addresses)
        self.http = http
        self.bare = bare
        self.sandbox: dict[str, Any] = {}

    async def ask(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """The JSON of an answer of the control plane."""
        options = {"json": body} if body is not None else {}
        answer = await self.http.request(method, f"/superserve{path}", **options)
        assert answer.status_code == status, (answer.status_code, answer.text)
        return answer.json() if answer.content else None

    async def exec(self, body: Any, path: str = "/exec", **headers: Any) -> httpx.Response:
        token = {"X-Access-Token": self.sandbox["access_token"]}
        return await self.bare.post(path, json=body, headers={"Host": DATA_HOST, **token, **fix(headers)})

    async def events(self, body: Any) -> list[dict[str, Any]]:
        answer = await self.exec(body, "/exec/stream")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        return events_of(answer.text)

    def connect(self, token: str | None = None, **headers: str) -> AbstractAsyncContextManager[WebSocketClient]:
        offered = ["superserve.exec.v1", f"token.{token or self.sandbox['access_token']}"]
        host = headers.pop("Host", None)
        return websocket(self.port, "/exec/connect", list(fix(headers).items()), offered, host)


def fix(headers: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def events_of(text: str) -> list[dict[str, Any]]:
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    assert all(block.startswith("data: ") and block.isascii() for block in blocks)
    return [json.loads(block[6:]) for block in blocks]


@pytest.fixture
async def wire(engine: sessions.Engine) -> AsyncIterator[Wire]:
    async with served(engine) as addresses:
        async with over_tcp(addresses, None, timeout=30) as bare, over_tcp(addresses, None) as http:
            http.headers["X-API-Key"] = TOKEN
            wire = Wire(addresses, http, bare)
            wire.sandbox = await wire.ask("POST", "/sandboxes", {"name": "demo"}, 201)
            yield wire


async def test_a_sandbox_has_all_that_is_required(wire: Wire) -> None:
    asked = {"name": "full", "metadata": {"a": "b"}, "env_vars": {"X": "1"}, "timeout_seconds": 60,
             "auto_delete_seconds": 0, "network": {"allow_out": None}, "preview_access": "private", "from_template": "t",
             "unknown": 1}  # fmt: skip
    made = await wire.ask("POST", "//sandboxes", asked, 201)
    assert set(made) == {
        "id", "name", "status", "created_at", "metadata", "access_token", "timeout_seconds", "auto_delete_seconds"
    }  # fmt: skip
    assert (made["name"], made["status"], made["metadata"]) == ("full", "active", {"a": "b"})
    shown = {name: value for name, value in made.items() if name != "access_token"}
    assert await wire.ask("GET", f"/sandboxes/{made['id']}") == shown
    assert shown in await wire.ask("GET", "/sandboxes")
    for verb in ("activate", "resume"):
        assert await wire.ask("POST", f"/sandboxes/{made['id']}/{verb}") == made
    assert await wire.ask("DELETE", f"/sandboxes/{made['id']}", status=204) is None
    for method, path in (("GET", ""), ("DELETE", ""), ("PATCH", ""), ("POST", "/activate"), ("POST", "/pause")):
        error = await wire.ask(method, f"/sandboxes/{made['id']}{path}", {}, 404)
        assert error["error"]["code"] == "not_found"


async def test_refusals_of_the_control_plane(wire: Wire) -> None:
    for body in (
        {"name": 1},
        {"metadata": {"a": 1}},
        {"timeout_seconds": 0},
        {"timeout_seconds": 1.5},
        {"env_vars": {"=": ""}},
        [],
    ):
        assert (await wire.ask("POST", "/sandboxes", body, 400))["error"]["code"] == "bad_request"
    await wire.ask("GET", "/sandboxes?limit=x", status=400)
    await wire.ask("PUT", "/sandboxes", {}, 405)
    await wire.ask("GET", "/nothing", status=404)
    here = f"/sandboxes/{wire.sandbox['id']}"
    for path in ("/templates", "/snapshots", "/snapshots/x", f"{here}/preview-ports/80/token", f"{here}/network"):
        await wire.ask("GET", path, status=501)
    await wire.ask("GET", "/sandboxes/x/preview-ports/80/token", status=404)
    answer = await wire.exec({}, "/superserve.boxd.v1.DesktopService/Screenshot")
    assert (answer.status_code, answer.json()["error"]["code"]) == (501, "not_implemented")
    answer = await wire.bare.get("/superserve/sandboxes", headers={"X-API-Key": wire.sandbox["access_token"]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")


async def test_a_sandbox_is_named_in_three_ways(wire: Wire) -> None:
    other = await wire.ask("POST", "/sandboxes", {"name": "other"}, 201)
    own, own_id = wire.sandbox["access_token"], wire.sandbox["id"]
    body = {"command": "pwd"}
    ways: list[dict[str, str]] = [
        {"X_Superserve_Sandbox_Id": own_id},
        {"X_Superserve_Sandbox_Id": own_id, "Host": f"boxd-{other['id']}.{DATA_HOST}"},
        {"Host": f"boxd-{own_id}.{DATA_HOST}"},
        {"Host": f"boxd-{own_id}.usw-{DATA_HOST}"},
        {},
    ]
    for headers in ways:
        answer = await wire.exec(body, **headers)
        assert answer.json()["stdout"].strip().endswith(own_id)
        async with wire.connect(**headers) as socket:
            assert socket.subprotocol == "superserve.exec.v1"
            await socket.send_text(json.dumps(body))
            assert (
                b"".join(found[1:] for found in await socket.rest() if isinstance(found, bytes))
                .strip()
                .endswith(own_id.encode())
            )
    wrong: list[dict[str, Any]] = [
        {"X_Superserve_Sandbox_Id": other["id"]},
        {"X_Superserve_Sandbox_Id": "nobody"},
        {"Host": f"boxd-{other['id']}.{DATA_HOST}"},
        {"X_Access_Token": other["access_token"], "X_Superserve_Sandbox_Id": own_id},
        {"X_Access_Token": f"{own_id}.{other['access_token'].partition('.')[2]}"},
        {"X_Access_Token": TOKEN, "X_Superserve_Sandbox_Id": own_id, "Authorization": f"Bearer {TOKEN}"},
        {"X_Access_Token": own[:-1]},
        {"X_Access_Token": b"\xff"},
        {"X_Access_Token": ""},
    ]
    for headers in wrong:
        for path, status in (("/exec", 401), ("/exec/stream", 401), ("/exec/nothing", 404), ("/files?path=x", 501)):
            answer = await wire.exec(body, path, **headers)
            assert answer.status_code == (status if "Authorization" in headers else 401), (headers, path, answer.text)
        token = headers.pop("X_Access_Token", own)
        if token and isinstance(token, str):
            with pytest.raises(Refused) as refused:
                async with wire.connect(token, **headers):
                    pass
            assert refused.value.status == 401


async def test_the_token_opens_nothing_else(wire: Wire) -> None:
    headers = {"X-Access-Token": wire.sandbox["access_token"]}
    for path in ("/superserve/sandboxes", "/v1/sessions", "/execute", "/server/superserve-front"):
        assert (await wire.bare.get(path, headers=headers)).status_code == 401
    answer = await wire.bare.post("/exec", json={"command": "true"}, headers={**headers, "Host": "evil.example"})
    assert answer.status_code == 403


async def test_who_comes_by_the_unix_socket_needs_the_token_too(engine: sessions.Engine) -> None:
    async with served(engine) as addresses, over_unix(addresses) as client:
        made = (await client.post("/superserve/sandboxes", json={"name": "x"})).json()
        named = {"X-Superserve-Sandbox-Id": made["id"]}
        assert (await client.post("/exec", json={"command": "true"}, headers=named)).status_code == 401
        named["X-Access-Token"] = made["access_token"]
        assert (await client.post("/exec", json={"command": "echo x"}, headers=named)).json()["stdout"] == "x\n"


async def test_a_paused_sandbox_starts_nothing(wire: Wire, engine: sessions.Engine) -> None:
    path = f"/sandboxes/{wire.sandbox['id']}"
    assert (await wire.ask("POST", f"{path}/pause")) == {"status": "paused"}
    for where in ("/exec", "/exec/stream"):
        answer = await wire.exec({"command": "true"}, where)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "sandbox_unavailable")
    with pytest.raises(Refused) as refused:
        async with wire.connect():
            pass
    assert refused.value.status == 503
    assert await engine.list_commands() == []
    await wire.ask("POST", f"{path}/activate")
    assert (await wire.exec({"command": "echo x"})).json()["stdout"] == "x\n"


async def test_sandboxes_pause_and_die_by_themselves(wire: Wire) -> None:
    made = await wire.ask("POST", "/sandboxes", {"name": "t", "timeout_seconds": 1}, 201)
    path = f"/sandboxes/{made['id']}"
    with trio.fail_after(10):
        while (await wire.ask("GET", path))["status"] != "paused":
            await trio.sleep(0.1)
        await wire.ask("PATCH", path, {"auto_delete_seconds": 0})
        while (await wire.http.get(f"/superserve{path}")).status_code != 404:
            await trio.sleep(0.1)


async def test_a_text_is_a_process_of_its_own(wire: Wire) -> None:
    first, second = [(await wire.exec({"command": "echo $$"})).json()["stdout"] for _ in range(2)]
    assert first != second
    assert (await wire.exec({"command": "kill -9 $$"})).json()["exit_code"] == 137
    assert (await wire.exec({"command": "echo alive"})).json()["stdout"] == "alive\n"


async def test_exec_answers(wire: Wire) -> None:
    answer = await wire.exec({"command": "echo $A; echo e >&2; exit 3", "env": {"A": "ü"}, "new": 1})
    assert answer.json() == {"stdout": "ü\n", "stderr": "e\n", "exit_code": 3, "truncated": False}
    body = {"command": "printf", "args": ["%s-%s|", "$HOME", "a  b", "--", "c;d"]}
    assert (await wire.exec(body)).json()["stdout"] == "$HOME-a  b|---c;d|"
    for body, code in (
        ({"command": "/no/such/binary", "args": []}, 127),
        ({"command": "no-such-program", "args": ["x"]}, 127),
        ({"command": "/etc/passwd", "args": []}, 126),
        ({"command": "/", "args": []}, 126),
        ({"command": "true", "working_dir": "/nowhere"}, 127),
    ):
        found = (await wire.exec(body)).json()
        assert (found["exit_code"], found["stdout"], found["truncated"]) == (code, "", False)
        assert found["stderr"].endswith("\n")
        (last,) = await wire.events(body)
        assert (last["finished"], last["exit_code"], last["code"]) == (True, code, "exec_failed")
        assert last["error"] + "\n" == found["stderr"]
    wrong: list[Any] = [{}, {"command": ""}, {"command": 1}, {"command": "x", "args": "y"}, {"command": "x", "env": {"A": 1}}, [],
                        {"command": "x", "timeout_s": "1"}, {"command": "x", "timeout_s": True}, {"command": "a\0"}]  # fmt: skip
    for body in wrong:
        for path in ("/exec", "/exec/stream"):
            refused = await wire.exec(body, path)
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, "bad_request"), body
    assert (await wire.bare.get("/exec", headers={"X-Access-Token": wire.sandbox["access_token"]})).status_code == 405


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
    for path in ("/exec", "/exec/stream"):
        with trio.move_on_after(0.5):
            await wire.exec({"command": "trap '' TERM; sleep 642 & sleep 643; sleep 644"}, path)
    with trio.fail_after(10):
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


async def test_a_wrong_token_is_told_what_is_missing(wire: Wire) -> None:
    for headers in ({}, {"X-Access-Token": "wrong"}, {"X-API-Key": TOKEN}):
        answer = await wire.bare.post("/exec", json={"command": "true"}, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
        assert "access token of that sandbox" in answer.json()["error"]["message"]
    error = await wire.http.get("/superserve/sandboxes", headers={"X-API-Key": "wrong"})
    assert "this server asks for its token" in error.json()["error"]["message"]


async def test_a_server_that_ends_tells_its_clients(engine: sessions.Engine) -> None:
    told: list[Any] = []
    async with served(engine) as addresses, trio.open_nursery() as nursery:
        async with over_tcp(addresses) as client:
            made = (await client.post("/superserve/sandboxes", json={"name": "x"})).json()

        async def ask(path: str) -> None:
            headers = {"X-Access-Token": made["access_token"]}
            async with over_tcp(addresses, None, timeout=30) as client:
                told.append((await client.post(path, json={"command": "echo x; sleep 645"}, headers=headers)).text)

        nursery.start_soon(ask, "/exec")
        nursery.start_soon(ask, "/exec/stream")
        while len([command for command in await engine.list_commands() if command.size_bytes == 2]) < 2:
            await trio.sleep(0.02)
        for session in await engine.list_sessions():
            await session.close()
    answers = sorted(told, reverse=True)
    assert json.loads(answers[0])["exit_code"] == 137
    assert events_of(answers[1])[-1]["exit_code"] == 137
