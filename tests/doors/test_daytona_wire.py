"""The door on the wire: exact statuses and bodies, odd paths, errors, and who is let in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trio
from conftest import leftovers
from daytona_wire import SDK, Wire, open_test_wire  # noqa: F401
from websocket_client import Refused

import sessions
from sessions.doors.daytona.errors import error_answer, not_here
from sessions.doors.fields import WrongBody
from sessions.doors.open_streams import ServerCloses
from sessions.doors.requests import MethodNotAllowed
from sessions.server.limits import ServerLimits

API = "/daytona/api"
REQUIRED = set(
    "id organizationId name user env labels public networkBlockAll kvm target cpu gpu memory disk toolboxProxyUrl state".split()
)


async def test_a_sandbox_has_all_that_is_required(wire: Wire) -> None:
    asked = {"name": "full", "snapshot": "snap", "user": "bob", "env": {"A": "1"}, "labels": {"x": "y"}, "public": True,
             "networkBlockAll": True, "target": "eu", "autoStopInterval": 0, "autoArchiveInterval": 60,
             "autoDeleteInterval": 30, "ttlMinutes": 5, "volumes": [], "unknown": 1}  # fmt: skip
    made = await wire.ask("POST", f"{API}/sandbox", asked)
    assert set(made) >= REQUIRED
    assert [type(made[name]) for name in ("cpu", "gpu", "memory", "disk")] == [int] * 4
    kept = ("name", "snapshot", "user", "env", "labels", "public", "target", "autoStopInterval", "autoDeleteInterval")
    assert {name: made[name] for name in kept} == {name: asked[name] for name in kept}
    assert (made["state"], made["networkBlockAll"]) == ("started", False)
    assert made["toolboxProxyUrl"] == str(wire.http.base_url).rstrip("/") + "/daytona/toolbox"
    assert await wire.ask("GET", f"{API}/sandbox/full") == made
    conflict = await wire.ask("POST", f"{API}/sandbox", {"name": "full"}, 409)
    assert (conflict["code"], conflict["source"]) == ("CONFLICT", "DAYTONA_API")
    answer = await wire.http.post(f"{API}/sandbox", content=r'{"name": "\ud800"}', headers=SDK)
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")
    ephemeral = await wire.ask("POST", f"{API}/sandbox", {"autoDeleteInterval": 0})
    assert ephemeral["autoDeleteInterval"] == 0


async def test_sandboxes_live_and_die(wire: Wire, engine: sessions.Engine) -> None:
    made = await wire.ask("POST", f"{API}/sandbox", {"labels": {"a": "b"}})
    path = f"{API}/sandbox/{made['id']}"
    assert (await wire.ask("POST", f"{path}/stop?force=false"))["state"] == "stopped"
    assert (await wire.ask("POST", f"{path}/stop"))["state"] == "stopped"
    assert (await wire.ask("POST", f"{path}/start"))["state"] == "started"
    assert (await wire.ask("POST", f"{path}/pause"))["state"] == "paused"
    assert (await wire.ask("POST", f"{path}/start"))["state"] == "started"
    assert await wire.ask("PUT", f"{path}/labels", {"labels": {"c": "d"}}) == {"labels": {"c": "d"}}
    assert (await wire.ask("GET", f"{path}/toolbox-proxy-url"))["url"].endswith("/daytona/toolbox")
    for setting, name in (("autostop", "autoStopInterval"), ("autodelete", "autoDeleteInterval")):
        assert (await wire.ask("POST", f"{path}/{setting}/5"))[name] == 5
    assert (await wire.ask("POST", f"{path}/public/true"))["public"] is True
    await wire.ask("POST", f"{path}/last-activity", status=201)
    await wire.ask("POST", f"{path}/autostop/soon", status=400)
    await wire.ask("POST", f"/daytona/toolbox/{made['id']}/process/session", {"sessionId": "x"}, 201)
    (session,) = await engine.list_sessions(labels={"space": made["id"]})
    assert (await wire.ask("DELETE", path))["state"] == "destroyed"
    assert leftovers({session.id}) == []
    for method in ("GET", "DELETE"):
        assert (await wire.ask(method, path, status=404))["code"] == "NOT_FOUND"


async def test_sandboxes_are_listed_by_pages(wire: Wire) -> None:
    for name in ("a-one", "a-two", "a-three"):
        await wire.ask("POST", f"{API}/sandbox", {"name": name, "labels": {"t": "tag"}})
    found, cursor = [], ""
    while cursor is not None:
        page = await wire.ask("GET", f"{API}/sandbox?limit=2&name=A-&states=started&states=stopped&cursor={cursor}")
        found += [item["name"] for item in page["items"]]
        cursor = page["nextCursor"]
    assert found == ["a-one", "a-two", "a-three"]
    assert len((await wire.ask("GET", f"{API}/sandbox?labels=%7B%22t%22%3A%20%22tag%22%7D"))["items"]) == 3
    assert (await wire.ask("GET", f"{API}/sandbox?states=stopped"))["items"] == []
    for query in ("labels=nonsense", "limit=x", "labels=%7B%22a%22%3A%22%5Cud800%22%7D"):
        await wire.ask("GET", f"{API}/sandbox?{query}", status=400)


async def listed(wire: Wire, query: str, status: int = 200) -> Any:
    found = await wire.ask("GET", f"{API}/sandbox?name=n-&{query}", status=status)
    return [item["name"].removeprefix("n-") for item in found["items"]] if status == 200 else found


async def test_lists_are_filtered_by_all_that_is_asked(wire: Wire) -> None:
    """A program may delete all that is on one."""
    for name, facts in (
        ("c", {"snapshot": "snap", "cpu": 4}),
        ("a", {"public": True, "target": "eu", "cpu": 2}),
        ("b", {"cpu": 3}),
    ):
        made = await wire.ask("POST", f"{API}/sandbox", {"name": f"n-{name}", **facts})
    assert await listed(wire, "snapshots=snap&snapshots=other") == ["c"]
    assert await listed(wire, "regionIds=eu") == ["a"]
    assert await listed(wire, "isPublic=True") == ["a"]
    assert await listed(wire, "isPublic=false") == ["c", "b"]
    assert await listed(wire, "isRecoverable=true") == []
    assert await listed(wire, "minCpu=3&maxCpu=3") == ["b"]
    assert await listed(wire, f"id={made['id'][:20].upper()}") == ["b"]
    assert await listed(wire, "createdAtBefore=2001-01-01T00:00:00.000000%2B0000") == []
    assert await listed(wire, "createdAtAfter=2001-01-01T00:00:00Z") == ["c", "a", "b"]
    assert await listed(wire, "sort=name") == ["a", "b", "c"]
    assert await listed(wire, "sort=cpu&order=desc") == ["c", "b", "a"]
    for query in ("createdAtBefore=yesterday", "cursor=nonsense", "cursor=%5B1%2C%22x%22%5D&sort=name"):
        await listed(wire, query, 400)
    for query in (
        "lastEventBefore=2001-01-01T00:00:00Z",
        "autoDestroyAtAfter=2001-01-01T00:00:00Z",
        "sort=lastActivityAt",
    ):
        assert "are not there" in (await listed(wire, query, 501))["message"]


async def test_lists_in_another_order_have_pages(wire: Wire) -> None:
    for name in ("b", "c", "a"):
        await wire.ask("POST", f"{API}/sandbox", {"name": f"n-{name}"})
    found, cursor = [], ""
    while cursor is not None:
        query = f"?name=n-&sort=name&order=desc&limit=1&cursor={quote(cursor)}"
        page = await wire.ask("GET", f"{API}/sandbox{query}")
        found += [item["name"] for item in page["items"]]
        cursor = page["nextCursor"]
    assert found == ["n-c", "n-b", "n-a"]


async def test_timers_are_honoured(wire: Wire, engine: sessions.Engine) -> None:
    made = await wire.ask("POST", f"{API}/sandbox", {"autoDeleteInterval": 0})
    path = f"{API}/sandbox/{made['id']}"
    await wire.ask("POST", f"{path}/stop")
    with trio.fail_after(20):
        while (Path(engine.root) / "spaces" / made["id"]).exists():
            await trio.sleep(0.1)
    await wire.ask("GET", path, status=404)


@pytest.mark.parametrize("path", ["/daytona/api//sandbox", "/daytona/sandbox", "/daytona/api/sandbox/"])
async def test_paths_are_read_with_tolerance(wire: Wire, path: str) -> None:
    assert [item["id"] for item in (await wire.ask("GET", path))["items"]] == [wire.sandbox]


async def test_ids_are_decoded_after_the_path_was_split(wire: Wire) -> None:
    path = f"{wire.toolbox}/process/session"
    await wire.ask("POST", path, {"sessionId": "a b/ü?%"}, 201)
    assert (await wire.ask("GET", f"{path}/a%20b%2F%C3%BC%3F%25"))["sessionId"] == "a b/ü?%"
    await wire.ask("GET", f"{path}/a%20b/%C3%BC%3F%25", status=404)


async def test_errors_say_whose_they_are(wire: Wire) -> None:
    error = await wire.ask("GET", f"{wire.toolbox}/process/session/nobody", status=404)
    assert set(error) == {"statusCode", "message", "code", "source", "timestamp", "path", "method"}
    assert (error["statusCode"], error["source"]) == (404, "DAYTONA_DAEMON")
    assert (error["path"], error["method"]) == ("/process/session/nobody", "GET")
    assert (await wire.ask("GET", "/daytona/toolbox/nobody/process/session", status=404))["source"] == "DAYTONA_DAEMON"
    assert (await wire.ask("GET", f"{API}/nothing", status=404))["source"] == "DAYTONA_API"
    await wire.ask("PATCH", f"{API}/sandbox", status=405)
    for body in ("{", "[]", '{"sessionId": 1}', "{}"):
        answer = await wire.http.post(f"{wire.toolbox}/process/session", content=body, headers=SDK)
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST_BODY")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (WrongBody("x"), 400, "INVALID_REQUEST_BODY"),
        (sessions.Invalid("x"), 400, "BAD_REQUEST"),
        (sessions.NotFound("x"), 404, "NOT_FOUND"),
        (MethodNotAllowed("x", "GET"), 405, "METHOD_NOT_ALLOWED"),
        (sessions.TimedOut("x"), 408, "REQUEST_TIMEOUT"),
        (sessions.Conflict("x"), 409, "CONFLICT"),
        (sessions.Closed("x"), 410, "GONE"),
        (sessions.Expired("x"), 410, "GONE"),
        (sessions.Busy("x"), 429, "TOO_MANY_REQUESTS"),
        (sessions.SessionsError("x"), 500, "INTERNAL_SERVER_ERROR"),
        (not_here("files"), 501, "NOT_IMPLEMENTED"),
        (sessions.Broken("x"), 503, "SERVICE_UNAVAILABLE"),
        (ServerCloses("x"), 503, "SERVICE_UNAVAILABLE"),
    ],
)
def test_the_status_chooses_the_exception(error: sessions.SessionsError, status: int, code: str) -> None:
    scope = {"type": "http", "method": "PUT"}
    answer = error_answer(scope, "DAYTONA_API", "/sandbox", error)
    told = json.loads(bytes(answer.body))
    assert (answer.status_code, told["statusCode"], told["code"]) == (status, status, code)
    assert (told["source"], told["path"], told["method"]) == ("DAYTONA_API", "/sandbox", "PUT")
    assert told["message"] == str(error)
    assert told["timestamp"].endswith("Z")
    assert answer.headers["content-type"] == "application/json"
    assert "retry-after" not in answer.headers  # at which the blocking client asks again, for seconds


async def test_a_body_of_a_get_is_not_read(wire: Wire) -> None:
    await wire.ask("GET", f"{wire.toolbox}/process/session", **{"Content-Type": "application/json"})


@pytest.mark.parametrize(
    "path",
    [
        "{toolbox}/files",
        "{toolbox}/git/status",
        "{toolbox}/process/interpreter/context",
        "{toolbox}/env",
        "{toolbox}/system/metrics",
        "/daytona/api/snapshots",
        "/daytona/api/config",
        "/daytona/api/sandbox/ssh-access/validate",
        "/daytona/api/sandbox/{sandbox}/recover",
        "/daytona/api/sandbox/{sandbox}/telemetry/metrics",
        "/daytona/api/sandbox/{sandbox}/signing-key",
        "/daytona/api/sandbox/{sandbox}/signing-key/rotate",
        "/daytona/api/sandbox/{sandbox}/ancestors",
    ],
)
async def test_what_is_not_there_is_said(wire: Wire, path: str) -> None:
    error = await wire.ask("GET", path.format(toolbox=wire.toolbox, sandbox=wire.sandbox), status=501)
    assert error["code"] == "NOT_IMPLEMENTED"
    assert "are not there" in error["message"]


async def test_nothing_is_below_a_sandbox_that_is_not_there(wire: Wire) -> None:
    for path in ("recover", "snapshot", "anything"):
        await wire.ask("POST", f"{API}/sandbox/nobody/{path}", status=404)
    await wire.ask("PATCH", f"{API}/sandbox/{wire.sandbox}/start", status=405)


async def test_a_sandbox_with_volumes_is_refused(wire: Wire) -> None:
    asked = {"volumes": [{"volumeId": "v", "mountPath": "/v"}]}
    assert "volumes" in (await wire.ask("POST", f"{API}/sandbox", asked, 501))["message"]


def test_idle_connections_are_kept_longer_than_clients_keep_theirs() -> None:
    """One that is cut under a request fails a client's create(), which is not sent again."""
    assert ServerLimits().idle_seconds >= 60


async def test_strangers_are_told_in_their_words(wire: Wire) -> None:
    answer = await wire.http.get(f"{API}/sandbox", headers={"Authorization": "Bearer wrong"})
    assert (answer.status_code, answer.json()["code"], answer.json()["source"]) == (401, "UNAUTHORIZED", "DAYTONA_API")
    with pytest.raises(Refused) as refused:
        async with wire.socket(f"{wire.session}/command/x/logs?follow=true", token=None):
            pass
    assert refused.value.status == 401


async def test_pushes_are_not_there(wire: Wire, engine: sessions.Engine) -> None:
    """Clients try without a token, and with an origin."""
    query = "source=sdk-python&sdkVersion=0.226.1&transport=websocket&EIO=4&t=1.5"
    for base in (API, "/daytona"):
        with pytest.raises(Refused) as refused:
            async with wire.socket(f"{base}/socket.io/?{query}", token=None):
                pass
        assert refused.value.status == 404
    answer = await wire.http.get(
        f"{API}/socket.io/?{query}", headers={"Authorization": "", "Origin": "http://elsewhere"}
    )
    assert answer.status_code == 404


async def test_the_address_is_what_the_client_asked_for(wire: Wire) -> None:
    headers = {"Host": "localhost:1234", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
    made = await wire.ask("GET", f"{API}/sandbox/{wire.sandbox}", **headers)
    assert made["toolboxProxyUrl"] == "http://localhost:1234/daytona/toolbox"


async def test_exec(wire: Wire) -> None:
    path = f"{wire.toolbox}/process/execute"
    found = await wire.ask("POST", path, {"command": "echo out; echo err >&2; echo {1..3}; exit 3"})
    assert found == {"exitCode": 3, "result": "out\nerr\n1 2 3\n"}
    found = await wire.ask("POST", path, {"command": "cat; pwd; echo $A", "cwd": "/usr", "envs": {"A": "x"}})
    assert found["result"] == "/usr\nx\n"
    assert (await wire.ask("POST", path, {"command": "true", "cwd": "/nowhere"}))["exitCode"] == -1
    await wire.ask("POST", path, {"command": " \n"}, 400)
    assert "at position 6," in (await wire.ask("POST", path, {"command": "echo a\0b"}, 400))["message"]
    await wire.ask("POST", path, {"command": "true", "envs": {"1A": "x"}}, 400)
    error = await wire.ask("POST", path, {"command": "trap '' TERM; sleep 600; sleep 600", "timeout": 1}, 408)
    assert (error["code"], error["source"]) == ("PROCESS_EXECUTION_TIMEOUT", "DAYTONA_DAEMON")
    assert (await wire.ask("POST", path, {"command": "echo $(", "timeout": 0}))["exitCode"] != 0


async def test_exec_has_a_shell_of_its_own(wire: Wire) -> None:
    """What it does to its shell is done to no other, and tells of itself."""
    path = f"{wire.toolbox}/process/execute"
    first, second = [(await wire.ask("POST", path, {"command": "echo $$"}))["result"] for _ in range(2)]
    assert first != second
    assert (await wire.ask("POST", path, {"command": "trap 'echo bye' EXIT; echo on"}))["result"] == "on\nbye\n"
    for name, code in (("KILL", 137), ("TERM", 143)):
        assert (await wire.ask("POST", path, {"command": f"kill -{name} $$; sleep 600"}))["exitCode"] == code
    assert (await wire.ask("POST", path, {"command": "echo $LINENO"}))["result"] == "1\n"


async def test_code_run(wire: Wire) -> None:
    path = f"{wire.toolbox}/process/code-run"
    code = "import sys, os\nprint(sys.argv[1:], os.environ['A'])"
    found = await wire.ask("POST", path, {"code": code, "language": "python", "argv": ["x y"], "envs": {"A": "b"}})
    assert found == {"exitCode": 0, "result": "['x y'] b\n", "artifacts": {"charts": []}}
    await wire.ask("POST", path, {"code": code, "language": "cobol"}, 400)


async def test_code_leaves_no_file_behind(wire: Wire) -> None:
    """TypeScript is run from a file, since nothing reads it from stdin."""
    path = f"{wire.toolbox}/process/execute"
    fakes = "mkdir bin; for name in node tsx; do printf '#!/bin/sh\\ncat \"$1\"' >bin/$name; done; chmod +x bin/*; echo $PWD"
    home = (await wire.ask("POST", path, {"command": fakes}))["result"].strip()
    asked = {"code": "the code", "language": "typescript", "envs": {"PATH": f"{home}/bin:/usr/bin:/bin"}}
    found = await wire.ask("POST", f"{wire.toolbox}/process/code-run", asked)
    assert (found["exitCode"], found["result"]) == (0, "the code")
    assert (await wire.ask("POST", path, {"command": "ls -A"}))["result"] == "bin\n"


async def test_directories(wire: Wire, engine: sessions.Engine) -> None:
    home = str(Path(engine.root) / "spaces" / wire.sandbox)
    assert await wire.ask("GET", f"{wire.toolbox}/work-dir") == {"dir": home}
    assert await wire.ask("GET", f"{wire.toolbox}/user-home-dir") == {"dir": home}


async def test_an_upgrade_elsewhere_is_refused(wire: Wire, engine: sessions.Engine) -> None:
    with pytest.raises(Refused) as refused:
        async with wire.socket(f"{wire.session}/command/nobody/logs?follow=true"):
            pass
    assert refused.value.status == 404
    assert b'"source":"DAYTONA_DAEMON"' in refused.value.body
