"""The native door's sessions and commands: each verb over a real connection, and what becomes of a command whose connection dies."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from http_server import Web, open_web
from http_server import open_test_web as open_test_web

import sessions
from sessions import reading_logs
from sessions.doors.native import run as native_run
from sessions.server.limits import ServerLimits
from sessions.threads import run_in_thread


async def test_a_session_from_its_creation_to_its_end(web: Web, tmp_path: Path) -> None:
    asked = {
        "name": "build",
        "cwd": str(tmp_path),
        "env": {"A": "é"},
        "labels": {"ci": "42", "x": "y"},
        "restart": True,
    }
    answer = await web.http.post("/sessions", json=asked)
    session = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/sessions/{session['id']}"
    assert {name: session[name] for name in asked} == asked
    assert (session["state"], session["shell"], session["closed_at"]) == ("open", "bash", None)
    assert await web.get(f"/sessions/{session['id']}") == await web.get("/sessions/build") == session
    assert [one["name"] for one in (await web.get("/sessions"))["sessions"]] == ["test", "build"]
    assert (await web.get("/sessions?label=ci=42&label=x=y"))["sessions"] == [session]
    assert (await web.get("/sessions?label=ci=43"))["sessions"] == []
    run = await web.post("/sessions/build/commands", {"command": "pwd; echo $A; B=1"})
    assert run["output"] == f"{tmp_path}\né\n"
    assert (await web.post("/sessions/build/restart"))["state"] == "open"
    assert (await web.post("/sessions/build/commands", {"command": "echo [$B]"}))["output"] == "[]\n"
    closed = await web.post("/sessions/build/close", {"grace": 0.5})
    assert closed["state"] == "closed"
    assert closed["closed_at"] >= closed["created_at"]
    assert (await web.get("/sessions?state=closed"))["sessions"] == [closed]
    assert (await web.post("/sessions/build/commands", {"command": "true"}, 410))["error"]["code"] == "closed"
    assert (await web.http.delete("/sessions/build")).status_code == 204
    assert (await web.http.get("/sessions/build")).status_code == 404
    assert (await web.http.get(f"/commands/{run['id']}")).status_code == 404


async def test_a_waited_run_tells_all(web: Web) -> None:
    answer = await web.http.post("/sessions/test/commands", json={"command": "echo é; echo err >&2; (exit 3)"})
    told = answer.json()
    assert answer.status_code == 200
    assert answer.headers["location"] == f"/v1/commands/{told['id']}"
    assert answer.headers["sessions-command-id"] == told["id"]
    assert (told["stdout"], told["stderr"], sorted(told["output"].split())) == ("é\n", "err\n", ["err", "é"])
    assert (told["state"], told["exit_code"], told["reason"], told["in_shell"]) == ("finished", 3, "exit", True)
    assert (told["restarted"], told["shell_ended"], told["omitted"]) == (False, False, False)
    view = await web.get(f"/commands/{told['id']}")
    assert view == {name: told[name] for name in view}
    told = await web.post("/sessions/test/commands", {"command": "printf '\\377'", "encoding": "base64"})
    assert (told["stdout"], told["stderr"], told["output"]) == ("/w==", "", "/w==")
    told = await web.post("/sessions/test/commands", {"command": "sleep 9", "timeout": 0.1})
    assert told["reason"] == "timeout"
    told = await web.post("/sessions/test/commands", {"command": "exit 4"})
    assert (told["exit_code"], told["shell_ended"]) == (4, True)
    assert (await web.post("/sessions/test/commands", {"command": "true"}, 410))["error"]["code"] == "closed"


async def test_a_run_after_a_restart_says_so(web: Web) -> None:
    await web.post("/sessions", {"name": "again", "restart": True}, 201)
    await web.post("/sessions/again/commands", {"command": "exit 1"})
    assert (await web.post("/sessions/again/commands", {"command": "true"}))["restarted"] is True
    assert (await web.post("/sessions/again/commands", {"command": "true"}))["restarted"] is False


async def test_much_output_is_left_out_of_the_answer(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_run, "INLINE_BYTES", 1000)
    told = await web.post("/sessions/test/commands", {"command": "head -c 1000 /dev/zero"})
    assert (told["omitted"], told["stdout"]) == (False, "\0" * 1000)
    told = await web.post("/sessions/test/commands", {"command": "head -c 1001 /dev/zero"})
    assert (told["omitted"], told["stdout"], told["stderr"], told["output"]) == (True, None, None, None)
    assert len((await web.get(f"/commands/{told['id']}/logs"))["stdout"]) == 1001


async def test_output_in_many_records_holds_nobody_up(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    in_threads = []

    async def note(*arguments: Any) -> Any:
        in_threads.append(arguments)
        return await run_in_thread(*arguments)

    monkeypatch.setattr(reading_logs, "run_in_thread", note)
    for most, threads in ((reading_logs.LARGE_RECORDS, 0), (3, 1)):
        monkeypatch.setattr(reading_logs, "LARGE_RECORDS", most)
        assert (await web.post("/sessions/test/commands", {"command": "echo on"}))["output"] == "on\n"
        assert len(in_threads) == threads


async def test_the_id_comes_before_the_end_and_signs_of_life_between(engine: sessions.Engine) -> None:
    async with open_web(engine, ServerLimits(heartbeat_seconds=0.05)) as web:
        await web.post("/sessions", {"name": "test"}, 201)
        asked = {"command": "read line; echo got $line", "stdin": True}
        async with web.http.stream("POST", "/sessions/test/commands", json=asked) as answer:
            pieces = answer.aiter_raw()
            first = await anext(pieces)
            command_id = answer.headers["sessions-command-id"]
            assert first == b'{"id":"%s",' % command_id.encode()
            assert (await anext(pieces)).strip() == b""
            assert (await web.get(f"/commands/{command_id}"))["state"] == "running"
            await web.post(f"/commands/{command_id}/input", {"text": "it\n"}, 204)
            rest = b"".join([piece async for piece in pieces])
        assert json.loads(first + rest)["stdout"] == "got it\n"
        waited = web.http.stream("GET", f"/commands/{await web.start('test', 'read line', stdin=True)}/wait")
        async with waited as answer:
            pieces = answer.aiter_raw()
            assert await anext(pieces) == b" "
            number = answer.request.url.path.split("/")[3]
            await web.post(f"/commands/{number}/input", {"close": True}, 204)
            assert json.loads(b"".join([piece async for piece in pieces]))["state"] == "finished"


@pytest.mark.parametrize("on_disconnect", ["continue", "interrupt"])
async def test_a_connection_that_dies(web: Web, on_disconnect: str) -> None:
    asked = {"command": "echo begun; read line; echo $line", "stdin": True, "on_disconnect": on_disconnect}
    async with web.http.stream("POST", "/sessions/test/commands", json=asked) as answer:
        command_id = answer.headers["sessions-command-id"]
    if on_disconnect == "interrupt":
        ended = await web.get(f"/commands/{command_id}/wait")
        assert ended["reason"] == "killed"
    else:
        await web.post(f"/commands/{command_id}/input", {"text": "alive\n"}, 204)
        ended = await web.get(f"/commands/{command_id}/wait")
        assert (ended["reason"], ended["exit_code"]) == ("exit", 0)
        assert (await web.get(f"/commands/{command_id}/logs"))["output"] == "begun\nalive\n"
    assert (await web.post("/sessions/test/commands", {"command": "echo next"}))["output"] == "next\n"


async def test_what_a_finished_command_left_behind_survives_the_connection(web: Web) -> None:
    asked = {"command": "sleep 60 & echo $!", "on_disconnect": "interrupt"}
    async with await web.connect() as connection:
        body = json.dumps(asked).encode()
        head = f"POST /v1/sessions/test/commands HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        await connection.send_all(head.encode() + body)
        answer = b""
        while b"shell_ended" not in answer:
            answer += await connection.receive_some()
    assert (await web.post("/sessions/test/commands", {"command": "jobs -r"}))["output"].count("sleep 60") == 1


async def test_a_command_left_to_work(web: Web) -> None:
    answer = await web.http.post(
        "/sessions/test/commands",
        json={"command": "echo $X; pwd", "run_async": True, "env": {"X": "1"}, "cwd": "/tmp", "labels": {"k": "v"}},
    )
    view = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/commands/{view['id']}"
    assert "stdout" not in view
    ended = await web.get(f"/sessions/test/commands/{view['id']}/wait")
    assert (ended["state"], ended["in_shell"], ended["labels"]) == ("finished", False, {"k": "v"})
    assert (await web.get(f"/commands/{view['id']}/logs"))["stdout"] == "1\n/tmp\n"
    assert (await web.get("/commands?label=k=v"))["commands"] == [ended]


async def test_a_command_of_another_session_is_not_found(web: Web) -> None:
    await web.post("/sessions", {"name": "other"}, 201)
    command_id = await web.finish("other", "true")
    for path in ("", "/wait", "/logs", "/excerpt", "/follow"):
        answer = await web.http.get(f"/sessions/test/commands/{command_id}{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
        assert (await web.http.get(f"/sessions/other/commands/{command_id}{path}")).status_code == 200


async def test_a_wait_ends_with_its_timeout(web: Web) -> None:
    command_id = await web.start("test", "read line", stdin=True)
    for timeout in ("0", "0.05"):
        assert (await web.get(f"/commands/{command_id}/wait?timeout={timeout}"))["state"] in ("queued", "running")
    await web.post(f"/commands/{command_id}/input", {"close": True}, 204)
    assert (await web.get(f"/commands/{command_id}/wait?timeout=60"))["exit_code"] == 1


async def test_input(web: Web) -> None:
    command_id = await web.start("test", "cat", stdin=True)
    await web.post(f"/commands/{command_id}/input", {"text": "é\n"}, 204)
    await web.post(
        f"/commands/{command_id}/input", {"base64": base64.b64encode(b"\0\xff").decode(), "close": True}, 204
    )
    await web.get(f"/commands/{command_id}/wait")
    assert (await web.http.get(f"/commands/{command_id}/logs?format=raw")).content == b"\xc3\xa9\n\0\xff"
    assert (await web.post(f"/commands/{command_id}/input", {"text": "x"}, 410))["error"]["code"] == "closed"
    deaf = await web.finish("test", "true")
    assert (await web.post(f"/commands/{deaf}/input", {"text": "a", "base64": "YQ=="}, 400))["error"][
        "path"
    ] == "$.base64"
    assert (await web.post(f"/commands/{deaf}/input", {}, 400))["error"]["path"] == "$"
    told = await web.post("/sessions/test/commands", {"command": "cat", "stdin_base64": "AP8=", "encoding": "base64"})
    assert told["output"] == "AP8="


async def test_input_that_nobody_reads_holds_up_only_who_sends_it(web: Web) -> None:
    command_id = await web.start("test", "read -n 1 first; sleep 60", stdin=True)
    with trio.move_on_after(0.3) as patience:
        await web.post(f"/commands/{command_id}/input", {"text": "x" * 4_000_000}, 204)
    assert patience.cancelled_caught
    assert (await web.post(f"/commands/{command_id}/kill", {"grace": 0.2}))["reason"] == "killed"


async def test_what_goes_wrong_behind_the_first_sign_of_life(
    engine: sessions.Engine, session: sessions.Session
) -> None:
    """A 200 has begun by then: the error is its body, for our client as for others."""
    async with open_web(engine, ServerLimits(heartbeat_seconds=0.05)) as web:
        command_id = await web.start("test", "read -n 1 first; sleep 60", stdin=True)
        request = web.http.build_request("POST", f"/commands/{command_id}/input", json={"text": "x" * 4_000_000})
        answer = await web.http.send(request, stream=True)
        assert answer.status_code == 200
        async with sessions.connect(f"unix://{web.unix}") as client, trio.open_nursery() as nursery:
            command = await client.get_command(command_id)

            async def send() -> None:
                with pytest.raises(sessions.Closed):
                    await command.send_input("y")

            nursery.start_soon(send)
            await web.post(f"/commands/{command_id}/kill", {"grace": 0.2})
        assert json.loads(await answer.aread())["error"]["code"] == "closed"
        await answer.aclose()


async def test_a_kill_goes_on_when_who_asked_for_it_has_left(
    engine: sessions.Engine, session: sessions.Session
) -> None:
    """Also if that is found out while a sign of life is sent."""
    async with open_web(engine, ServerLimits(heartbeat_seconds=0.02)) as web:
        command = await session.run_async("trap '' TERM; echo on; while :; do sleep 0.1; done")
        await command.wait_for("on")
        request = web.http.build_request("POST", f"/commands/{command.id}/kill", json={"grace": 1})
        answer = await web.http.send(request, stream=True)
        assert answer.status_code == 200
        await answer.aclose()
        with trio.fail_after(30):
            await command.wait()
        assert (command.reason, command.exit_code) == ("killed", 137)
        assert (await web.get("/health"))["status"] == "ok"


async def test_what_is_long_in_being_deleted_shows_that_it_is(
    engine: sessions.Engine, session: sessions.Session
) -> None:
    async with open_web(engine, ServerLimits(heartbeat_seconds=0.05)) as web:
        command = await session.run_async("trap '' TERM; echo on; while :; do sleep 0.1; done")
        await command.wait_for("on")
        answer = await web.http.delete("/sessions/test")
        assert (answer.status_code, answer.text[:2]) == (200, "  ")
        assert (answer.json()["id"], answer.json()["state"]) == (session.id, "closed")
        assert (await web.http.delete("/sessions/test")).status_code == 404


async def test_a_server_that_closes_leaves_no_input_waiting(engine: sessions.Engine, session: sessions.Session) -> None:
    async with trio.open_nursery() as nursery:
        async with open_web(engine, ServerLimits(heartbeat_seconds=0.05)) as web:
            command_id = await web.start("test", "read -n 1 first; sleep 60", stdin=True)
            request = web.http.build_request("POST", f"/commands/{command_id}/input", json={"text": "x" * 4_000_000})
            other = httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(web.unix)))
            answer = await other.send(request, stream=True)
            body: list[bytes] = []

            async def read() -> None:
                body.append(await answer.aread())

            nursery.start_soon(read)
    assert json.loads(body[0])["error"]["code"] == "closing"
    await other.aclose()


async def test_signals(web: Web) -> None:
    trap = "trap 'echo caught; exit 5' USR1; echo ready; while :; do sleep 0.05; done"
    command_id = await web.start("test", trap)
    async with web.stream(f"/commands/{command_id}/follow") as events:
        assert (await events.next()).data["text"] == "ready\n"
    await web.post(f"/commands/{command_id}/signal", {"signal": "USR1"}, 204)
    assert (await web.get(f"/commands/{command_id}/wait"))["exit_code"] == 5
    assert (await web.post(f"/commands/{command_id}/signal", {"signal": "NOPE"}, 400))["error"]["code"] == "invalid"
    command_id = await web.start("test", "sleep 60")
    assert (await web.post(f"/commands/{command_id}/interrupt"))["id"] == command_id
    assert (await web.http.post(f"/commands/{command_id}/interrupt", json={"grace": 1})).status_code == 400
    assert (await web.get(f"/commands/{command_id}/wait"))["reason"] == "killed"
    command_id = await web.start("test", "sleep 60")
    killed = await web.http.post(f"/commands/{command_id}/kill")  # its body may be left out
    assert (killed.status_code, killed.json()["state"]) == (200, "finished")


async def test_pages(web: Web) -> None:
    ids = [await web.finish("test", f"echo {number}") for number in range(5)]
    await web.post("/sessions", {"name": "other"}, 201)
    ids.append(await web.finish("other", "true"))
    seen: list[str] = []
    page = await web.get("/commands?limit=4")
    while True:
        seen = [command["id"] for command in page["commands"]] + seen
        if page["next"] is None:
            break
        page = await web.get(f"/commands?limit=4&before={page['next']}")
    assert seen == ids
    assert [c["id"] for c in (await web.get("/sessions/test/commands"))["commands"]] == ids[:5]
    assert [c["id"] for c in (await web.get("/commands?session=other&state=finished"))["commands"]] == ids[5:]
    assert (await web.get("/commands?state=running"))["commands"] == []
    assert (await web.http.get("/commands?before=x")).status_code == 404
    assert (await web.http.get("/commands?session=nobody")).status_code == 404


async def test_an_excerpt(web: Web) -> None:
    command_id = await web.pace("test", ["seq 1 1000", "echo wrong >&2", "seq 1 1000; printf '\\377'"])
    whole = (await web.http.get(f"/commands/{command_id}/logs?format=raw")).content
    found = await web.get(f"/commands/{command_id}/excerpt?max_bytes=600&encoding=base64")
    parts = {name: base64.b64decode(found[name]) for name in ("head", "tail", "stderr_tail")}
    assert parts == {
        "head": whole[: found["omitted_start"]],
        "tail": whole[found["omitted_stop"] :],
        "stderr_tail": b"wrong\n",
    }
    assert found["omitted_bytes"] == found["omitted_stop"] - found["omitted_start"]
    assert (await web.get(f"/commands/{command_id}/excerpt"))["head"].endswith("1000\n\ufffd")


async def test_pruned_commands_have_expired(web: Web) -> None:
    command_id = await web.finish("test", "echo x")
    assert await web.post("/prune", {"keep_bytes": 0}) == {"commands": 1, "sessions": 0, "freed_bytes": 2}
    for path in ("", "/wait", "/logs", "/follow", "/logs?format=raw"):
        answer = await web.http.get(f"/commands/{command_id}{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (410, "expired")
