"""The door's sessions on the wire: one shell, one command after the other, input, ends, and logs in all their forms."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
import trio
from daytona_wire import SDK, Wire, open_test_wire, open_wire  # noqa: F401
from websocket_client import Refused

import sessions


async def test_waited_and_started_commands(wire: Wire) -> None:
    found = await wire.run("echo out; echo err >&2; cd /usr; (exit 4)")
    assert found == {
        "cmdId": found["cmdId"],
        "exitCode": 4,
        "output": found["output"],
        "stdout": "out\n",
        "stderr": "err\n",
    }
    assert sorted(found["output"].split()) == ["err", "out"]
    path = await wire.start("pwd; sleep 600")
    shown = await wire.ask("GET", path)
    assert shown == {"id": path.rpartition("/")[2], "command": "pwd; sleep 600"}
    assert [command.get("exitCode") for command in (await wire.ask("GET", wire.session))["commands"]] == [4, None]
    old = await wire.run("true", 202, **{"async": True})
    assert list(old) == ["cmdId"]


async def test_commands_run_in_turn(wire: Wire) -> None:
    await wire.ask("POST", f"{wire.toolbox}/process/session", {"sessionId": "other"}, 201)
    first = await wire.start("read x; echo $x; X=set")
    async with trio.open_nursery() as nursery:
        told: list[Any] = []

        async def wait() -> None:
            told.append(await wire.run("echo $X"))

        nursery.start_soon(wait)
        while len((await wire.ask("GET", wire.session))["commands"]) < 2:
            await trio.sleep(0.01)
        assert (await wire.run("echo beside", session="other"))["stdout"] == "beside\n"
        assert told == []
        await wire.ask("POST", f"{first}/input", {"data": "go"}, 204)
    assert told[0]["stdout"] == "set\n"


async def test_input_shows_in_the_log(wire: Wire) -> None:
    path = await wire.start("read a; echo got $a >&2; cat >/dev/null")
    await wire.ask("POST", f"{path}/input", {"data": "one"}, 204)
    await wire.ask("POST", f"{path}/input", {"data": "two\n"}, 204)
    with trio.fail_after(20):
        while (await wire.ask("GET", f"{path}/logs"))["stderr"] != "got one\n":
            await trio.sleep(0.02)
    assert (await wire.ask("GET", f"{path}/logs"))["stdout"] == "one\ntwo\n"
    await wire.ask("POST", f"{path}/input", {"data": 1}, 400)


async def test_input_that_is_not_taken_does_not_show(wire: Wire) -> None:
    path = await wire.start("echo on; exec 0<&-; read x <>/dev/null; sleep 600")
    async with wire.socket(f"{path}/logs?follow=true") as socket:
        assert await socket.receive() == b"\1\1\1on\n"
        with trio.fail_after(30):
            while (await wire.http.post(f"{path}/input", json={"data": "y"}, headers=SDK)).status_code != 410:
                await trio.sleep(0.02)
    shown = (await wire.ask("GET", f"{path}/logs"))["stdout"]
    await wire.ask("POST", f"{path}/input", {"data": "no"}, 410)
    assert (await wire.ask("GET", f"{path}/logs"))["stdout"] == shown


async def test_input_shows_as_it_is_taken_before_what_answers_it(wire: Wire) -> None:
    path = await wire.start("read a; echo got ${#a}; echo end >&2")
    line = "x" * 300_000
    await wire.ask("POST", f"{path}/input", {"data": line}, 204)
    frames = await wire.frames(f"{path}/logs?follow=true")
    assert b"".join([frame[3:] for frame in frames if frame.startswith(b"\1")]) == f"{line}\ngot 300000\n".encode()


async def test_input_comes_too_late(wire: Wire) -> None:
    path = await wire.start("read a", suppressInputEcho=True)
    await wire.ask("POST", f"{path}/input", {"data": "x"}, 204)
    assert await wire.frames(f"{path}/logs?follow=true") == []
    error = await wire.ask("POST", f"{path}/input", {"data": "x"}, 410)
    assert (error["code"], error["source"]) == ("COMMAND_ALREADY_COMPLETED", "DAYTONA_DAEMON")
    await wire.ask("POST", f"{wire.session}/command/nobody/input", {"data": "x"}, 404)


async def test_exit_ends_the_session(wire: Wire) -> None:
    assert (await wire.run("echo bye; exit 7"))["exitCode"] == 7
    for _ in range(2):
        error = await wire.run("true", 410)
        assert (error["code"], error["source"]) == ("SESSION_ENDED", "DAYTONA_DAEMON")
        assert error["message"] == "session 's' has ended with its shell: create another one"
    (command,) = (await wire.ask("GET", wire.session))["commands"]
    path = f"{wire.session}/command/{command['id']}"
    assert (await wire.ask("POST", f"{path}/input", {"data": "x"}, 410))["code"] == "SESSION_ENDED"
    assert (await wire.ask("GET", f"{path}/logs"))["stdout"] == "bye\n"
    await wire.ask("DELETE", wire.session, status=204)


async def test_what_is_refused(wire: Wire) -> None:
    sessions_path = f"{wire.toolbox}/process/session"
    for text in ("", "  \n"):
        await wire.run(text, 400)
    await wire.run("true", 404, session="nobody")
    await wire.ask("POST", sessions_path, {"sessionId": "s"}, 409)
    await wire.ask("POST", sessions_path, {"sessionId": "entrypoint"}, 400)
    await wire.run("true", 400, session="entrypoint")
    await wire.ask("DELETE", f"{sessions_path}/entrypoint", status=400)
    await wire.ask("GET", f"{sessions_path}/entrypoint", status=404)
    await wire.ask("GET", f"{sessions_path}/entrypoint/logs", status=404)
    assert [found["sessionId"] for found in await wire.ask("GET", sessions_path)] == ["s"]
    await wire.ask("POST", f"{wire.toolbox}/process/execute", {"command": "true"})
    assert [found["sessionId"] for found in await wire.ask("GET", sessions_path)] == ["s"]


async def test_deleted_sessions_are_gone_and_those_who_wait_are_told(wire: Wire, engine: sessions.Engine) -> None:
    path = await wire.start("trap '' TERM; echo kept; sleep 600 & sleep 600")
    answers: list[Any] = []
    async with wire.socket(f"{path}/logs?follow=true") as socket, trio.open_nursery() as nursery:
        assert await socket.receive() == b"\1\1\1kept\n"

        async def wait() -> None:
            answers.append(await wire.run("echo never", 400))

        nursery.start_soon(wait)
        while len((await wire.ask("GET", wire.session))["commands"]) < 2:
            await trio.sleep(0.01)
        await wire.ask("DELETE", wire.session, status=204)
        assert await socket.rest() == []
        assert socket.closed is not None
        assert socket.closed[0] == 1000
    assert "session cancelled" in answers[0]["message"]
    for method, gone in (("GET", wire.session), ("DELETE", wire.session), ("GET", path), ("GET", f"{path}/logs")):
        await wire.ask(method, gone, status=404)
    command = await engine.get_command(path.rpartition("/")[2])
    assert (await command.logs()).stdout == b"kept\n"
    await wire.ask("POST", f"{wire.toolbox}/process/session", {"sessionId": "s"}, 201)


async def test_a_session_that_was_deleted_elsewhere_is_unknown(wire: Wire, engine: sessions.Engine) -> None:
    sessions_path = f"{wire.toolbox}/process/session"
    (session,) = await engine.list_sessions(labels={"session": "s"})
    await engine.delete_session(session.id)
    error = await wire.run("true", 404)
    assert "'s'" in error["message"]
    assert session.id not in error["message"]
    await wire.ask("DELETE", wire.session, status=404)
    assert await wire.ask("GET", sessions_path) == []
    await wire.ask("POST", sessions_path, {"sessionId": "s"}, 201)
    assert (await wire.run("echo again"))["stdout"] == "again\n"


async def test_sandboxes_do_not_see_each_other(wire: Wire) -> None:
    other = await wire.ask("POST", "/daytona/api/sandbox", {})
    toolbox = f"/daytona/toolbox/{other['id']}/process/session"
    assert await wire.ask("GET", toolbox) == []
    await wire.ask("POST", toolbox, {"sessionId": "s"}, 201)
    path = await wire.start("echo mine")
    await wire.ask("GET", f"{toolbox}/s/command/{path.rpartition('/')[2]}", status=404)


async def test_logs_in_three_forms(wire: Wire) -> None:
    path = await wire.start("echo out; sleep 0.1; echo err >&2")
    marked, plain = "\1\1\1out\n\2\2\2err\n", "out\nerr\n"
    assert await wire.frames(f"{path}/logs?follow=true", version="0.100.0") == [b"\1\1\1out\n", b"\2\2\2err\n"]
    assert b"".join(await wire.frames(f"{path}/logs?follow=true", version=None)) == plain.encode()
    assert await wire.ask("GET", f"{path}/logs") == {"output": plain, "stdout": "out\n", "stderr": "err\n"}
    assert await wire.ask("GET", f"{path}/logs", **{"X-Daytona-SDK-Version": "0.100.0"}) == marked
    answer = await wire.http.get(f"{path}/logs")  # as curl does
    assert (answer.text, answer.headers["content-type"]) == (plain, "text/plain; charset=utf-8")
    assert (await wire.http.get(f"{path}/logs?follow=true", headers={"X-Daytona-Split-Output": "true"})).text == marked
    asked = {"command": "echo out"}
    old = await wire.ask("POST", f"{wire.session}/exec", asked, **{"X-Daytona-SDK-Version": "0.100.0"})
    assert (old["output"], old["stdout"], old["stderr"]) == ("\1\1\1out\n", None, None)
    oldest = await wire.ask("POST", f"{wire.session}/exec", asked, **{"X-Daytona-SDK-Version": "0.20.0"})
    assert oldest["output"] == "out\n"


async def test_the_version_may_come_as_a_subprotocol(wire: Wire) -> None:
    path = await wire.start("echo out")
    token = "X-Daytona-SDK-Version~0.226.1"
    async with wire.socket(f"{path}/logs?follow=true", subprotocols=[token], version=None) as socket:
        assert socket.subprotocol == token
        assert await socket.rest() == [b"\1\1\1out\n"]


async def test_streams_are_live_exact_and_answer_pings(wire: Wire) -> None:
    path = await wire.start(r"printf 'a\0b'; read x; printf '\303'; read x; printf '\274' >&2; read x")
    async with wire.socket(f"{path}/logs?follow=true") as socket:
        assert await socket.receive() == b"\1\1\1a\0b"
        await socket.ping()
        assert await wire.frames(f"{path}/logs") == [b"\1\1\1a\0b"]  # what is there, without follow
        await wire.ask("POST", f"{path}/input", {"data": "x"}, 204)
        found = b""
        while not found.endswith(b"\303"):
            frame = await socket.receive()
            assert isinstance(frame, bytes)
            assert frame.startswith(b"\1\1\1")
            found += frame[3:]
        assert found == b"x\n\303"
        for _ in range(2):
            await wire.ask("POST", f"{path}/input", {"data": "y"}, 204)
        frames = await socket.rest()
        assert b"\2\2\2\274" in frames
    assert socket.closed is not None
    assert socket.closed[0] == 1000


async def test_streams_end_at_once(wire: Wire) -> None:
    path = await wire.start("read x; echo last")
    async with wire.socket(f"{path}/logs?follow=true") as socket:
        await wire.ask("POST", f"{path}/input", {"data": "go"}, 204)
        found = b""
        while not found.endswith(b"last\n"):
            frame = await socket.receive()
            assert isinstance(frame, bytes)
            found += frame
        began = time.perf_counter()
        assert await socket.receive() is None
        assert time.perf_counter() - began < 0.5


async def test_frames_are_small_and_never_empty(wire: Wire) -> None:
    path = await wire.start("head -c 3000000 /dev/zero | tr '\\0' x")
    frames = await wire.frames(f"{path}/logs?follow=true")
    assert max(map(len, frames)) <= 65536
    assert {frame[:3] for frame in frames} == {b"\1\1\1"}
    assert min(map(len, frames)) > 3
    assert sum(len(frame) - 3 for frame in frames) == 3_000_000


async def test_one_who_never_reads_holds_up_nobody(wire: Wire) -> None:
    path = await wire.start("head -c 30000000 /dev/zero | tr '\\0' x")
    async with wire.socket(f"{path}/logs?follow=true"):
        assert sum(len(frame) - 3 for frame in await wire.frames(f"{path}/logs?follow=true")) == 30_000_000


async def test_no_stream_of_a_stopped_sandbox(wire: Wire) -> None:
    path = await wire.start("echo out")
    await wire.ask("POST", f"/daytona/api/sandbox/{wire.sandbox}/stop")
    with pytest.raises(Refused) as refused:
        async with wire.socket(f"{path}/logs?follow=true"):
            pass
    assert refused.value.status == 409


async def test_large_logs_in_one_answer_and_too_large_ones(wire: Wire) -> None:
    found = await wire.run("head -c 5000000 /dev/zero | tr '\\0' x; printf '\\303\\274' >&2")
    assert (len(found["stdout"]), found["stderr"], found["exitCode"]) == (5_000_000, "ü", 0)
    error = await wire.run("head -c 70000000 /dev/zero | tr '\\0' x", 413)
    assert "get_session_command_logs_async" in error["message"]
    assert (await wire.run("echo still there"))["stdout"] == "still there\n"


async def test_those_who_wait_are_answered_when_the_server_ends(engine: sessions.Engine) -> None:
    """A client whose connection just closes sends its request again."""
    answers: list[httpx.Response] = []
    async with trio.open_nursery() as waiting, httpx.AsyncClient(timeout=60, trust_env=False) as http:
        async with open_wire(engine) as wire:
            url, headers = f"{str(wire.http.base_url).rstrip('/')}{wire.session}/exec", {**wire.http.headers, **SDK}

            async def wait() -> None:
                answers.append(await http.post(url, json={"command": "sleep 600"}, headers=headers))

            waiting.start_soon(wait)
            while not (await wire.ask("GET", wire.session))["commands"]:
                await trio.sleep(0.01)
        with trio.fail_after(20):
            while not answers:
                await trio.sleep(0.01)
    assert (answers[0].status_code, answers[0].json()["source"]) == (503, "DAYTONA_DAEMON")
