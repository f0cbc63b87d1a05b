"""The native door's terminals: opened, found, resized, typed to, and attached to over a WebSocket."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import trio
from conftest import leftovers
from http_server import TOKEN, Web, open_web
from http_server import open_test_web as open_test_web
from websocket_client import Refused, WebSocketClient, websocket

import sessions


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without startup files for login shells."""
    monkeypatch.setenv("HOME", str(tmp_path))


def attach(web: Web, name: str, query: str = "") -> AbstractAsyncContextManager[WebSocketClient]:
    port = int(web.url.rpartition(":")[2])
    return websocket(port, f"/v1/terminals/{name}/attach{query}", [("Authorization", f"Bearer {TOKEN}")])


async def told(socket: WebSocketClient) -> Any:
    message = await socket.receive()
    assert isinstance(message, str), message
    return json.loads(message)


async def see(socket: WebSocketClient, text: bytes) -> bytes:
    """All that is drawn until this."""
    drawn = b""
    with trio.fail_after(30):
        while text not in drawn:
            frame = await socket.receive()
            assert isinstance(frame, bytes), frame
            drawn += frame
    return drawn


async def open_terminal(web: Web, text: str, **options: Any) -> Any:
    return await web.post("/terminals", {"text": text, **options}, 201)


async def test_a_terminal_is_opened_and_found(web: Web) -> None:
    answer = await web.http.post("/terminals", json={"name": "t", "rows": 30, "columns": 100, "labels": {"a": "b"}})
    view = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"/v1/terminals/{view['session_id']}")
    assert (view["text"], view["labels"], view["state"], view["redraw_after"]) == (
        "bash -l",
        {"a": "b"},
        "running",
        None,
    )
    for known in ("t", view["session_id"]):
        assert (await web.get(f"/terminals/{known}"))["id"] == view["id"]
    assert (await web.get(f"/commands/{view['id']}"))["id"] == view["id"]
    async with web.stream(f"/commands/{view['id']}/follow") as events:
        await web.post(f"/commands/{view['id']}/input", {"text": "stty -echo; echo o$((0))n; stty size\n"}, 204)
        drawn = ""
        while "30 100\r\n" not in drawn:
            event = await events.next()
            assert event is not None
            drawn += event.data["text"]
        await web.post(f"/commands/{view['id']}/resize", {"rows": 40, "columns": 132}, 204)
        await web.post(f"/sessions/t/commands/{view['id']}/input", {"text": "stty size; exit 4\n"}, 204)
        rest = await events.rest()
    assert "40 132" in "".join(event.data["text"] for event in rest[:-1])
    assert (rest[-1].event, rest[-1].data["exit_code"]) == ("end", 4)
    await web.post(f"/commands/{view['id']}/resize", {"rows": 1, "columns": 1}, 204)
    await web.post(f"/commands/{view['id']}/input", {"text": "x"}, 410)


async def test_what_is_refused(web: Web) -> None:
    command = await web.finish("test", "true")
    for body in (
        {"rows": 0},
        {"columns": "80"},
        {"rows": True},
        {"text": ""},
        {"shell": "bash"},
        {"name": "a/b"},
        {"cwd": "/nowhere/at/all"},
    ):
        answer = await web.post("/terminals", body, 400)
        assert answer["error"]["code"] == "invalid", body
    await web.post("/terminals", {"name": "test"}, 409)
    assert (
        "no size" in (await web.post(f"/commands/{command}/resize", {"rows": 1, "columns": 1}, 409))["error"]["message"]
    )
    view = await open_terminal(web, "sleep 600", name="t")
    for body in ({"rows": 1}, {"rows": 0, "columns": 1}, {"rows": 1, "columns": 65536}, {}):
        await web.post(f"/commands/{view['id']}/resize", body, 400)
    await web.post(f"/commands/{view['id']}/input", {"text": "x", "close": True}, 409)
    for name, query, status in (
        ("test", "", 404),
        ("nobody", "", 404),
        ("t", "?rows=5", 400),
        ("t", "?rows=0&columns=5", 400),
        ("t", "?size=5", 400),
    ):
        with pytest.raises(Refused) as refused:
            async with attach(web, name, query):
                pass
        assert refused.value.status == status
        assert "message" in json.loads(refused.value.body)["error"]
    answer = await web.http.get("/terminals/t/attach")
    assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")
    assert answer.json()["error"]["code"] == "upgrade_required"


async def test_clients_attach_type_and_leave(web: Web) -> None:
    view = await open_terminal(web, 'stty -echo; echo on; while read -r line; do eval "$line"; done', name="t")
    async with attach(web, "t", "?rows=20&columns=70") as first:
        greeting = await told(first)
        assert (greeting["event"], greeting["id"], greeting["state"]) == ("attached", view["id"], "running")
        await see(first, b"on\r\n")
        await first.send(b"stty size\n")
        assert await see(first, b"20 70\r\n") == b"20 70\r\n"
        async with attach(web, view["session_id"]) as second:
            assert (await told(second))["event"] == "attached"
            assert await see(second, b"20 70\r\n") == b"on\r\n20 70\r\n"
            await second.send_text('{"resize": [41, 131]}')
            await second.send(b"stty size; printf '\\377\\000'\n")
            assert await see(second, b"\xff\x00") == await see(first, b"\xff\x00") == b"41 131\r\n\xff\x00"
            for wrong in ("5", "{}", '{"resize": [0, 5]}', '{"resize": [5]}', '{"resize": [5, 5], "x": 1}', "{"):
                await second.send_text(wrong)
                message = await told(second)
                assert (message["event"], message["error"]["code"]) == ("error", "invalid"), wrong
        after = (await web.get("/terminals/t"))["last_seq"]
        await first.send(b"echo more\n")
        await see(first, b"more\r\n")
        async with attach(web, "t", f"?after={after}") as third:
            await told(third)
            assert await see(third, b"more\r\n") == b"more\r\n"
            await first.send(b"exit 3\n")
            for socket in (first, third):
                message = await told(socket)
                assert (message["event"], message["state"], message["exit_code"]) == ("end", "finished", 3)
                assert await socket.receive() is None
                assert socket.closed is not None
                assert socket.closed[0] == 1000
                await socket.answer_close()
    async with attach(web, "t") as late:  # one that has ended shows what it has drawn
        assert (await told(late))["state"] == "finished"
        assert (await see(late, b"more\r\n")).startswith(b"on\r\n")
        assert (await told(late))["event"] == "end"


async def test_a_long_history_is_not_told_again(web: Web) -> None:
    view = await open_terminal(web, "seq 100000; echo end; sleep 600")
    async with attach(web, view["session_id"], "?after=-1") as whole:
        await told(whole)
        drawn = await see(whole, b"end\r\n")
    assert drawn == b"".join(b"%d\r\n" % number for number in range(1, 100001)) + b"end\r\n"
    async with attach(web, view["session_id"]) as socket:
        await told(socket)
        shown = await see(socket, b"end\r\n")
    assert drawn.endswith(shown)
    assert 1 << 16 <= len(shown) < 1 << 18
    ended = await web.post(f"/commands/{view['id']}/kill", {"grace": 0})
    assert ended["reason"] == "killed"
    assert leftovers({view["session_id"]}) == []


async def test_a_client_that_never_reads_holds_nobody_up(web: Web) -> None:
    view = await open_terminal(web, "stty -echo; read line; seq 1000000; echo $line")
    async with attach(web, view["session_id"]) as lazy, attach(web, view["session_id"]) as keen:
        await told(keen)
        await lazy.send(b"done\n")
        with trio.fail_after(60):
            assert b"1000000\r\ndone\r\n" in await see(keen, b"\ndone\r\n")


async def test_keys_do_not_stop_pings(web: Web) -> None:
    view = await open_terminal(web, "stty raw -echo; echo on; exec sleep 600")
    async with attach(web, view["session_id"]) as socket:
        await told(socket)
        await see(socket, b"on\n")
        for _ in range(20):
            await socket.send(b"x" * 60_000)
        with trio.fail_after(10):
            await socket.ping()


async def test_who_leaves_is_missed_although_nobody_reads_the_keys(web: Web) -> None:
    view = await open_terminal(web, "stty raw -echo; echo on; exec sleep 600")
    async with attach(web, view["session_id"]) as socket:
        await told(socket)
        await see(socket, b"on\n")
        for _ in range(100):
            await socket.send(b"x" * 4000)
    with trio.fail_after(30):
        while "\nsessions_streams 0\n" not in (await web.http.get("/metrics")).text:
            await trio.sleep(0.05)


async def test_what_was_typed_arrives_although_its_client_has_gone(web: Web) -> None:
    text = 'stty -echo; echo on; while read -r line; do [ "$line" != last ] || exit 3; done'
    view = await open_terminal(web, text)
    async with attach(web, view["session_id"]) as socket:
        await told(socket)
        await see(socket, b"on\r\n")
        await socket.send_and_close(*[b"line\n"] * 29, b"last\n")
    with trio.fail_after(30):
        assert (await web.get(f"/commands/{view['id']}/wait"))["exit_code"] == 3


async def test_a_follower_is_left_its_connection_until_it_has_closed_it(web: Web) -> None:
    command_id = await web.finish("test", "true")
    port = int(web.url.rpartition(":")[2])
    path = f"/v1/commands/{command_id}/follow"
    async with websocket(port, path, [("Authorization", f"Bearer {TOKEN}")]) as socket:
        assert (await told(socket))["event"] == "end"
        assert await socket.receive() is None
        await socket.answer_close()


async def test_clients_are_told_when_the_server_closes(engine: sessions.Engine) -> None:
    terminal = await engine.create_terminal("sleep 600")
    messages: list[Any] = []

    async def read(web: Web) -> None:
        async with attach(web, terminal.session_id) as socket:
            messages.append(await told(socket))
            began.set()
            messages.append(await told(socket))
            assert await socket.receive() is None
            assert socket.closed is not None
            messages.append(socket.closed[0])

    began = trio.Event()
    async with trio.open_nursery() as readers:
        async with open_web(engine) as web:
            readers.start_soon(read, web)
            await began.wait()
    assert (messages[0]["event"], messages[1]["error"]["code"], messages[2]) == ("attached", "closing", 1011)
    assert terminal.state == "running"
