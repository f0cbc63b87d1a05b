"""The door's terminals on the wire: the first frame, subprotocols, several clients, and how an end is told."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import trio
from conftest import leftovers
from daytona_wire import Wire, open_test_wire  # noqa: F401
from websocket_client import Refused, WebSocketClient

import sessions

EXIT = "X-Daytona-Pty-Exit-Control"
CONNECTED = '{"type":"control","status":"connected"}'


def make(wire: Wire, name: str, query: str = "&cols=80&rows=24", tokens: tuple[str, ...] = (EXIT,)) -> Any:
    return wire.socket(f"{wire.toolbox}/process/pty/create-connect?id={name}{query}", tokens)


def join(wire: Wire, name: str, *tokens: str) -> Any:
    return wire.socket(f"{wire.toolbox}/process/pty/{name}/connect", tokens)


async def see(socket: WebSocketClient, text: bytes) -> bytes:
    """All that is drawn until this."""
    drawn = b""
    with trio.fail_after(30):
        while text not in drawn:
            frame = await socket.receive()
            assert isinstance(frame, bytes), frame
            drawn += frame
    return drawn


async def end(socket: WebSocketClient) -> tuple[list[Any], int, Any]:
    """The messages at its end, the code and the reason of its close frame."""
    messages = [json.loads(frame) for frame in await socket.rest() if isinstance(frame, str)]
    assert socket.closed is not None
    code, reason = socket.closed
    return messages, code, json.loads(reason or "null")


async def test_a_terminal_is_made_and_used(wire: Wire) -> None:
    env = base64.urlsafe_b64encode(json.dumps({"PV": "a b"}).encode()).rstrip(b"=").decode()
    tokens = (f"X-Daytona-Pty-Envs~{env}", EXIT)
    async with make(wire, "p%2F1", "&cols=100&rows=30&cwd=%2Fusr", tokens) as socket:
        assert socket.subprotocol == EXIT
        assert await socket.receive() == CONNECTED
        await socket.send(b"stty -echo; PS1=; echo $PV $PWD $TERM; stty size\n")
        assert b"a b /usr xterm-256color" in await see(socket, b"30 100\r\n")
        info = await wire.ask("GET", f"{wire.toolbox}/process/pty/p%2F1")
        assert set(info) == {"id", "cwd", "envs", "cols", "rows", "createdAt", "active", "lazyStart"}
        assert (info["id"], info["cwd"], info["cols"], info["rows"], info["active"]) == ("p/1", "/usr", 100, 30, True)
        assert await wire.ask("GET", f"{wire.toolbox}/process/pty") == {"sessions": [info]}
        size = await wire.ask("POST", f"{wire.toolbox}/process/pty/p%2F1/resize", {"cols": 132, "rows": 40})
        assert (size["cols"], size["rows"]) == (132, 40)
        await wire.ask("POST", f"{wire.toolbox}/process/pty/p%2F1/resize", {"cols": 0, "rows": 40}, 400)
        await socket.send(b"stty size; exit 3\n")
        await see(socket, b"40 132")
        how = {"exitCode": 3, "exitReason": "non-zero exit"}
        assert await end(socket) == ([{"type": "control", "status": "exited", **how}], 1011, how)
    assert await wire.ask("GET", f"{wire.toolbox}/process/pty") == {"sessions": []}
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/resize")):
        await wire.ask(method, f"{wire.toolbox}/process/pty/p%2F1{path}", {"cols": 80, "rows": 24}, 404)


async def test_several_clients_and_ends_without_the_token(wire: Wire) -> None:
    async with make(wire, "p") as first:
        assert await first.receive() == CONNECTED
        await first.send(b"stty -echo; PS1=; echo o$((0))n\n")
        await see(first, b"o0n")
        async with join(wire, "p") as second, join(wire, "p", EXIT) as third:
            assert (second.subprotocol, third.subprotocol) == (None, EXIT)
            assert await second.receive() == await third.receive() == CONNECTED
            await second.send(b"echo $((6 * 7))\n")
            assert b"o0n" not in await see(second, b"42\r\n")
            await see(first, b"42\r\n")
            async with join(wire, "p") as fourth:
                assert await fourth.receive() == CONNECTED
            await third.send(b"exit\n")
            assert await end(second) == ([], 1000, {"exitCode": 0})
            told = [{"type": "control", "status": "exited", "exitCode": 0}]
            assert await end(third) == (told, 1000, {"exitCode": 0})
        assert (await end(first))[1] == 1000


async def test_a_terminal_outlives_its_clients_and_is_killed(wire: Wire, engine: sessions.Engine) -> None:
    async with make(wire, "p") as socket:
        assert await socket.receive() == CONNECTED
        await socket.send(b"trap '' HUP TERM; echo o$((0))n; sleep 600 & sleep 600\n")
        await see(socket, b"o0n")
    async with join(wire, "p", EXIT) as socket:
        assert await socket.receive() == CONNECTED
        assert "message" in await wire.ask("DELETE", f"{wire.toolbox}/process/pty/p")
        how = {"exitCode": 137, "exitReason": "SIGKILL"}
        assert await end(socket) == ([{"type": "control", "status": "exited", **how}], 1011, how)
    await wire.ask("DELETE", f"{wire.toolbox}/process/pty/p", status=404)
    found = await engine.list_sessions(labels={"space": wire.sandbox, "terminal": "p"})
    assert leftovers({session.id for session in found}) == []


async def test_what_is_refused(wire: Wire) -> None:
    async with make(wire, "p"):
        for name, query, status in (("p", "", 409), ("", "", 400), ("q", "&cols=x", 400), ("q", "&rows=0", 400)):
            with pytest.raises(Refused) as refused:
                async with make(wire, name, query):
                    pass
            assert refused.value.status == status
        with pytest.raises(Refused) as refused:
            async with make(wire, "q", "", ("X-Daytona-Pty-Envs~!!", EXIT)):
                pass
        assert refused.value.status == 400
        async with join(wire, "nobody", EXIT) as socket:
            assert socket.subprotocol == EXIT
            (message,) = await socket.rest()
            assert json.loads(message)["status"] == "error"
            assert "nobody" in json.loads(message)["error"]


async def test_a_terminal_made_over_http_shows_its_beginning(wire: Wire) -> None:
    asked = {"id": "p", "cwd": "/", "envs": {"PS1": "ready> "}, "cols": 90, "rows": 20, "lazyStart": True}
    assert await wire.ask("POST", f"{wire.toolbox}/process/pty", asked, 201) == {"sessionId": "p"}
    await wire.ask("POST", f"{wire.toolbox}/process/pty", asked, 409)
    (info,) = (await wire.ask("GET", f"{wire.toolbox}/process/pty"))["sessions"]
    assert (info["cwd"], info["cols"], info["rows"]) == ("/", 90, 20)
    async with join(wire, "p") as socket:
        assert await socket.receive() == CONNECTED
        await socket.send(b"exit\n")
        assert (await end(socket))[1] == 1000


async def test_a_deleted_sandbox_ends_its_terminals(wire: Wire, engine: sessions.Engine) -> None:
    async with make(wire, "p") as socket:
        assert await socket.receive() == CONNECTED
        await wire.ask("DELETE", f"/daytona/api/sandbox/{wire.sandbox}")
        assert (await end(socket))[0][0]["exitCode"] == 137
    found = await engine.list_sessions(labels={"space": wire.sandbox})
    assert leftovers({session.id for session in found}) == []


async def test_a_paused_sandbox_pauses_its_terminals(wire: Wire, engine: sessions.Engine) -> None:
    async with make(wire, "p") as socket:
        assert await socket.receive() == CONNECTED
        await socket.send(b"echo o$((0))n\n")
        await see(socket, b"o0n")
        await wire.ask("POST", f"/daytona/api/sandbox/{wire.sandbox}/pause")
        found = await engine.list_sessions(labels={"space": wire.sandbox, "terminal": "p"})
        assert {process.status() for process in leftovers({session.id for session in found})} == {"stopped"}
        await wire.ask("POST", f"/daytona/api/sandbox/{wire.sandbox}/start")
        await socket.send(b"echo $((6 * 7))\n")
        await see(socket, b"42")


async def test_keys_do_not_stop_pings(wire: Wire) -> None:
    """A program that does not read what is typed; its client still lives."""
    async with make(wire, "p") as socket:
        assert await socket.receive() == CONNECTED
        await socket.send(b"stty raw -echo; echo o$((0))n; exec sleep 600\n")
        await see(socket, b"o0n")
        for _ in range(20):
            await socket.send(b"x" * 60_000)
        with trio.fail_after(10):
            await socket.ping()
