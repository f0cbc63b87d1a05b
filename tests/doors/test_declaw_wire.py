"""The Declaw door on the wire: exact answers, both headers, and all statuses."""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import Any

import pytest
import trio
from declaw_wire import Wire, open_test_wire, open_wire  # noqa: F401
from served import TOKEN, raw, served

import sessions
from sessions.doors.declaw.errors import status_and_code
from sessions.doors.open_streams import ServerCloses
from sessions.spaces import Space, Spaces
from sessions.store.spaces import SpaceTable
from sessions.terminal import Terminal


@pytest.fixture
async def space(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Space:
    """That of the sandbox, from behind the server's back."""
    found: list[Space] = []
    use = Space.start_process

    async def note(space: Space, *arguments: Any, **options: Any) -> Any:
        found.append(space)
        return await use(space, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Space, "start_process", note)
        await wire.ask("POST", f"{wire.path}/commands", {"cmd": "true"})
    return found[0]


async def test_a_sandbox_shows_what_was_asked_for(wire: Wire) -> None:
    asked = {"template": "t", "timeout": 300, "metadata": {"a": "b"}, "envs": {"E": "v"}, "secure": True, "new": [1],
             "network": {"deny_out": ["0.0.0.0/0"]}, "security": {"policy_json": "{}"}}  # fmt: skip
    made = await wire.ask("POST", "/sandboxes", asked, 201)
    assert set(made) == {"sandbox_id", "template_id", "name", "state", "metadata", "started_at", "end_at"}
    assert (made["template_id"], made["state"], made["metadata"]) == ("t", "running", {"a": "b"})
    assert await wire.ask("GET", f"/sandboxes/{made['sandbox_id']}") == made
    assert "end_at" not in await wire.ask("GET", wire.path)
    shown = await wire.ask("GET", f"{wire.path}?timeout=60")
    assert shown["end_at"] > made["started_at"]
    await wire.ask("POST", f"{wire.path}/resume", status=204)
    assert (await wire.ask("GET", wire.path))["end_at"] > shown["end_at"]
    for body in ({"volumes": [{"a": "b"}]}, {"vault_refs": {"a": "b"}}):
        assert await wire.refused("POST", "/sandboxes", body, 501) == "not_implemented"


async def test_the_same_request_makes_one_sandbox(wire: Wire) -> None:
    headers = {"Idempotency-Key": "0f0e"}
    first = await wire.ask("POST", "/sandboxes", {}, 201, **headers)
    assert await wire.ask("POST", "/sandboxes", {}, 201, **headers) == first
    assert (await wire.ask("POST", "/sandboxes", {}, 201, **{"Idempotency-Key": "1"}))["sandbox_id"] != first[
        "sandbox_id"
    ]


async def test_a_request_that_comes_again_too_early_is_told_so(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    create, has_begun, may_go_on = Spaces.create, trio.Event(), trio.Event()
    made: list[Any] = []

    async def create_slowly(*arguments: Any, **options: Any) -> Space:
        has_begun.set()
        await may_go_on.wait()
        return await create(*arguments, **options)

    async def ask(**headers: str) -> None:
        made.append(await wire.ask("POST", "/sandboxes", {}, 201, **headers))

    monkeypatch.setattr(Spaces, "create", create_slowly)
    headers = {"Idempotency-Key": "0f0e"}
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(ask, **headers))
            await has_begun.wait()
            nursery.start_soon(ask)  # those that bring no key have none in common
            nursery.start_soon(ask)
            answer = await wire.http.post("/sandboxes", json={}, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_in_progress")
            assert answer.headers["retry-after"] == "1"
            may_go_on.set()
    assert len({one["sandbox_id"] for one in made}) == 3
    assert await wire.ask("POST", "/sandboxes", {}, 201, **headers) in made


async def test_the_door_is_below_its_name_too(wire: Wire) -> None:
    answer = await wire.ask("POST", f"/declaw{wire.path}/commands", {"cmd": "echo hi"})
    assert answer == {"stdout": "hi\n", "stderr": "", "exit_code": 0}
    assert (await wire.ask("GET", "/declaw/sandboxes"))["sandboxes"][0]["sandbox_id"] == wire.sandbox
    assert await wire.refused("GET", "/declaw/nothing", status=404) == "not_found"
    assert await wire.refused("GET", f"{wire.path}/nothing", status=404) == "not_found"


async def test_both_headers_are_keys_everywhere(engine: sessions.Engine) -> None:
    async with open_wire(engine) as wire:
        rows = [
            ("POST", "/sandboxes"), ("GET", "/sandboxes"), ("GET", wire.path), ("GET", f"{wire.path}/status"),
            ("POST", f"{wire.path}/commands"), ("POST", f"{wire.path}/commands/stream"), ("GET", f"{wire.path}/commands"),
            ("POST", f"{wire.path}/stdio"), ("POST", f"{wire.path}/pty"), ("GET", f"{wire.path}/pty/1/stream"),
        ]  # fmt: skip
        del wire.http.headers["authorization"]
        for method, path in rows:
            body = {"cmd": "true"} if method == "POST" else None
            for wrong in ({}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}):
                answer = await wire.http.request(method, path, json=body, headers=wrong)
                assert answer.status_code == 401, (method, path, wrong)
                assert set(answer.json()) == {"error", "code"}
            for right in ({"X-API-Key": TOKEN}, {"Authorization": f"Bearer {TOKEN}"}):
                answer = await wire.http.request(method, path, json=body, headers=right)
                assert answer.status_code < 300 or path.endswith("pty/1/stream"), (method, path, right, answer.text)


async def test_bad_requests_are_refused(wire: Wire) -> None:
    for path in ("commands", "commands/stream", "stdio"):
        for body in (
            {},
            [],
            {"cmd": 1},
            {"cmd": ""},
            {"cmd": " "},
            {"cmd": "x", "envs": {"A": 1}},
            {"cmd": "x", "cwd": 1},
        ):
            assert await wire.refused("POST", f"{wire.path}/{path}", body) == "invalid", (path, body)
        answer = await wire.http.post(f"{wire.path}/{path}", content=b"{")
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    for body in ({"timeout": "x"}, {"timeout": True}, {"timeout": -1}, {"metadata": {"a": 1}}, {"envs": {"a b": "c"}}):
        assert await wire.refused("POST", "/sandboxes", body) == "invalid", body
    surrogate = "%5Cud800"
    for query in ("limit=0", "limit=x", "metadata=x", "metadata=[1]", "metadata={[]:1}", "metadata={{}}",
                  f"metadata={{'a':'{surrogate}'}}", f'metadata={{"a":"{surrogate}"}}'):  # fmt: skip
        assert await wire.refused("GET", f"/sandboxes?{query}") == "invalid"
    for ids in (b'"x"', b"[1]", rb'["\ud800"]'):
        answer = await wire.http.post("/sandboxes/kill-many", content=b'{"sandbox_ids": %s}' % ids)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert await wire.refused("POST", f"{wire.path}/stdio/1/stdin", {"data": "?"}) == "invalid"
    assert await wire.refused("PUT", f"{wire.path}/commands", status=405) == "method_not_allowed"
    assert await wire.refused("GET", f"{wire.path}/files", status=501) == "not_implemented"
    assert await wire.refused("POST", f"{wire.path}/restore?snapshot_id=x", status=501) == "not_implemented"
    assert await wire.refused("POST", f"{wire.path}/volumes/snapshot", status=501) == "not_implemented"
    assert await wire.refused("POST", "/sandboxes/sbx-00000000/snapshot", status=404) == "not_found"


@pytest.mark.parametrize("way", ["commands", "commands/stream", "stdio", "pty"])
async def test_the_state_of_a_sandbox_decides(wire: Wire, space: Space, way: str) -> None:
    body = {"cmd": "true"}
    assert await wire.refused("POST", f"/sandboxes/sbx-00000000/{way}", body, 404) == "not_found"
    await wire.ask("POST", f"{wire.path}/pause", status=204)
    await wire.ask("POST", f"{wire.path}/pause", status=204)
    assert await wire.refused("POST", f"{wire.path}/{way}", body, 409) == "sandbox_paused"
    await wire.ask("POST", f"{wire.path}/resume", status=204)
    await space.stop()
    assert await wire.refused("POST", f"{wire.path}/{way}", body, 503) == "sandbox_stopped"
    await wire.ask("POST", f"{wire.path}/resume", status=204)
    assert await wire.ask("DELETE", f"{wire.path}?async=true", status=202) == {"queued": True}
    assert await wire.refused("POST", f"{wire.path}/{way}", body, 410) == "sandbox_killed"
    assert await wire.ask("DELETE", wire.path) == {"killed": False}
    assert await wire.ask("GET", f"{wire.path}/status") == {"is_running": False}


async def test_a_command_is_a_shell_of_its_own(wire: Wire) -> None:
    """``$$`` is the command's own: names that are made with it are, too, and a signal to it hits no other command."""
    first, second = [
        await wire.ask("POST", f"{wire.path}/commands", {"cmd": "trap 'echo got it' TERM; kill $$; echo $$"})
        for _ in range(2)
    ]
    assert first["stdout"].startswith("got it\n")
    assert first["stdout"] != second["stdout"]
    long = {"cmd": "echo " + "x" * 200_000}
    assert (await wire.ask("POST", f"{wire.path}/commands", long))["stdout"] == "x" * 200_000 + "\n"


async def test_commands_are_shown_as_they_were_asked_for(wire: Wire) -> None:
    path = await wire.start("sleep 600; echo 'x'")
    (shown,) = await wire.ask("GET", f"{wire.path}/commands")
    assert shown == {"pid": 1, "cmd": "sleep 600; echo 'x'", "is_pty": False, "envs": {}}
    assert await wire.ask("DELETE", path) == {"killed": True}


async def test_what_cannot_be_reached_is_told(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*arguments: object, **options: object) -> None:
        raise sessions.Broken("no shell can be started")

    monkeypatch.setattr(Space, "start_process", fail)
    for way in ("commands", "commands/stream"):
        assert await wire.refused("POST", f"{wire.path}/{way}", {"cmd": "true"}, 502) == "broken"
    assert status_and_code(ServerCloses("soon"))[0] == 503


async def test_a_terminal_that_gets_no_number_is_not_opened(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(table: SpaceTable, space_id: str) -> int:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(SpaceTable, "next_process", fail)
    assert await wire.refused("POST", f"{wire.path}/pty", {}, 502) == "broken"
    assert await wire.ask("GET", f"{wire.path}/commands") == []


async def test_keys_of_a_client_that_has_gone_are_waited_for_no_longer(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_begun, is_over = trio.Event(), trio.Event()

    async def wait(terminal: Terminal, data: bytes | str) -> None:
        has_begun.set()
        try:
            await trio.sleep_forever()  # as with a program that does not read
        finally:
            is_over.set()

    monkeypatch.setattr(Terminal, "send_input", wait)
    path = f"{wire.path}/pty/{(await wire.ask('POST', f'{wire.path}/pty', {}, 201))['pid']}"
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(wire.http.post, f"{path}/stdin", json={"data": "x"}))
            await has_begun.wait()
            nursery.cancel_scope.cancel()
        await is_over.wait()


async def test_it_is_known_by_its_paths_alone(engine: sessions.Engine) -> None:
    async with served(engine) as addresses:
        answer = await raw(addresses, b"GET /sandboxesque HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert b'"error":{"code":"unauthorized"' in answer
