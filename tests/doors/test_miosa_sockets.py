"""The Miosa door's WebSocket: both of its dialects, its input and signals, and clients that leave."""

from __future__ import annotations

import json
import struct
from typing import Any
from urllib.parse import quote

import pytest
import trio
from miosa_wire import API, Wire, open_wire  # noqa: F401
from served import TOKEN, over_tcp, port_of, served
from websocket_client import Refused, websocket

import sessions
from sessions.doors.own_shells import in_own_shell


async def test_the_binary_dialect(wire: Wire) -> None:
    query = "command=sh&args=-c&args=" + quote("cat; echo $A,$B >&2; exit 7") + "&env=A%3D1%3D2&env=B%3Dx%20y&cwd=/usr"
    async with wire.spawn(query, "miosa-exec-v1") as socket:
        assert socket.subprotocol == "miosa-exec-v1"
        await socket.send(b"\x00in \xff\n")
        assert await socket.receive() == b"\x01in \xff\n"
        await socket.send(b"\x09what is this?")
        await socket.send(b"\x05\x00\x28\x00\x64")  # a size, which has no terminal
        # There is no message for the end of the input, so the program must be told in another way.
    async with wire.spawn(query.replace("cat", "true"), "miosa-exec-v1") as socket:
        found = await socket.rest()
    assert found == [b"\x021=2,x y\n", b"\x03" + struct.pack(">I", 7)]
    assert socket.closed == (1000, "")


async def test_the_binary_dialect_on_a_terminal(wire: Wire) -> None:
    query = "tty=true&rows=30&cols=90&command=" + quote("stty size; read x; stty size; exit 300")
    async with wire.spawn(query, "miosa-exec-v1") as socket:
        assert await socket.receive() == b"\x0130 90\r\n"
        await socket.send(b"\x05" + struct.pack(">HH", 40, 100))
        await socket.send(b"\x00go\n")
        found = await socket.rest()
    assert b"40 100" in b"".join(found)
    assert found[-1] == b"\x03" + struct.pack(">I", 300 % 256)


async def test_a_browser_brings_the_token_as_a_subprotocol(wire: Wire) -> None:
    async with wire.spawn("command=echo+hi", "miosa-exec-v1", f"bearer.{TOKEN}", token=None) as socket:
        assert socket.subprotocol == "miosa-exec-v1"
        assert await socket.rest() == [b"\x01hi\n", b"\x03\0\0\0\0"]
    for offered in (["miosa-exec-v1", "bearer.wrong"], ["miosa-exec-v1"], [TOKEN]):
        with pytest.raises(Refused) as refused:
            async with wire.spawn("command=true", *offered, token=None):
                pass
        assert refused.value.status == 401


async def test_the_json_dialect(wire: Wire) -> None:
    async with wire.spawn("command=" + quote("printf '\\xff\\xe2\\x82'; echo é >&2; exit 3")) as socket:
        frames = [json.loads(frame) for frame in await socket.rest()]
    assert frames[-1] == {"type": "exit", "code": 3}
    texts = {name: "".join(f["data"] for f in frames[:-1] if f["type"] == name) for name in ("stdout", "stderr")}
    assert texts == {"stdout": "\ufffd\ufffd", "stderr": "é\n"}
    for query in ("command=", "", "command=true&rows=x", "command=true&env=%7B", "command=true&env=%5B%5D"):
        with pytest.raises(Refused) as refused:
            async with wire.spawn(query):
                pass
        assert refused.value.status == 400


async def test_a_client_that_vanishes_leaves_nothing(wire: Wire, engine: sessions.Engine) -> None:
    async with wire.spawn("command=" + quote("trap '' TERM; sleep 600 & echo up; sleep 600")) as socket:
        assert json.loads(await socket.receive())["data"] == "up\n"
    (command,) = await engine.list_commands()
    with trio.fail_after(20):
        await command.wait()
    assert (command.reason, command.exit_code) == ("killed", 137)


async def test_what_comes_behind_unread_input_is_heard(wire: Wire, engine: sessions.Engine) -> None:
    """A signal, and that the client has gone."""
    data = json.dumps({"type": "stdin", "data": "x" * (1 << 18)})
    for kill in (True, False):
        async with wire.spawn("command=" + quote("echo up; exec sleep 601")) as socket:
            assert json.loads(await socket.receive())["data"] == "up\n"
            with trio.fail_after(30):
                for _ in range(80):
                    await socket.send_text(data)
                if kill:
                    await socket.send_text('{"type": "signal", "signal": "SIGKILL"}')
                    assert await socket.rest() == ['{"type":"exit","code":137}']
    with trio.fail_after(30):
        for command in await engine.list_commands():
            assert (await command.wait()).reason == "killed"


async def test_a_command_is_a_shell_of_its_own(wire: Wire) -> None:
    """A signal to ``$$`` hits no other one."""
    async with wire.spawn("command=cat", "miosa-exec-v1") as socket:
        for path in (f"{wire.computer}/exec", f"{wire.computer}/commands", f"{wire.sandbox}/exec"):
            assert (await wire.ask("POST", path, {"command": "kill -9 $$"}))["exit_code"] == 137
        await socket.send(b"\0still here")
        assert await socket.receive() == b"\1still here"


async def test_too_many_streams(engine: sessions.Engine) -> None:
    """Nothing is started for one that is too many, and no ticket is used up."""
    async with served(engine, followers=1) as addresses, over_tcp(addresses, timeout=60) as http:
        computer = (await http.post(f"{API}/computers", json={"name": "c"})).json()["id"]
        sandbox = (await http.post(f"{API}/sandboxes", json={})).json()["id"]
        path = f"{API}/computers/{computer}/exec/stream"
        ticket = (await http.post(path, json={"command": "echo hi"})).json()["stream_url"]
        headers = [("Authorization", f"Bearer {TOKEN}")]
        async with websocket(port_of(addresses), f"{path}?command=cat", headers):
            answers = (
                await http.post(f"{API}/sandboxes/{sandbox}/exec/stream", json={"command": "true"}),
                await http.get(ticket),
            )
            for error in answers:
                assert (error.status_code, error.json()["error"]["code"]) == (429, "RATE_LIMITED")
                assert error.json()["retry_after"] == 1
            with pytest.raises(Refused) as refused:
                async with websocket(port_of(addresses), f"{path}?command=cat", headers):
                    pass
            assert refused.value.status == 429
        assert [command.text for command in await engine.list_commands()] == [
            in_own_shell("echo hi"),
            in_own_shell("cat"),
        ]
        with trio.fail_after(20):
            while (told := await http.get(ticket)).status_code == 429:
                await trio.sleep(0.02)
        assert "hi" in told.text


async def test_a_server_that_ends_says_so(engine: sessions.Engine) -> None:
    """Clients take a socket that closes without an exit code for a program that ended well."""
    told: dict[str, list[Any]] = {}

    async def read(port: int, path: str, name: str, *offered: str, task_status: trio.TaskStatus) -> None:
        async with websocket(port, path, [("Authorization", f"Bearer {TOKEN}")], offered) as socket:
            told[name] = [await socket.receive()]
            task_status.started()
            told[name] += await socket.rest()
        assert socket.closed is not None
        assert socket.closed[0] == 1001

    async with trio.open_nursery() as nursery:
        async with served(engine) as addresses, over_tcp(addresses, timeout=60) as http:
            computer = (await http.post(f"{API}/computers", json={"name": "c"})).json()["id"]
            path = f"{API}/computers/{computer}/exec/stream?command=" + quote("echo up; exec sleep 604")
            await nursery.start(read, port_of(addresses), path, "text")
            await nursery.start(read, port_of(addresses), path, "binary", "miosa-exec-v1")
    first, *said, last = [json.loads(frame) for frame in told["text"]]
    assert first == {"type": "stdout", "data": "up\n"}
    assert {frame["type"] for frame in said} == {"stderr"}
    assert last == {"type": "exit", "code": 137}
    first, *said, last = told["binary"]
    assert first == b"\x01up\n"
    assert {frame[:1] for frame in said} == {b"\x02"}
    assert last == b"\x03" + struct.pack(">I", 137)
    for command in await engine.list_commands():
        assert (await command.wait()).reason == "killed"
