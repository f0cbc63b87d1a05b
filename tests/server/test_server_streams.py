"""Long answers: kept alive through proxies, told of the end, and no burden when nobody reads them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import httpx
import pytest
import trio
from httpx_sse import ServerSentEvent, aconnect_sse
from served import connect, get, over_tcp, over_unix, port_of, raw, rest_of, served, upgrade
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

import sessions
from sessions.doors.open_streams import Streams
from sessions.server import serving
from sessions.server.listening import Addresses


async def events_of(client: httpx.AsyncClient, path: str) -> list[ServerSentEvent]:
    async with aconnect_sse(client, "GET", path) as source:
        return [event async for event in source.aiter_sse()]


class IdleProxy:
    """Hands bytes on, and cuts a connection on which nothing has moved for a while: as proxies do after 30 or 60 seconds."""

    def __init__(self, target: int, idle_seconds: float) -> None:
        self._target = target
        self._idle_seconds = idle_seconds
        self.cut = 0

    async def __call__(self, client: trio.SocketStream) -> None:
        async with await trio.open_tcp_stream("127.0.0.1", self._target) as server, client:
            with trio.CancelScope() as idle:
                idle.deadline = trio.current_time() + self._idle_seconds

                async def hand_on(source: trio.SocketStream, sink: trio.SocketStream) -> None:
                    async for piece in source:
                        idle.deadline = trio.current_time() + self._idle_seconds
                        await sink.send_all(piece)
                    idle.cancel()

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(hand_on, client, server)
                    nursery.start_soon(hand_on, server, client)
            self.cut += trio.current_time() >= idle.deadline


@asynccontextmanager
async def behind_proxy(addresses: Addresses, idle_seconds: float) -> AsyncIterator[tuple[IdleProxy, Addresses]]:
    async with trio.open_nursery() as nursery:
        proxy = IdleProxy(port_of(addresses), idle_seconds)
        listeners = await nursery.start(partial(trio.serve_tcp, proxy, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        yield proxy, Addresses([f"http://127.0.0.1:{port}"], None)
        nursery.cancel_scope.cancel()


async def test_heartbeats_keep_what_is_silent_alive(engine: sessions.Engine, session: sessions.Session) -> None:
    """Three seconds of silence behind a proxy that cuts after one and a half; and none of it may be kept back by nginx."""
    async with served(engine, heartbeat_seconds=0.2) as addresses, behind_proxy(addresses, 1.5) as (proxy, outside):
        command = await session.run_async("sleep 3; echo late")
        deaf = await session.run_async("sleep 3; wc -c", stdin=True)
        stubborn = "trap '' TERM; echo on; while :; do sleep 0.1; done"
        killed = await session.run_async(stubborn)
        closed = await engine.create_session("closed")
        for one in (killed, await closed.run_async(stubborn)):
            await one.wait_for("on")
        async with over_tcp(outside, timeout=30) as client, trio.open_nursery() as nursery:

            async def follow() -> None:
                found = await events_of(client, f"/v1/commands/{command.id}/follow")
                assert [event.event for event in found] == ["stdout", "end"]
                assert json.loads(found[0].data)["text"] == "late\n"

            async def listen() -> None:
                async with await connect(outside) as stream:
                    await stream.send_all(upgrade(f"/v1/commands/{command.id}/follow"))
                    seen = b""
                    while b'"event":"end"' not in seen:  # not to the end of the connection, which waits for our close
                        piece = await stream.receive_some()
                        assert piece
                        seen += piece

            async def wait() -> None:
                answer = await client.get(f"/v1/commands/{command.id}/wait")
                assert answer.json()["state"] == "finished"
                assert answer.headers["x-accel-buffering"] == "no"

            async def run() -> None:
                answer = await client.post("/v1/sessions/test/commands", json={"command": "sleep 3; echo done"})
                assert answer.json()["stdout"] == "done\n"
                assert answer.headers["x-accel-buffering"] == "no"

            async def send_input() -> None:
                answer = await client.post(f"/v1/commands/{deaf.id}/input", json={"text": "x" * 300_000, "close": True})
                assert (answer.status_code, answer.json()["id"]) == (200, deaf.id)
                assert answer.headers["x-accel-buffering"] == "no"

            async def kill() -> None:
                answer = await client.post(f"/v1/commands/{killed.id}/kill", json={"grace": 3})
                assert answer.json()["reason"] == "killed"

            async def close() -> None:
                answer = await client.post("/v1/sessions/closed/close", json={"grace": 3})
                assert answer.json()["state"] == "closed"

            for each in (follow, listen, wait, run, send_input, kill, close):
                nursery.start_soon(each)
        assert proxy.cut == 0
        async with await connect(outside) as stream:  # it does cut
            await stream.send_all(get("/v1/health"))
            assert b"x-accel-buffering" not in await rest_of(stream)
        assert proxy.cut >= 1


async def test_streams_are_told_that_the_server_closes(engine: sessions.Engine, session: sessions.Session) -> None:
    """The engine goes on, so their ends are not known: each says that it was cut, and why."""
    command = await session.run_async("echo begun; sleep 60")
    found: dict[str, list[ServerSentEvent]] = {}
    answers: list[object] = []
    socket = b""
    paths = [
        f"/v1/commands/{command.id}/follow",
        "/v1/sessions/test/follow",
        f"/v1/follow?command={command.id}",
        "/v1/events?after=0",
    ]
    async with trio.open_nursery() as nursery:
        async with served(engine, stop_seconds=30) as addresses:
            begun = {path: trio.Event() for path in paths}

            async def follow(path: str) -> None:
                async with over_unix(addresses) as client, aconnect_sse(client, "GET", path) as source:
                    found[path] = []
                    async for event in source.aiter_sse():
                        found[path].append(event)
                        begun[path].set()

            async def wait(task_status: trio.TaskStatus[None]) -> None:
                async with over_unix(addresses) as client:
                    sent = client.build_request("POST", "/v1/sessions/test/commands", json={"command": "sleep 60"})
                    answer = await client.send(sent, stream=True)
                    task_status.started()
                    answers.append(json.loads(await answer.aread()))

            async def listen(task_status: trio.TaskStatus[None]) -> None:
                nonlocal socket
                async with await connect(addresses) as stream:
                    await stream.send_all(upgrade(f"/v1/commands/{command.id}/follow"))
                    while b"begun" not in socket:
                        socket += await stream.receive_some()
                    task_status.started()
                    socket += await rest_of(stream)

            for path in paths:
                nursery.start_soon(follow, path)
            await nursery.start(wait)
            await nursery.start(listen)
            for event in begun.values():
                await event.wait()
            started = trio.current_time()
        assert trio.current_time() - started < 15, "nobody is waited for that has been told"
    for path in paths:
        assert found[path][-1].event == "error", path
        assert json.loads(found[path][-1].data)["error"]["code"] == "closing"
        assert "end" not in [event.event for event in found[path]]
    assert b'"code":"closing"' in socket
    assert "closing" in json.dumps(answers)
    assert command.state == "running"
    async with served(engine) as addresses, over_unix(addresses) as client:
        await command.kill()
        after = found[paths[0]][0].id
        rest = await events_of(client, f"/v1/commands/{command.id}/follow?after={after}")
        assert [event.event for event in rest] == ["end"]


@pytest.mark.parametrize("websocket", [False, True])
async def test_who_never_reads_holds_nobody_up(
    engine: sessions.Engine, session: sessions.Session, websocket: bool
) -> None:
    """Not the command, and not another follower."""
    size = 50_000_000
    async with served(engine, stop_seconds=0.5) as addresses:
        command = await session.run_async(f"sleep 0.5; head -c {size} /dev/zero")
        path = f"/v1/commands/{command.id}/follow"
        async with await connect(addresses) as deaf, over_tcp(addresses, timeout=60) as client:
            await deaf.send_all(upgrade(path) if websocket else get(path))
            with trio.fail_after(60):
                found = await events_of(client, path + "?encoding=base64")
                await command.wait()
            assert found[-1].event == "end"
            assert command.stdout_bytes == size
            assert (await client.get("/v1/health")).status_code == 200


async def test_server_ends_under_one_that_never_reads(engine: sessions.Engine, session: sessions.Session) -> None:
    command = await session.run_async("head -c 50000000 /dev/zero")
    deaf = []
    async with served(engine, stop_seconds=0.2) as addresses:
        for request in (upgrade(f"/v1/commands/{command.id}/follow"), get(f"/v1/commands/{command.id}/follow")):
            stream = await connect(addresses)
            deaf.append(stream)
            await stream.send_all(request)
            await stream.receive_some(1)
        await command.wait()
        started = trio.current_time()
    assert trio.current_time() - started < 5
    for stream in deaf:
        await stream.aclose()


async def test_a_piece_that_was_given_up_keeps_nobody_waiting() -> None:
    streams = Streams()
    with streams.one_more() as stream:
        with trio.move_on_after(0), stream.waiting():
            await trio.sleep_forever()
        assert streams.lag_seconds() == 0.0


async def test_limit_of_followers(engine: sessions.Engine, session: sessions.Session) -> None:
    async with served(engine, followers=2) as addresses:
        command = await session.run_async("sleep 60")
        request = get(f"/v1/commands/{command.id}/follow")
        streams = []
        for _ in range(2):
            stream = await connect(addresses)
            await stream.send_all(request)
            assert b" 200 " in await stream.receive_some()
            streams.append(stream)
        answer = await raw(addresses, get(f"/v1/commands/{command.id}/follow", "Connection: close"))
        assert answer.startswith(b"HTTP/1.1 429 ")
        assert b'"code":"busy"' in answer
        assert (await raw(addresses, upgrade(f"/v1/commands/{command.id}/follow"))).startswith(b"HTTP/1.1 429 ")
        for stream in streams:
            await stream.aclose()


async def test_failures_are_told_and_cut(engine: sessions.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A door that fails before its answer gives a 500; one that fails in it is cut, so that nobody takes it for whole."""

    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].endswith("late"):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("secret")

    monkeypatch.setattr(serving, "DOORS", {"/odd": lambda engine, streams: [Mount("/", app=fail)]})
    async with served(engine) as addresses, over_tcp(addresses) as client:
        answer = await client.get("/odd/early")
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
        assert "secret" not in answer.text
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/odd/late")
        assert (await client.get("/v1/health")).status_code == 404
