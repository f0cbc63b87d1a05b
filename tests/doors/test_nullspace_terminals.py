"""Terminals of the door on the wire, message by message."""

from __future__ import annotations

import base64
import sqlite3
from typing import Any

import pytest
import trio
from nullspace_wire import Channel, Wire, open_test_wire  # noqa: F401

import sessions
from sessions.store.spaces import SpaceTable


async def see(channel: Channel, text: bytes) -> bytes:
    drawn = b""
    with trio.fail_after(30):
        while text not in drawn:
            message = await channel.expect("pty_output")
            drawn += base64.b64decode(message["data_base64"])
    return drawn


async def behind_output(channel: Channel) -> Any:
    """The next message that is none of output."""
    with trio.fail_after(10):
        while (message := await channel.receive())["type"] == "pty_output":
            pass
    return message


async def test_a_terminal(wire: Wire) -> None:
    async with wire.channel("pty") as channel:
        await channel.send("pty_start", id="p", cols=90, rows=20, envs={"PS1": "", "A": "größe"})
        started = await channel.expect("pty_started")
        session_id = started["session_id"]
        assert (started["id"], started["cols"], started["rows"]) == ("p", 90, 20)
        await channel.send("pty_input", id="p", session_id=session_id, data="stty -echo; echo $A; stty size\n")
        assert "größe\r\n".encode() in await see(channel, b"20 90\r\n")
        size = {"cols": 100, "rows": 30}
        await channel.send("pty_resize", id="p", session_id=session_id, **size)
        typed = base64.b64encode(b"stty size\n").decode()
        await channel.send("pty_input", id="p", session_id=session_id, data_base64=typed)
        await see(channel, b"30 100\r\n")
        (listed,) = await wire.ask("GET", f"{wire.path}/pty")
        assert listed == await wire.ask("GET", f"{wire.path}/pty/{session_id}")
        assert listed == {"session_id": session_id, "pid": started["pid"], "exec_id": started["exec_id"], **size}
        await wire.ask("POST", f"{wire.path}/pty/{session_id}/resize", {"cols": 0, "rows": 1}, 400)
        for fields in ({}, {"session_id": session_id, "pid": 1}, {"session_id": "nobody"}, {"pid": 999}):
            await channel.send("pty_connect", id="q", **fields)
            assert (await behind_output(channel))["id"] == "q"
        await channel.send("pty_input", id="p", data_base64="!")
        assert (await behind_output(channel))["type"] == "error"
        await channel.send("pty_kill", id="p", session_id=session_id)
        assert await behind_output(channel) == {
            "type": "pty_exited",
            "id": "p",
            "session_id": session_id,
            "exit_code": 137,
        }
        assert await channel.rest() == []
    assert await wire.ask("GET", f"{wire.path}/pty") == []


async def test_input_for_no_terminal_says_so(wire: Wire) -> None:
    async with wire.channel("pty") as channel:
        await channel.send("pty_input", id="p", data="x")
        assert await channel.expect("error") == {
            "type": "error",
            "id": "p",
            "message": "session_id is missing",
            "code": "invalid_request",
        }


async def test_a_terminal_that_gets_no_number_is_not_opened(
    wire: Wire, engine: sessions.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(table: SpaceTable, space_id: str) -> int:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(SpaceTable, "next_process", fail)
    async with wire.channel("pty") as channel:
        await channel.send("pty_start", id="p")
        error = await channel.expect("error")
        assert (error["id"], error["code"]) == ("p", "exec_failed")
        assert "database or disk is full" in error["message"]
    assert await engine.list_sessions(labels={"space": wire.machine}) == []


async def test_text_of_a_terminal_is_never_split(wire: Wire) -> None:
    async with wire.channel("pty") as channel:
        await channel.send("pty_start", id="p", envs={"PS1": ""})
        await channel.expect("pty_started")
        writer = r"stty -echo; for b in '\303' '\244' '\360' '\237' '\230' '\200'; do printf $b; sleep 0.05; done; exit"
        await channel.send("pty_input", id="p", data=writer + "\n")
        text, data = "", b""
        while (message := await channel.receive())["type"] == "pty_output":
            text += message["data"]
            data += base64.b64decode(message["data_base64"])
        assert message["exit_code"] == 0
        assert "ä😀" in text
        assert text == data.decode()
