"""The door on the wire: exact statuses and bodies, the three ways to name a sandbox, and tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio
from served import TOKEN, over_unix, served
from superserve_wire import DATA_HOST, Wire, open_test_wire  # noqa: F401
from websocket_client import Refused

import sessions
from sessions.doors.own_shells import shown_text


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


async def test_commands_are_shown_as_they_were_asked_for(wire: Wire, engine: sessions.Engine) -> None:
    asked: list[dict[str, Any]] = [
        {"command": "echo 'x'  $HOME"},
        {"command": f": {'x' * 200_000}"},
        {"command": "printf", "args": ["%s", "a b"]},
    ]
    for body in asked:
        assert (await wire.exec(body)).json()["exit_code"] == 0
    shown = [shown_text(command.info) for command in await engine.list_commands()]
    assert sorted(shown) == sorted([asked[0]["command"], asked[1]["command"], "printf %s 'a b'"])


async def test_a_long_text_runs_as_a_short_one_does(wire: Wire) -> None:
    text = "readlink /proc/self/fd/9; : '\n'; cat; echo $0 $# ; exit 3"
    found = [(await wire.exec({"command": text + padding})).json() for padding in ("", f" # {'x' * 200_000}")]
    assert found[0] == found[1] == {"stdout": "/bin/sh 0\n", "stderr": "", "exit_code": 3, "truncated": False}


async def test_exec_answers(wire: Wire, tmp_path: Path) -> None:
    answer = await wire.exec({"command": "echo $A; echo e >&2; exit 3", "env": {"A": "ü"}, "new": 1})
    assert answer.json() == {"stdout": "ü\n", "stderr": "e\n", "exit_code": 3, "truncated": False}
    body = {"command": "printf", "args": ["%s-%s|", "$HOME", "a  b", "--", "c;d"]}
    assert (await wire.exec(body)).json()["stdout"] == "$HOME-a  b|---c;d|"
    script = tmp_path / "script"
    script.write_text("#! /no/such/interpreter -x\necho x\n")
    script.chmod(0o755)
    for body, code in (
        ({"command": str(script), "args": []}, 127),
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
                        {"command": "x", "timeout_s": "1"}, {"command": "x", "timeout_s": True}, {"command": "a\0"},
                        {"command": "true", "args": ["\0"]}]  # fmt: skip
    for body in wrong:
        for path in ("/exec", "/exec/stream"):
            refused = await wire.exec(body, path)
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, "bad_request"), body
    token = {"X-Access-Token": wire.sandbox["access_token"]}
    refused = await wire.bare.post("/exec", content=rb'{"command": "\ud800"}', headers=token)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "bad_request")
    assert "the command has a lone surrogate" in refused.text
    assert (await wire.bare.get("/exec", headers={"X-Access-Token": wire.sandbox["access_token"]})).status_code == 405


async def test_a_wrong_token_is_told_what_is_missing(wire: Wire) -> None:
    for headers in ({}, {"X-Access-Token": "wrong"}, {"X-API-Key": TOKEN}):
        answer = await wire.bare.post("/exec", json={"command": "true"}, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
        assert "access token of that sandbox" in answer.json()["error"]["message"]
    error = await wire.http.get("/superserve/sandboxes", headers={"X-API-Key": "wrong"})
    assert "this server asks for its token" in error.json()["error"]["message"]
