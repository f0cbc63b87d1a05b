"""The door and the life of its server: what outlives it, who is told of its end, and how long it waits."""

from __future__ import annotations

import json
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from conftest import leftovers
from daytona_wire import Wire, open_test_wire, open_wire  # noqa: F401
from sdk_runs import BOTH, CHECKS, Sdk, run, side_by_side
from server_process import TOKEN, ServerProcess, server_process

import sessions
from sessions import spaces
from sessions.cli.env import SYSTEMS
from sessions.doors.daytona import sandboxes

SDK = Sdk("daytona")
API = "/daytona/api"


def run_all(server: ServerProcess, place: Path, part: str) -> dict[str, Any]:
    """What the clients tell, by their kind."""
    variables = SYSTEMS["daytona"](server.http, TOKEN)

    def run_one(kind: str) -> str:
        done = run([SDK.python, CHECKS / "daytona_ending.py", kind, part], variables, place)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    printed = side_by_side(*[partial(run_one, kind) for kind in BOTH])
    return {kind: json.loads(text) for kind, text in zip(BOTH, printed, strict=True)}


def end_when_all_wait(server: ServerProcess, place: Path) -> dict[str, Any]:
    until = time.monotonic() + 60
    while len(list(place.glob("* is ready"))) < len(BOTH):
        assert time.monotonic() < until
        time.sleep(0.02)
    server.process.send_signal(signal.SIGTERM)
    return {}


@SDK.needs_python
def test_clients_are_told_that_the_server_ends_and_find_their_sandbox_at_the_next(tmp_path: Path) -> None:
    """An answer that did not come would be asked for again, and run twice."""
    root = tmp_path / "root"
    with server_process(root) as server:
        told, _ = side_by_side(
            partial(run_all, server, tmp_path, "before"), partial(end_when_all_wait, server, tmp_path)
        )
    for kind in BOTH:
        found = told[kind]
        assert found["waited"] == ["DaytonaSessionEndedError", 410, "SESSION_ENDED", "DAYTONA_DAEMON"]
        assert found["followed"] == ["answered", "None", "once\n"]
    wanted = {"state": "started", "labels": "kept", "ran": "once\nme\n", "sessions": [], "again": "again\n"}
    with server_process(root) as server:
        assert run_all(server, tmp_path, "after") == dict.fromkeys(BOTH, wanted)
    assert list((root / "spaces").iterdir()) == []


async def test_no_limit_of_the_server_cuts_one_who_waits(engine: sessions.Engine) -> None:
    limits = {"idle_seconds": 0.1, "header_seconds": 1.0, "body_seconds": 0.1, "heartbeat_seconds": 0.1}
    async with open_wire(engine, **limits) as wire:
        path = await wire.start("echo on; sleep 2; echo late")
        async with wire.socket(f"{path}/logs?follow=true") as socket:
            assert (await wire.run("echo then"))["stdout"] == "then\n"
            assert b"".join([frame for frame in await socket.rest() if isinstance(frame, bytes)]) == (
                b"\1\1\1on\n\1\1\1late\n"
            )


async def test_a_sandbox_is_as_it_was_at_the_next_server(engine: sessions.Engine) -> None:
    asked = {
        "name": "kept",
        "env": {"A": "1"},
        "labels": {"t": "x"},
        "cpu": 2,
        "snapshot": "snap",
        "autoStopInterval": 7,
    }
    async with open_wire(engine) as wire:
        made = await wire.ask("POST", f"{API}/sandbox", asked)
        await wire.ask("POST", f"{wire.toolbox}/process/execute", {"command": "echo here >file"})
        await wire.ask("POST", f"{API}/sandbox/kept/stop")
        first = wire.sandbox
    async with open_wire(engine) as wire:
        url = str(wire.http.base_url).rstrip("/") + "/daytona/toolbox"
        found = await wire.ask("GET", f"{API}/sandbox/kept")
        changed = ("state", "desiredState", "updatedAt", "toolboxProxyUrl")
        assert {**found, **dict.fromkeys(changed)} == {**made, **dict.fromkeys(changed)}
        assert (found["state"], found["toolboxProxyUrl"]) == ("stopped", url)
        await wire.ask("POST", f"{API}/sandbox", {"name": "kept"}, 409)
        wire.sandbox = first
        await wire.ask("GET", wire.session, status=404)
        found = await wire.ask("POST", f"{wire.toolbox}/process/execute", {"command": "cat file"})
        assert found["result"] == "here\n"


@pytest.mark.parametrize(("minutes", "seconds"), [(7, 420.0), (0, None), (None, None), (-1, None)])
async def test_timers_are_minutes(
    wire: Wire, engine: sessions.Engine, minutes: int | None, seconds: float | None
) -> None:
    made = await wire.ask("POST", f"{API}/sandbox", {"autoStopInterval": minutes})
    table = engine.workshop.catalog.spaces()
    info = table.find("daytona", made["id"])
    assert info is not None
    assert (info.stop_after, info.delete_after) == (seconds, None)
    if minutes is not None and minutes >= 0:
        shown = await wire.ask("POST", f"{API}/sandbox/{wire.sandbox}/autodelete/{minutes}")
        info = table.find("daytona", wire.sandbox)
        assert info is not None
        assert (shown["autoDeleteInterval"], info.delete_after) == (minutes, minutes * 60.0)


async def test_a_sandbox_that_nobody_uses_is_stopped(
    wire: Wire, engine: sessions.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who follows a log uses it, however silent that is; what merely runs does not."""
    monkeypatch.setattr(spaces, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(sandboxes, "stop_after", lambda minutes: minutes and minutes / 100)
    path = await wire.start("sleep 600")
    sandbox = f"{API}/sandbox/{wire.sandbox}"
    async with wire.socket(f"{path}/logs?follow=true"):
        await wire.ask("POST", f"{sandbox}/autostop/1")
        await trio.sleep(1.3)  # more than a look that was begun before
        assert (await wire.ask("GET", sandbox))["state"] == "started"
    with trio.fail_after(30):
        while (await wire.ask("GET", sandbox))["state"] != "stopped":
            await trio.sleep(0.02)
        command = await (await engine.get_command(path.rpartition("/")[2])).wait()
    assert command.reason == "session_closed"


async def leave(wire: Wire, engine: sessions.Engine, path: str, body: dict[str, Any]) -> sessions.Command:
    """Ask, and go when the command that this is about has something in its log."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wire.ask, "POST", f"{wire.toolbox}/process/{path}", body)
        with trio.fail_after(30):
            while not (found := [one for one in await engine.list_commands(state="running") if one.size_bytes]):
                await trio.sleep(0.02)
        nursery.cancel_scope.cancel()
    return found[0]


@pytest.mark.parametrize("path", ["session/s/exec", "execute", "input"])
async def test_who_has_gone_uses_nothing(
    wire: Wire, engine: sessions.Engine, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(spaces, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(sandboxes, "stop_after", lambda minutes: minutes and minutes / 100)
    body = {"command": "echo on; sleep 600"}
    if path == "input":
        deaf = (await wire.start("sleep 600")).rpartition("/")[2]
        path, body = f"session/s/command/{deaf}/input", {"data": "x" * 300_000}
    await leave(wire, engine, path, body)
    sandbox = f"{API}/sandbox/{wire.sandbox}"
    await wire.ask("POST", f"{sandbox}/autostop/1")
    with trio.fail_after(30):
        while (await wire.ask("GET", sandbox))["state"] != "stopped":
            await trio.sleep(0.02)


async def test_a_time_limit_outlives_who_has_set_it(wire: Wire, engine: sessions.Engine) -> None:
    command = await leave(wire, engine, "execute", {"command": "echo on; sleep 600", "timeout": 1})
    with trio.fail_after(30):
        assert (await command.wait()).reason in ("timeout", "killed")


async def test_an_ephemeral_sandbox_survives_a_pause(
    wire: Wire, engine: sessions.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is deleted when it is stopped. What is paused is to go on."""
    monkeypatch.setattr(spaces, "LOOK_SECONDS", 0.01)
    sandbox = f"{API}/sandbox/{wire.sandbox}"
    await wire.ask("POST", f"{sandbox}/autodelete/0")
    path = await wire.start("sleep 600")
    await wire.ask("POST", f"{sandbox}/pause")
    await trio.sleep(1.3)  # more than a look that was begun before
    assert (await wire.ask("GET", sandbox))["state"] == "paused"
    await wire.ask("POST", f"{sandbox}/start")
    assert "exitCode" not in await wire.ask("GET", path)
    await wire.ask("POST", f"{sandbox}/stop")
    with trio.fail_after(30):
        while (Path(engine.root) / "spaces" / wire.sandbox).exists():
            await trio.sleep(0.02)
    await wire.ask("GET", sandbox, status=404)


async def test_who_stops_what_is_about_to_stop_is_answered_when_it_has(wire: Wire, engine: sessions.Engine) -> None:
    sandbox = f"{API}/sandbox/{wire.sandbox}"
    path = await wire.start("trap '' TERM; echo on; sleep 600 & sleep 600")
    async with wire.socket(f"{path}/logs?follow=true") as socket:
        assert await socket.receive() == b"\1\1\1on\n"
    (session,) = await engine.list_sessions(labels={"session": "s"})
    left: list[object] = []

    async def stop() -> None:
        assert (await wire.ask("POST", f"{sandbox}/stop"))["state"] == "stopped"
        left.extend(leftovers({session.id}))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop)
        while (await wire.ask("GET", sandbox))["state"] == "started":
            await trio.sleep(0.01)
        nursery.start_soon(stop)
    assert left == []
