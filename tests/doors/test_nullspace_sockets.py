"""The door's WebSockets, message by message: commands both ways, several on one socket, and how it all ends."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from conftest import open_descriptors
from left_behind import named
from nullspace_wire import API, Channel, Wire, open_test_wire, open_wire  # noqa: F401
from websocket_client import Refused
from wsproto.events import BytesMessage, CloseConnection, TextMessage

import sessions
from sessions.doors.fields import Fields
from sessions.doors.nullspace import channel as nullspace_channel


async def until_exit(channel: Channel, id: str) -> tuple[int, str, str]:
    """The exit code and the texts of one command, from its start on."""
    started = await channel.expect("exec_started")
    texts = {"exec_stdout": "", "exec_stderr": ""}
    with trio.fail_after(30):
        while True:
            message = await channel.receive()
            assert (message["id"], message["pid"]) == (id, started["pid"])
            if message["type"] == "exec_exit":
                return message["exit_code"], texts["exec_stdout"], texts["exec_stderr"]
            texts[message["type"]] += message["data"]


WAITS = "until test -e go; do sleep 0.02; done; wc -c"
"""A program that begins to read when it is told to."""


async def count_input(wire: Wire, pid: int) -> str:
    """Let that program read, and return what it has counted once it has ended."""
    await wire.run("touch go")
    with trio.fail_after(30):
        while (logs := await wire.ask("GET", f"{wire.path}/processes/{pid}/logs"))["exit_code"] is None:
            await trio.sleep(0.02)
    return str(logs["stdout"]).strip()


async def test_a_command_both_ways(wire: Wire) -> None:
    async with wire.channel() as channel:
        fields = {
            "command": "echo $A >&2; cat; exit 4",
            "args": [],
            "timeout_secs": 30,
            "envs": {"A": "x"},
            "shell": True,
        }
        await channel.send("exec_start", id="exec_1234567890", **fields)
        assert await channel.expect("exec_started") == {"type": "exec_started", "id": "exec_1234567890", "pid": 1}
        assert (await channel.expect("exec_stderr"))["data"] == "x\n"
        await channel.send("exec_stdin", id="exec_1234567890", pid=1, data="größe\n")
        assert (await channel.expect("exec_stdout"))["data"] == "größe\n"
        await channel.send("exec_stdin_close", id="exec_1234567890")
        assert (await channel.expect("exec_exit"))["exit_code"] == 4
        logs = await wire.ask("GET", f"{wire.path}/processes/1/logs")
        assert logs["exit_code"] == 4
        assert await channel.rest() == []


@pytest.mark.parametrize("named", [{"id": "a"}, {"pid": 1}, {"id": "other", "pid": 1}])
async def test_a_command_is_killed(wire: Wire, named: dict[str, Any]) -> None:
    async with wire.channel() as channel:
        await channel.send("exec_start", id="a", command="echo up; trap '' TERM; sleep 600 & sleep 600", shell=True)
        await channel.expect("exec_started")
        await channel.expect("exec_stdout")
        await channel.send("exec_kill", **named)
        assert (await channel.expect("exec_exit"))["exit_code"] == 137


async def test_a_killed_command_leaves_nothing(wire: Wire, engine: sessions.Engine) -> None:
    async with wire.channel() as channel:
        await channel.send(
            "exec_start", id="a", command="trap '' TERM; setsid sleep 600 & echo up; sleep 600", shell=True
        )
        await channel.expect("exec_started")
        await channel.expect("exec_stdout")
        await channel.send("exec_kill", id="a")
        await channel.expect("exec_exit")
        (session,) = await engine.list_sessions(labels={"space": wire.machine})
        assert named("sleep", session.id) == []


async def test_several_commands_on_one_socket(wire: Wire) -> None:
    async with wire.channel() as channel:
        for name in "ab":
            await channel.send("exec_start", id=name, command="read x; echo $x; exit 3", shell=True)
        pids = {message["id"]: message["pid"] for message in [await channel.receive(), await channel.receive()]}
        await channel.send("exec_stdin", id="b", pid=pids["b"], data="to b\n")
        assert (await channel.expect("exec_stdout"))["data"] == "to b\n"
        assert (await channel.expect("exec_exit"))["id"] == "b"
        await channel.send("exec_stdin", id="a", pid=pids["a"], data="to a\n")
        assert (await channel.expect("exec_stdout"))["id"] == "a"
        assert (await channel.expect("exec_exit"))["id"] == "a"
        await channel.send("exec_start", id="c", command="echo", args=["again"])
        assert await until_exit(channel, "c") == (0, "again\n", "")
        assert await channel.rest() == []


async def test_a_command_is_joined(wire: Wire) -> None:
    path = await wire.start("echo early; read x; echo late; exit 7")
    pid = int(path.rpartition("/")[2])
    async with wire.channel() as first, wire.channel() as second:
        for channel in (first, second):
            await channel.send("exec_connect", id="j", pid=pid)
            assert (await channel.expect("exec_started"))["pid"] == pid
            assert (await channel.expect("exec_stdout"))["data"] == "early\n"
        await second.send("exec_stdin", id="j", pid=pid, data="\n")
        for channel in (first, second):
            assert (await channel.expect("exec_stdout"))["data"] == "late\n"
            assert (await channel.expect("exec_exit"))["exit_code"] == 7
    async with wire.channel() as channel:
        await channel.send("exec_connect", id="k", pid=pid)
        assert await until_exit(channel, "k") == (7, "early\nlate\n", "")


@pytest.mark.parametrize(("id", "code"), [("exec_140056176938512", 124), ("anything", 124), ("exec_90adcc8f", 0)])
async def test_timeouts_are_for_those_who_wait(wire: Wire, id: str, code: int) -> None:
    async with wire.channel() as channel:
        text = "echo before; trap '' TERM; read -t 1.6 x; exit 0"
        await channel.send("exec_start", id=id, command=text, timeout_secs=1, shell=True)
        assert await until_exit(channel, id) == (code, "before\n", "")


async def test_what_is_wrong_is_answered_and_the_socket_goes_on(wire: Wire) -> None:
    async with wire.channel() as channel:
        await channel.socket._send(TextMessage(data="nonsense"))
        assert (await channel.expect("error"))["id"] == ""
        await channel.socket._send(BytesMessage(data=b'{"type":"exec_start","id":"bytes","command":"true"}'))
        assert await until_exit(channel, "bytes") == (0, "", "")
        for kind, fields, code in (
            ("nothing", {}, "invalid_request"),
            ("exec_start", {}, "invalid_request"),
            ("exec_start", {"command": "x", "shell": True, "args": ["y"]}, "invalid_request"),
            ("exec_start", {"command": "x", "timeout_secs": "1"}, "invalid_request"),
            ("exec_connect", {"pid": 99}, "process_not_found"),
            ("exec_connect", {}, "invalid_request"),
            ("exec_stdin", {"pid": 99, "data": "x"}, "process_not_found"),
            ("exec_kill", {"pid": "1"}, "invalid_request"),
        ):
            await channel.send(kind, id="e", **fields)
            error = await channel.expect("error")
            assert (error["id"], error["code"]) == ("e", code), (kind, fields)
            assert error["message"]
        await channel.send("exec_start", id="\ud800", command="true")
        assert await until_exit(channel, "\ud800") == (0, "", "")
        await channel.send("exec_start", id="f", command="nosuch")
        code, _, err = await until_exit(channel, "f")
        assert code == 127
        assert "nosuch" in err


async def test_messages_fit_into_what_clients_take(wire: Wire) -> None:
    async with wire.channel() as channel:
        writer = "import os; os.write(1, bytes(1 << 20)); os.write(1, '😀'.encode() * 300_000)"
        await channel.send("exec_start", id="a", command="python3", args=["-c", writer])
        assert await until_exit(channel, "a") == (0, "\0" * (1 << 20) + "😀" * 300_000, "")


async def test_a_long_command_is_taken(wire: Wire) -> None:
    async with wire.channel() as channel:
        await channel.send("exec_start", id="a", command="echo " + "x" * 200_000, shell=True)
        assert await until_exit(channel, "a") == (0, "x" * 200_000 + "\n", "")


async def test_input_that_nobody_reads_holds_up_nothing(wire: Wire) -> None:
    async with wire.channel() as channel:
        await channel.send("exec_start", id="a", command="echo up; exec sleep 600", shell=True)
        await channel.expect("exec_started")
        await channel.expect("exec_stdout")
        with trio.fail_after(30):
            for _ in range(300):
                await channel.send("exec_stdin", id="a", data="x" * 60_000)
            await channel.socket.ping()
            await channel.send("exec_kill", id="a")
            assert (await channel.expect("exec_exit"))["exit_code"] == 137


async def test_a_client_that_is_far_ahead_waits(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """And goes on when its input has been read, of which nothing is lost."""
    monkeypatch.setattr(nullspace_channel, "INPUT_AHEAD", 100_000)
    id = "exec_90adcc8f"
    async with wire.channel() as channel, trio.open_nursery() as nursery:
        await channel.send("exec_start", id=id, command=WAITS, shell=True)
        pid = (await channel.expect("exec_started"))["pid"]

        async def send_all() -> None:
            for _ in range(20):
                await channel.send("exec_stdin", id=id, data="x" * 60_000)
            await channel.send("exec_stdin_close", id=id)

        nursery.start_soon(send_all)
        assert await count_input(wire, pid) == "1200000"


async def test_no_more_waits_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """But a message that is larger than all that may wait does so alone."""
    monkeypatch.setattr(nullspace_channel, "INPUT_AHEAD", 100_000)
    call: Any = None
    socket: Any = None
    channel = nullspace_channel.Channel(call, socket)
    gates = [trio.Event() for _ in range(3)]
    taken: list[int] = []

    async def put_all() -> None:
        for number, size in enumerate((60_000, 30_000, 200_000)):
            await channel.put_in("p", Fields({}), size, gates[number].wait)
            taken.append(number)

    async with trio.open_nursery() as channel._putting:
        channel._putting.start_soon(put_all)
        for opened, expected in ((None, [0, 1]), (0, [0, 1]), (1, [0, 1, 2])):
            if opened is not None:
                gates[opened].set()
            await trio.testing.wait_all_tasks_blocked()
            assert taken == expected
        channel._putting.cancel_scope.cancel()


async def test_a_client_that_never_reads_holds_up_nobody(wire: Wire) -> None:
    async with wire.channel() as slow, wire.channel() as fast:
        await slow.send("exec_start", id="s", command="yes | head -c 20000000; echo end", shell=True)
        await fast.send("exec_start", id="f", command="echo quick", shell=True)
        assert await until_exit(fast, "f") == (0, "quick\n", "")
        with trio.fail_after(30):
            while (await wire.ask("GET", f"{wire.path}/processes"))[0]["running"]:
                await trio.sleep(0.05)
    assert (await wire.run("echo still"))["stdout"] == "still\n"


async def test_a_client_that_leaves_ends_nothing(wire: Wire) -> None:
    async with wire.channel() as channel:
        await channel.send("exec_start", id="a", command="echo up; read x; echo got $x", shell=True)
        await channel.expect("exec_started")
        await channel.expect("exec_stdout")
    await wire.ask("POST", f"{wire.path}/processes/1/stdin", {"data": "it\n"}, 204)
    with trio.fail_after(20):
        while (logs := await wire.ask("GET", f"{wire.path}/processes/1/logs"))["exit_code"] is None:
            await trio.sleep(0.02)
    assert (logs["exit_code"], logs["stdout"]) == (0, "up\ngot it\n")


async def test_input_outlives_its_client(wire: Wire) -> None:
    """What was sent is given to its program, and its end too, although the client has left by then."""
    async with wire.channel() as channel:
        await channel.send("exec_start", id="exec_90adcc8f", command=WAITS, shell=True)
        pid = (await channel.expect("exec_started"))["pid"]
        for _ in range(20):
            await channel.send("exec_stdin", id="exec_90adcc8f", data="x" * 60_000)
        await channel.send("exec_stdin_close", id="exec_90adcc8f")
        await channel.socket._send(CloseConnection(code=1000))
        assert await channel.receive() is None
    assert await count_input(wire, pid) == "1200000"


async def test_who_has_left_unread_input_holds_nothing(
    engine: sessions.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No place among the streams, no descriptor, and its machine rests."""
    monkeypatch.setattr("sessions.spaces.LOOK_SECONDS", 0.01)
    async with open_wire(engine, followers=1) as wire:
        asked = {"auto_resume": True, "inactivity_timeout_ms": 300, "timeout_action": "hibernate"}
        wire.machine = (await wire.ask("POST", API, asked, 201))["id"]
        await wire.run("true")  # so that its shell is there
        before = sockets()
        async with wire.channel() as channel:
            await channel.send("exec_start", id="exec_90adcc8f", command="echo up; exec sleep 600", shell=True)
            await channel.expect("exec_started")
            await channel.expect("exec_stdout")
            await channel.send("exec_stdin", id="exec_90adcc8f", data="x" * 300_000)
            await channel.socket._send(CloseConnection(code=1000))
            assert await channel.receive() is None
        with trio.fail_after(30):
            while sockets() > before or (await wire.ask("GET", wire.path))["status"] != "paused":
                await trio.sleep(0.02)
        async with wire.channel() as channel:
            await channel.send("exec_start", id="a", command="echo", args=["next"])
            assert await until_exit(channel, "a") == (0, "next\n", "")


def sockets() -> int:
    return len([name for name in open_descriptors() if " socket:" in name])


async def test_a_socket_stays_open_for_input(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that tells of nothing is not closed before the program has taken what it was given."""
    monkeypatch.setattr(nullspace_channel, "LINGER_SECONDS", 0.1)
    pid = int((await wire.start(WAITS)).rpartition("/")[2])
    async with wire.channel() as channel:
        for _ in range(20):
            await channel.send("exec_stdin", id="a", pid=pid, data="x" * 60_000)
        await channel.send("exec_stdin_close", id="a", pid=pid)
        with trio.move_on_after(0.5) as waiting:
            assert await channel.receive(), "closed before its input was taken"
        assert waiting.cancelled_caught
        assert await count_input(wire, pid) == "1200000"
        assert await channel.rest() == []


async def test_upgrades_are_refused(wire: Wire) -> None:
    async def status(**options: Any) -> int:
        with pytest.raises(Refused) as refused:
            async with wire.channel(**options):
                pass
        assert b'"code"' in refused.value.body
        return refused.value.status

    assert await status(machine="mch_nobody") == 404
    assert await status(token="wrong") == 401
    assert await status(name="nothing") == 400
    await wire.ask("POST", f"{wire.path}/hibernate")
    assert await status() == 409


async def test_a_destroyed_machine_tells_the_ends(wire: Wire) -> None:
    async with wire.channel() as channel:
        await channel.send("exec_start", id="a", command="sleep", args=["600"])
        await channel.expect("exec_started")
        await wire.ask("DELETE", wire.path, status=204)
        assert (await channel.expect("exec_exit"))["exit_code"] == 137
        assert await channel.rest() == []


async def test_a_server_that_ends_never_says_that_all_is_well(engine: sessions.Engine) -> None:
    stop = trio.Event()

    async def serve(task_status: trio.TaskStatus[Wire]) -> None:
        async with open_wire(engine) as wire:
            task_status.started(wire)
            await stop.wait()

    async with trio.open_nursery() as nursery:
        wire = await nursery.start(serve)
        async with wire.channel() as channel:
            await channel.send("exec_start", id="a", command="sleep", args=["600"])
            await channel.expect("exec_started")
            stop.set()
            assert await channel.receive() is None
            assert channel.socket.closed is not None
            assert channel.socket.closed[0] == 1011
