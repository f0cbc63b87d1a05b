"""The Miosa door on the wire: tickets, errors, machines and services, and who is let in."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from miosa_wire import API, Wire, events_of, open_wire  # noqa: F401
from served import TOKEN, over_tcp, served
from websocket_client import Refused

import sessions


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
        assert error["error"]["code"] == "INVALID_TICKET"


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


async def test_a_client_chooses_the_shell(wire: Wire) -> None:
    for shell, name in (("/bin/sh", "/bin/sh\n"), ("", "bash\n"), ("/bin/bash", "bash\n")):
        (_, told), *_ = await wire.events(await wire.start("echo $0", shell=shell))
        assert told["line"].endswith(name)
    (_, told), (_, ended) = await wire.events(await wire.start("echo $0", shell="/bin/nosuch"))
    assert (told["stream"], "/bin/nosuch" in told["line"], ended["exit_code"]) == ("stderr", True, 127)
    body = {"command": "echo $0", "shell": "/bin/sh"}
    assert (await wire.ask("POST", f"{wire.computer}/exec", body))["output"] == "/bin/sh\n"


async def test_commands_of_a_computer_have_a_timeout_in_any_case(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("run", "streams"):
        monkeypatch.setattr(f"sessions.doors.miosa.{module}.DEFAULT_SECONDS", 0.5)
    nap = "sleep 605"
    assert (await wire.ask("POST", f"{wire.computer}/exec", {"command": nap}))["exit_code"] == 124
    python = {"code": f"import os; os.execlp('sleep', *{nap.split()})"}
    assert (await wire.ask("POST", f"{wire.computer}/exec/python", python))["exit_code"] == 124
    assert await wire.events(await wire.start(nap)) == [("timeout", {"timeout_seconds": 0.5})]


async def test_a_stopped_computer_starts_nothing(wire: Wire) -> None:
    await wire.ask("POST", f"{wire.computer}/stop")
    for path in ("exec", "exec/stream", "exec/python"):
        error = await wire.ask("POST", f"{wire.computer}/{path}", {"command": "true", "code": ""}, 409)
        assert error["error"]["code"] == "COMPUTER_NOT_RUNNING"
    with pytest.raises(Refused) as refused:
        async with wire.spawn("command=true"):
            pass
    assert refused.value.status == 409


async def test_nothing_is_left_when_a_timeout_is_told(wire: Wire) -> None:
    nap = f"sleep {time.time_ns() % 10**9 + 10**6}"
    tree = f"trap '' TERM; setsid {nap} & {nap}; {nap}"
    began = trio.current_time()
    assert (await wire.ask("POST", f"{wire.sandbox}/exec", {"command": tree, "timeout": 1}))["exit_code"] == 124
    left = await wire.ask("POST", f"{wire.sandbox}/exec", {"command": f"pgrep -f '^{nap}'"})
    assert (left["stdout"], trio.current_time() - began < 30) == ("", True)


async def test_a_service_is_stopped_with_its_computer(wire: Wire) -> None:
    made = await wire.ask("POST", f"{wire.computer}/services", {"name": "s", "command": "echo $$; sleep 602"}, 201)
    assert (made["status"], made["command"]) == ("running", "echo $$; sleep 602")
    await wire.ask("POST", f"{wire.computer}/stop")
    assert (await wire.ask("GET", f"{wire.computer}/services/{made['id']}"))["status"] == "stopped"


async def test_a_service_of_a_long_text_that_is_to_be_restarted(wire: Wire) -> None:
    service = {"name": "s", "command": f"exit 0 # {'x' * 200_000}", "restart_policy": "on-failure"}
    made = await wire.ask("POST", f"{wire.computer}/services", service, 201)
    with trio.fail_after(30):
        while (await wire.ask("GET", f"{wire.computer}/services/{made['id']}"))["status"] != "stopped":
            await trio.sleep(0.02)


async def test_links_of_a_job_can_be_followed(wire: Wire) -> None:
    host = wire.computer.replace("/computers/", "/opencomputers/hosts/")
    made = await wire.ask("POST", f"{host}/jobs", {"command": "echo up; sleep 600"}, 202)
    assert (await wire.ask("GET", made["links"]["self"]))["job"]["id"] == made["job"]["id"]
    async with wire.http.stream("GET", made["links"]["stream"]) as answer:
        assert answer.status_code == 200
        assert (await wire.http.delete(made["links"]["result"])).status_code == 204


async def test_requests_at_once_are_one_after_the_other(wire: Wire, engine: sessions.Engine) -> None:
    services = f"{wire.computer}/services"
    told: list[httpx.Response] = []

    async def ask(path: str, body: Any, **headers: str) -> None:
        told.append(await wire.http.post(path, json=body, headers=headers))

    async def ask_often(path: str, body: Any, **headers: str) -> list[Any]:
        told.clear()
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(partial(ask, path, body, **headers))
        return sorted(answer.status_code for answer in told)

    assert await ask_often(services, {"name": "s", "command": "sleep 603"}) == [201] + [409] * 7
    (made,) = [answer.json() for answer in told if answer.status_code == 201]
    await wire.ask("POST", f"{services}/{made['id']}/stop")
    assert await ask_often(f"{services}/{made['id']}/start", {}) == [200] * 8
    assert len([command for command in await engine.list_commands() if command.state != "finished"]) == 1
    assert await ask_often(f"{API}/sandboxes", {}, **{"Idempotency-Key": "one"}) == [201] * 8
    assert len({answer.json()["id"] for answer in told}) == 1


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
    text = "echo up; sleep 600"
    begun: list[str] = []
    told: dict[str, str | None] = {}
    all_begun = trio.Event()

    async def read(http: httpx.AsyncClient, name: str, *request: str, body: Any = None) -> None:
        found = ""
        try:
            async with http.stream(*request, json=body) as answer:
                async for piece in answer.aiter_text():
                    found += piece
                    if "up" in found and name not in begun:
                        begun.append(name)
                        if len(begun) == 3:
                            all_begun.set()
            told[name] = found
        except httpx.RemoteProtocolError:
            told[name] = None

    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(timeout=60, trust_env=False, headers=headers) as http, trio.open_nursery() as nursery:
        async with served(engine, stop_seconds=0.2) as addresses:
            base = f"{addresses.urls[0]}{API}"
            computer = (await http.post(f"{base}/computers", json={"name": "c"})).json()["id"]
            sandbox = (await http.post(f"{base}/sandboxes", json={})).json()["id"]
            started = (await http.post(f"{base}/computers/{computer}/exec/stream", json={"command": text})).json()
            for name, method, url, body in (
                ("sandbox", "POST", f"{base}/sandboxes/{sandbox}/exec/stream", {"command": text}),
                ("ticket", "GET", f"{addresses.urls[0]}{started['stream_url']}", None),
                ("job", "POST", f"{base}/opencomputers/hosts/{computer}/exec", {"cmd": text, "stream": True}),
            ):
                nursery.start_soon(partial(read, http, name, method, url, body=body))
            await all_begun.wait()
    assert told["sandbox"] is None
    (ticket, job) = (events_of(told[name] or "") for name in ("ticket", "job"))
    assert [event for event, _ in ticket] == ["output", "error"]
    assert set(ticket[-1][1]) == {"message"}
    assert [event for event, _ in job] == ["exec_chunk", "exec_error"]
    assert set(job[-1][1]) == {"reason", "job_id"}


async def test_errors_are_what_clients_read(wire: Wire) -> None:
    error = await wire.ask("GET", f"{API}/computers/none", status=404)
    assert set(error) == {"error", "request_id"}
    assert set(error["error"]) == {"code", "message", "retryable"}
    await wire.ask("GET", wire.sandbox.replace("sandboxes", "computers"), status=404)
    await wire.ask("PUT", wire.computer, status=405)
    await wire.ask("GET", f"{API}/nothing", status=404)
    await wire.ask("GET", "/miosa/computers", status=404)
    for path in (
        "files",
        "snapshots",
        "desktop/screenshot",
        "expose",
        "ports",
        "viewer-password",
        "restore/x",
        "extend",
        "x/y",
    ):
        assert (await wire.ask("GET", f"{wire.computer}/{path}", status=501))["error"]["code"] == "NOT_IMPLEMENTED"
        await wire.ask("GET", f"{API}/computers/none/{path}", status=404)
    for path in ("sandbox-template-builds/x", "agents", "run-groups/x", "egress/secrets"):
        await wire.ask("GET", f"{API}/{path}", status=501)
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


async def test_a_sandbox_is_changed(wire: Wire) -> None:
    await wire.ask("PATCH", wire.sandbox, {"name": "new", "tags": ["t"], "metadata": {"a": 1}})
    made = await wire.ask("PATCH", wire.sandbox, {"metadata": {"miosa_persistent": True}})
    assert (made["name"], made["tags"], made["persistent"]) == ("new", ["t"], True)
    assert made["metadata"] == {"a": 1, "miosa_persistent": True}
    assert await wire.ask("GET", wire.sandbox) == made
    for limit in ("timeout_sec", "idle_timeout_sec"):
        error = await wire.ask("PATCH", wire.sandbox, {"name": "never", limit: 60}, 501)
        assert limit in error["error"]["message"]
    assert (await wire.ask("GET", wire.sandbox))["name"] == "new"


async def test_machines_outlive_the_server(engine: sessions.Engine) -> None:
    async with served(engine) as addresses, over_tcp(addresses, timeout=60) as http:
        made = (await http.post(f"{API}/computers", json={"name": "kept"})).json()
        service = {"name": "s", "command": "echo hi"}
        await http.post(f"{API}/computers/{made['id']}/services", json=service)
    async with served(engine) as addresses, over_tcp(addresses, timeout=60) as http:
        assert (await http.get(f"{API}/computers/{made['id']}")).json()["name"] == "kept"
        found = (await http.get(f"{API}/computers/{made['id']}/services")).json()
        assert [one["name"] for one in found] == ["s"]


async def test_a_service_ends_with_its_server(root: Path) -> None:
    """It is told as one that ended by itself, unless nobody wants it to run; and started again when its computer is."""
    paths: list[str] = []
    async with sessions.open_engine(root) as engine, served(engine) as addresses, over_tcp(addresses) as http:
        for name in ("runs", "stops"):
            computer = (await http.post(f"{API}/computers", json={"name": name})).json()["id"]
            service = {"name": "s", "command": "sleep 606"}
            made = (await http.post(f"{API}/computers/{computer}/services", json=service)).json()["id"]
            paths.append(f"{API}/computers/{computer}/services/{made}")
        await http.post(f"{API}/computers/{computer}/stop")
    async with sessions.open_engine(root) as engine, served(engine) as addresses, over_tcp(addresses) as http:
        found = [(await http.get(path)).json() for path in paths]
        assert [(one["status"], one["exit_code"]) for one in found] == [("failed", 137), ("stopped", 137)]
        for path in paths:
            await http.post(f"{path.partition('/services/')[0]}/restart")
            assert (await http.get(path)).json()["status"] == "running"


async def test_who_leaves_a_blocking_call_ends_nothing(wire: Wire, engine: sessions.Engine) -> None:
    """Nor does who leaves what can be come back to: a job, and a process."""
    text = "until test -e go; do sleep 0.02; done; exit 7"
    host = wire.computer.replace("/computers/", "/opencomputers/hosts/")
    pid = (await wire.ask("POST", f"{wire.sandbox}/processes", {"command": text}, 201))["pid"]
    requests: list[tuple[str, str, Any]] = [
        ("POST", f"{wire.computer}/exec", {"command": text}),
        ("POST", f"{wire.sandbox}/exec", {"command": text}),
        ("POST", f"{host}/exec", {"cmd": text, "stream": True}),
        ("GET", f"{wire.sandbox}/processes/{pid}/stream", None),
        ("GET", await wire.start(text), None),
    ]
    for method, path, body in requests:
        with trio.move_on_after(0.3) as left:
            await wire.http.request(method, path, json=body)
        assert left.cancelled_caught
    for path in (wire.computer, wire.sandbox):
        assert (await wire.ask("POST", f"{path}/exec", {"command": "touch go"}))["exit_code"] == 0
    with trio.fail_after(30):
        ended = [await command.wait() for command in await engine.list_commands()]
    assert sorted((command.reason, command.exit_code) for command in ended) == [("exit", 0)] * 2 + [("exit", 7)] * 5


async def test_an_answer_carries_the_end_of_what_is_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessions.doors.miosa.run.MOST_BYTES", 1 << 14)
    limits = sessions.Limits(log_bytes=1 << 17)
    async with (
        sessions.open_engine(root, limits=limits) as engine,
        served(engine) as addresses,
        over_tcp(addresses, timeout=60) as http,
    ):
        path = f"{API}/sandboxes/{(await http.post(f'{API}/sandboxes', json={})).json()['id']}"
        text = "head -c 1000000 /dev/zero | tr '\\0' x; printf end"
        end = "x" * ((1 << 14) - 3) + "end"
        told = (await http.post(f"{path}/exec", json={"command": text})).json()
        assert (told["stdout"], told["truncated"]) == (end, True)
        pid = (await http.post(f"{path}/processes", json={"command": text})).json()["pid"]
        (command,) = await engine.list_commands(labels={"process": str(pid)})
        await command.wait()
        assert command.dropped_bytes > 1 << 14
        assert (await http.get(f"{path}/processes/{pid}/logs")).json() == {"data": end}


async def test_logs_outlive_their_machines(wire: Wire, engine: sessions.Engine) -> None:
    for path in (wire.computer, wire.sandbox):
        await wire.ask("POST", f"{path}/exec", {"command": "echo kept"})
        await wire.ask("DELETE", path)
        (command,) = await engine.list_commands(labels={"space": path.rpartition("/")[2], "door": "miosa"})
        assert (await command.logs()).stdout == b"kept\n"
