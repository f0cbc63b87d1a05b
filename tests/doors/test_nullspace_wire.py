"""The door on the wire: exact statuses and bodies, errors, long waits, and who is let in."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
import trio
from conftest import leftovers
from nullspace_wire import API, Wire, open_test_wire, open_wire  # noqa: F401
from served import TOKEN
from websocket_client import Refused, websocket

import sessions
from sessions.doors.nullspace import processes as nullspace_processes
from sessions.doors.nullspace import run as nullspace_run

REQUIRED = {"id", "status", "config", "template", "created_at"}


async def test_a_machine_has_all_that_is_required_and_no_null(wire: Wire) -> None:
    asked = {"template": "base", "vcpus": 2, "memory_mb": 512, "timeout_ms": 300_000, "auto_resume": False, "envs": {},
             "metadata": {}, "internet_access": True, "cwd": None, "desktop": None, "network": None, "volumes": None,
             "unknown": 1}  # fmt: skip
    answer = await wire.http.post(API, json=asked)
    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["x-nullspace-dispatch-proof"]
    assert set(made) >= REQUIRED
    assert None not in made.values()
    assert (made["status"], made["config"]) == ("running", {"vcpus": 2, "memory_mb": 512})
    assert made["id"].startswith("mch_")
    shown = await wire.ask("GET", f"{API}/{made['id']}")
    assert {**shown, "remaining_ms": made["remaining_ms"]} == made
    assert await wire.ask("DELETE", f"{API}/{made['id']}", status=204) is None
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/resume"), ("POST", "/exec"), ("GET", "/processes")):
        error = await wire.ask(method, f"{API}/{made['id']}{path}", status=404)
        assert error["code"] == "machine_not_found"


@pytest.mark.parametrize(
    "body",
    [
        {"vcpus": "2"},
        {"envs": {"A": 1}},
        {"timeout_ms": 0},
        {"timeout_ms": True},
        {"timeout_action": "explode"},
        {"lifecycle": {"on_timeout": "explode"}},
        {"cwd": "x"},
        [],
    ],
)
async def test_wrong_machines_are_refused(wire: Wire, body: object) -> None:
    assert (await wire.ask("POST", API, body, 400))["code"] == "invalid_request"


async def test_a_number_that_is_none_in_json_is_refused(wire: Wire) -> None:
    """It would be told as Infinity, which strict clients can't read."""
    answer = await wire.http.post(API, content=b'{"metadata": {"a": 1e999}}')
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("word", "action"), [("pause", "hibernate"), ("hibernate", "hibernate"), ("destroy", "destroy")]
)
async def test_what_a_timeout_does_has_two_ways_of_being_said(wire: Wire, word: str, action: str) -> None:
    made = await wire.ask("POST", API, {"lifecycle": {"on_timeout": word}}, 201)
    assert made["timeout_action"] == action


async def test_leases(wire: Wire) -> None:
    assert (await wire.ask("GET", wire.path))["timeout_ms"] == 300_000  # where nothing was said
    lease = await wire.ask("POST", f"{wire.path}/timeout", {"timeout_ms": 60_000})
    assert (lease["timeout_ms"], lease["timeout_action"]) == (60_000, "destroy")
    assert 50_000 < lease["remaining_ms"] <= 60_000
    await wire.ask("POST", f"{wire.path}/timeout", {}, 400)
    assert (await wire.ask("POST", f"{wire.path}/hibernate"))["machine_id"] == wire.machine
    assert (await wire.ask("GET", wire.path))["status"] == "paused"
    assert (await wire.run("true", 409))["code"] == "machine_not_ready"
    assert (await wire.ask("POST", f"{wire.path}/resume"))["remaining_ms"] > 50_000


async def test_a_machine_that_was_woken_is_in_use(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """By who waits for what has woken it, for longer than it may be idle."""
    monkeypatch.setattr("sessions.spaces.LOOK_SECONDS", 0.01)
    asked = {"auto_resume": True, "inactivity_timeout_ms": 300, "timeout_action": "hibernate"}
    wire.machine = (await wire.ask("POST", API, asked, 201))["id"]
    with trio.fail_after(30):
        while (await wire.ask("GET", wire.path))["status"] != "paused":
            await trio.sleep(0.02)
        assert (await wire.run("sleep 1.5; echo on"))["stdout"] == "on\n"


async def test_an_ephemeral_machine_is_destroyed_when_it_pauses(wire: Wire, engine: sessions.Engine) -> None:
    made = await wire.ask("POST", API, {"ephemeral": True}, 201)
    home = Path(engine.root) / "spaces" / made["id"]
    assert home.exists()
    await wire.ask("POST", f"{API}/{made['id']}/hibernate")
    with trio.fail_after(20):
        while home.exists():  # it is the last that goes
            await trio.sleep(0.1)
    await wire.ask("GET", f"{API}/{made['id']}", status=404)


async def test_lists(wire: Wire) -> None:
    found = await wire.ask("GET", f"{API}?limit=1")
    assert [item["id"] for item in found["items"]] == [wire.machine]
    assert (found["next_token"], found["has_next"]) == (None, False)
    for query in ("limit=0", "limit=x", "metadata=nonsense", "metadata=[]", "metadata=" + "[" * 5000):
        assert (await wire.ask("GET", f"{API}?{query}", status=400))["code"] == "invalid_request"


async def test_exec(wire: Wire) -> None:
    found = await wire.run("echo out; echo err >&2; exit 3")
    assert found == {"exit_code": 3, "pid": 1, "stdout": "out\n", "stderr": "err\n"}
    assert await wire.run("sleep 600", background=True) == {"pid": 2}
    listed = await wire.ask("GET", f"{wire.path}/processes")
    assert listed == [
        {"pid": 1, "command": "echo out; echo err >&2; exit 3", "running": False},
        {"pid": 2, "command": "sleep 600", "running": True},
    ]
    logs = await wire.ask("GET", f"{wire.path}/processes/2/logs")
    assert logs == {"exit_code": None, "stdout": "", "stderr": "", "output": ""}
    for fields in (
        {"timeout_secs": 0},
        {"timeout_secs": 1.5},
        {"timeout_secs": "1"},
        {"args": ["x"]},
        {"envs": {"1A": ""}},
        {"cwd": 1},
    ):
        assert (await wire.run("true", 400, **fields))["code"] == "invalid_request"
    assert (await wire.ask("POST", f"{wire.path}/exec", {}, 400))["code"] == "invalid_request"
    long = "echo " + "x" * 200_000
    assert (await wire.run(long))["stdout"] == "x" * 200_000 + "\n"


async def test_the_last_that_have_ended_are_listed(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside all that run; of the others can be asked."""
    monkeypatch.setattr(nullspace_processes, "MOST_ENDED", 2)
    running = await wire.start("sleep 600")
    for number in range(4):
        await wire.run(f"echo {number}")
    assert [item["pid"] for item in await wire.ask("GET", f"{wire.path}/processes")] == [1, 4, 5]
    assert (await wire.ask("GET", f"{wire.path}/processes/2/logs"))["stdout"] == "0\n"
    await wire.ask("POST", f"{running}/kill", status=204)


async def test_a_shell_text_is_a_process_of_its_own(wire: Wire) -> None:
    path = await wire.start("sleep 600")
    assert (await wire.run("kill -9 $$"))["exit_code"] == 137
    assert (await wire.ask("GET", f"{path}/logs"))["exit_code"] is None


async def test_a_timeout(wire: Wire) -> None:
    text = "echo before; trap '' TERM; sleep 600 & sleep 600; sleep 600"
    error = await wire.run(text, 504, timeout_secs=1)
    assert (error["code"], error["details"]) == ("exec_timeout", {"pid": 1})
    logs = await wire.ask("GET", f"{wire.path}/processes/1/logs")
    assert (logs["exit_code"], logs["stdout"]) == (124, "before\n")


async def test_long_runs_are_kept_alive(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who have made the machine wait for longer in silence."""
    monkeypatch.setattr(nullspace_run, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(nullspace_run, "SILENCE_SECONDS", 0.1)
    body = {"command": "echo out; sleep 1; exit 4", "shell": True}
    answer = await wire.http.post(f"{wire.path}/exec", json=body)
    assert answer.status_code == 200
    assert answer.text.startswith("  ")
    assert json.loads(answer.text) == {"exit_code": 4, "pid": 1, "stdout": "out\n", "stderr": ""}
    body = {"command": "echo out; sleep 600", "shell": True, "timeout_secs": 1}
    assert (await wire.ask("POST", f"{wire.path}/exec", body))["exit_code"] == 124
    creator = {"X-Nullspace-Dispatch-Proof": wire.machine}
    assert (await wire.ask("POST", f"{wire.path}/exec", body, 504, **creator))["code"] == "exec_timeout"


async def test_a_client_that_leaves_ends_nothing(wire: Wire) -> None:
    body = {"command": "echo up; read -t 600 x < <(sleep 600)", "shell": True}
    with pytest.raises(httpx.ReadTimeout):
        await wire.http.post(f"{wire.path}/exec", json=body, timeout=0.5)
    assert (await wire.ask("GET", f"{wire.path}/processes"))[0]["running"] is True
    await wire.ask("POST", f"{wire.path}/processes/1/kill", status=204)
    assert (await wire.ask("GET", f"{wire.path}/processes/1/logs"))["exit_code"] == 137


async def test_input(wire: Wire) -> None:
    path = await wire.start("read x; echo got $x")
    await wire.ask("POST", f"{path}/stdin", {"data": ""}, 204)
    await wire.ask("POST", f"{path}/stdin", {"data": "a\n"}, 204)
    with trio.fail_after(20):
        while (logs := await wire.ask("GET", f"{path}/logs"))["exit_code"] is None:
            await trio.sleep(0.02)
    assert logs["stdout"] == "got a\n"
    await wire.ask("POST", f"{path}/stdin", {"data": 1}, 400)
    assert (await wire.ask("POST", f"{path}/stdin", {"data": "b"}, 409))["code"] == "conflict"


async def test_errors(wire: Wire) -> None:
    for method, path, status, code in (
        ("GET", f"{wire.path}/processes/9/logs", 404, "process_not_found"),
        ("GET", f"{wire.path}/processes/x/logs", 400, "invalid_request"),
        ("GET", f"{wire.path}/pty/x", 404, "pty_session_not_found"),
        ("GET", f"{wire.path}/nothing", 404, "not_found"),
        ("GET", "/nullspace/v2", 404, "not_found"),
        ("PATCH", wire.path, 405, "method_not_allowed"),
        ("GET", f"{wire.path}/files/read", 501, "not_implemented"),
        ("GET", f"{wire.path}/file", 501, "not_implemented"),
        ("GET", f"{wire.path}/uploads/x", 501, "not_implemented"),
        ("GET", f"{API}/mch_none/uploads/x", 404, "machine_not_found"),
        ("POST", f"{wire.path}/snapshots", 501, "not_implemented"),
        ("POST", f"{wire.path}/host", 501, "not_implemented"),
        ("GET", "/nullspace/v1/templates", 501, "not_implemented"),
        ("GET", f"{API}/a%2Fb", 404, "not_found"),
    ):
        error = await wire.ask(method, path, status=status)
        assert error["code"] == code, path
        assert isinstance(error["error"], str)
    for body in ("{", "[]", "\xff"):
        answer = await wire.http.post(f"{wire.path}/exec", content=body.encode("latin-1"))
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


async def test_strangers_are_told_in_their_words(wire: Wire) -> None:
    answer = await wire.http.get(wire.path, headers={"Authorization": "Bearer wrong"})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    answer = await wire.http.get(wire.path, headers={"Origin": "http://elsewhere"})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_too_many_streams(engine: sessions.Engine) -> None:
    async with open_wire(engine, followers=1) as wire, wire.channel():
        with pytest.raises(Refused) as refused:
            async with wire.channel():
                pass
    assert refused.value.status == 429


async def test_messages_may_have_a_mebibyte(wire: Wire) -> None:
    path = await wire.start("wc -c")
    pid = int(path.rpartition("/")[2])
    room = (1 << 20) - len(json.dumps({"type": "exec_stdin", "id": "a", "pid": pid, "data": ""}))
    async with wire.channel() as channel:
        await channel.send("exec_stdin", id="a", pid=pid, data="x" * room)
        await channel.send("exec_stdin_close", id="a", pid=pid)
        assert await channel.rest() == []
    with trio.fail_after(20):
        while (logs := await wire.ask("GET", f"{path}/logs"))["exit_code"] is None:
            await trio.sleep(0.02)
    assert logs["stdout"].strip() == str(room)
    async with wire.channel() as channel:
        await channel.send("exec_stdin", id="a", pid=pid, data="x" * (room + 1))
        assert await channel.receive() is None
        assert channel.socket.closed is not None
        assert channel.socket.closed[0] == 1009


async def test_a_watch_of_files_is_not_there(wire: Wire) -> None:
    for query, status in (("", 501), ("?channel=other", 400)):
        with pytest.raises(Refused) as refused:
            async with websocket(wire.port, f"{wire.path}/ws{query}", [("Authorization", f"Bearer {TOKEN}")]):
                pass
        assert refused.value.status == status


async def test_health(wire: Wire) -> None:
    assert (await wire.http.get("/nullspace/healthz")).status_code == 200


async def test_names_of_other_doors_are_not_seen(wire: Wire) -> None:
    other = await wire.ask("POST", "/daytona/api/sandbox", {"name": "theirs"})
    for name in (other["id"], "theirs"):
        await wire.ask("GET", f"{API}/{name}", status=404)
    made = await wire.ask("POST", API, {}, 201, **{"Idempotency-Key": "k"})
    assert (await wire.ask("POST", API, {}, 201, **{"Idempotency-Key": "k"}))["id"] == made["id"]
    await wire.ask("GET", f"{API}/key:k", status=404)


async def test_machines_outlive_their_server(root: Path) -> None:
    async with sessions.open_engine(root) as engine, open_wire(engine) as wire:
        machine = wire.machine
        await wire.run("echo kept >file; echo out")
        await wire.start("echo up; sleep 600")
    async with sessions.open_engine(root) as engine, open_wire(engine) as wire:
        wire.machine = machine
        assert (await wire.run("cat file"))["stdout"] == "kept\n"
        logs = await wire.ask("GET", f"{wire.path}/processes/1/logs")
        assert (logs["exit_code"], logs["stdout"]) == (0, "out\n")
        assert (await wire.ask("GET", f"{wire.path}/processes/2/logs"))["exit_code"] == 137
        assert [item["pid"] for item in await wire.ask("GET", f"{wire.path}/processes")] == [3]


async def test_a_destroyed_machine_leaves_nothing(wire: Wire, engine: sessions.Engine) -> None:
    await wire.start("trap '' TERM HUP; sleep 600 & setsid sleep 600")
    found = await engine.list_sessions(labels={"space": wire.machine})
    await wire.ask("DELETE", wire.path, status=204)
    assert leftovers({session.id for session in found}) == []


async def test_logs_outlive_their_machine(wire: Wire, engine: sessions.Engine) -> None:
    await wire.run("echo kept")
    await wire.ask("DELETE", wire.path, status=204)
    labels = {"space": wire.machine, "door": "nullspace", "process": "1"}
    (command,) = await engine.list_commands(labels=labels)
    assert (await command.logs()).stdout == b"kept\n"
