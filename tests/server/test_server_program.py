"""A server as a process of its own: how it begins, what it leaves when it is told to end, and when it is not."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
import psutil
import pytest
import trio
from httpx_sse import aconnect_sse
from served import over_unix

from sessions.server.listening import Addresses

PROGRAM = """
import json, sys
from sessions import Limits
from sessions.server.limits import ServerLimits
from sessions.server.running import serve_root

def ready(addresses):
    print(json.dumps({"urls": addresses.urls, "unix": str(addresses.unix)}), flush=True)

options = json.loads(sys.argv[2])
server_limits = ServerLimits(**options.pop("server_limits", {}))
serve_root(sys.argv[1], ready=ready, limits=Limits(kill_grace_seconds=1.0), server_limits=server_limits, **options)
"""


@attrs.define
class Program:
    process: trio.Process
    addresses: Addresses
    log: Path

    async def end(self, number: int = signal.SIGTERM) -> int:
        """The exit code."""
        self.process.send_signal(number)
        with trio.fail_after(30):
            return await self.process.wait()


async def start(
    root: Path, *, before: tuple[str, ...] = (), env: dict[str, str] | None = None, **options: Any
) -> Program:
    """A server that is up."""
    log = root.parent / f"log{len(list(root.parent.iterdir()))}"
    argv = [*before, sys.executable, "-c", PROGRAM, str(root), json.dumps(options)]
    with log.open("wb") as file:
        process = await trio.lowlevel.open_process(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=file, env={**os.environ, **(env or {})}
        )
    assert process.stdout is not None
    told = b""
    with trio.fail_after(30):
        while not told.endswith(b"\n"):
            piece = await process.stdout.receive_some()
            assert piece, log.read_text()
            told += piece
    facts = json.loads(told)
    return Program(process, Addresses(facts["urls"], Path(facts["unix"])), log)


@asynccontextmanager
async def running(root: Path, **options: Any) -> AsyncIterator[Program]:
    """A server for the block; killed after it, if it is still there."""
    program = await start(root, **options)
    try:
        yield program
    finally:
        with trio.CancelScope(shield=True):
            if program.process.returncode is None:
                program.process.kill()
            await program.process.wait()
            assert program.process.stdout is not None
            await program.process.stdout.aclose()


async def create(client: httpx.AsyncClient, name: str = "test") -> str:
    answer = await client.post("/v1/sessions", json={"name": name})
    assert answer.status_code == 201, answer.text
    session_id: str = answer.json()["id"]
    return session_id


async def submit(client: httpx.AsyncClient, text: str, **options: Any) -> dict[str, Any]:
    answer = await client.post("/v1/sessions/test/commands", json={"command": text, **options}, timeout=60)
    assert answer.status_code in (200, 202), answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_told_to_end(root: Path, number: int, processes_of: Callable[[set[str]], list[psutil.Process]]) -> None:
    """Twenty commands run, half of them deaf to SIGTERM, and all are followed: followers see the ends, nothing is left."""
    ends: dict[str, str] = {}
    waited: list[dict[str, Any]] = []
    async with running(root) as program, over_unix(program.addresses) as client:
        session_id = await create(client)
        texts = [f"{'trap true TERM;' if n % 2 else ''} echo begun; while :; do sleep 0.1; done" for n in range(20)]
        commands = [(await submit(client, text, run_async=True))["id"] for text in texts]
        async with trio.open_nursery() as nursery:

            async def follow(command_id: str, task_status: trio.TaskStatus[None]) -> None:
                path = f"/v1/commands/{command_id}/follow"
                async with over_unix(program.addresses) as own, aconnect_sse(own, "GET", path, timeout=60) as source:
                    async for event in source.aiter_sse():
                        if event.event == "stdout":
                            task_status.started()
                        ends[command_id] = event.event
                        if event.event == "end":
                            assert json.loads(event.data)["reason"] == "session_closed"

            async def wait() -> None:
                async with over_unix(program.addresses) as own:
                    waited.append(await submit(own, "sleep 60"))

            nursery.start_soon(wait)
            for command_id in commands:
                await nursery.start(follow, command_id)
            started = trio.current_time()
            assert await program.end(number) == 0
            # The grace is one second, and as much again is for the last words.
            assert trio.current_time() - started < 15
        assert waited[0]["reason"] == "session_closed"
    assert ends == dict.fromkeys(commands, "end")
    assert processes_of({session_id}) == []
    assert not (root / "serve.sock").exists()
    assert (root / "serve.lock").read_text() == ""
    log = program.log.read_text().splitlines()
    for line, said in zip(log, ("INFO serving", "ending all commands", "no longer serving"), strict=True):
        assert said in line


async def test_told_to_end_while_a_feed_is_open(root: Path) -> None:
    """What has no end of its own is told that the server closes, and is not waited for."""
    limits = {"stop_seconds": 600}
    async with running(root, server_limits=limits) as program, over_unix(program.addresses) as client:
        await create(client)
        async with aconnect_sse(client, "GET", "/v1/events?after=0", timeout=60) as source:
            events = source.aiter_sse()
            assert (await anext(events)).event == "session_created"
            program.process.terminate()
            with trio.fail_after(30):
                rest = [event.event async for event in events]
        assert rest == ["session_closed", "error"]
        with trio.fail_after(30):
            assert await program.process.wait() == 0


async def test_killed_server_leaves_nothing_in_the_way(root: Path) -> None:
    async with running(root) as program, over_unix(program.addresses) as client:
        await create(client)
        command_id = (await submit(client, "sleep 60", run_async=True))["id"]
        assert await program.end(signal.SIGKILL) == -signal.SIGKILL
    assert (root / "serve.sock").is_socket()
    assert str(program.process.pid) in (root / "serve.lock").read_text()
    async with running(root) as program, over_unix(program.addresses) as client:
        answer = (await client.get(f"/v1/commands/{command_id}")).json()
        assert (answer["state"], answer["reason"], answer["exit_code"]) == ("finished", "lost", None)
        assert await program.end() == 0


async def test_second_program_on_one_root(root: Path) -> None:
    async with running(root) as program:
        argv = [sys.executable, "-c", PROGRAM, str(root), "{}"]
        second = await trio.run_process(argv, capture_stdout=True, capture_stderr=True, check=False)
        assert second.returncode != 0
        assert f"by process {program.process.pid} at {root}/serve.sock".encode() in second.stderr
        async with over_unix(program.addresses) as client:
            assert (await client.get("/v1/health")).status_code == 200
        assert await program.end() == 0


async def test_token_stays_out_of_commands_and_log(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-a-file\n")
    for options in ({"token_file": str(tmp_path / "secret")}, {"env": {"SESSIONS_TOKEN": "from-outside"}}):
        token = "from-a-file" if "token_file" in options else "from-outside"
        async with running(root, bind=["127.0.0.1:0"], **options) as program:
            headers = {"Authorization": f"Bearer {token}"}
            async with httpx.AsyncClient(base_url=program.addresses.urls[0], headers=headers) as client:
                await create(client)
                assert token not in (await submit(client, "env"))["output"]
            assert await program.end() == 0
        assert token not in program.log.read_text()
        assert not (root / "token").exists()


def can_unshare() -> bool:
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "ps"))):
        return False
    return subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not can_unshare(), reason="no root, no unshare, nsenter or ps: the server as PID 1 is NOT TESTED")
async def test_pid_one_leaves_no_zombies(root: Path) -> None:
    """Orphans of those that the engine knows nothing of come to PID 1, as in a container."""
    async with running(root, before=("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")) as program:
        async with over_unix(program.addresses) as client:
            await create(client)
            # Who enters from outside (docker exec) is no descendant of the engine's keeper.
            first = psutil.Process(program.process.pid).children()[0]
            enter = ["nsenter", "--target", str(first.pid), "--pid", "--mount"]
            orphans = (
                "for n in 1 2 3 4 5; do (sh -c 'sleep 0.1 & exec true' &); done; sleep 0.5; ps -eo pid,ppid,stat,comm"
            )
            seen = await trio.run_process([*enter, "sh", "-c", orphans], capture_stdout=True)
            assert b"sleep" not in seen.stdout, seen.stdout.decode()
            found = await submit(client, "(sleep 0.1 &) ; sleep 0.3; cat /proc/[0-9]*/stat")
            assert found["output"].startswith("1 (python"), found
            assert ") Z " not in found["output"]
        started = trio.current_time()
        first.send_signal(signal.SIGTERM)
        with trio.fail_after(30):
            assert await program.process.wait() == 0
        assert trio.current_time() - started < 15
    assert "no longer serving" in program.log.read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is NOT INSTALLED")
@pytest.mark.parametrize("manager", ["--user", "--system"])
async def test_units_of_the_documentation(tmp_path: Path, manager: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / "service.md").read_text()
    units = re.findall(r"```ini\n(.*?)```", text, re.DOTALL)
    (unit,) = (unit for unit in units if ("User=" in unit) == (manager == "--system"))
    unit = re.sub(r"(?m)^ExecStart=\S+", f"ExecStart={sys.executable}", unit)
    environ = {**os.environ, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    for name, wrong in (("sessions.service", ""), ("wrong.service", "NoSuchSetting=1\n")):
        (tmp_path / name).write_text(unit.replace("[Install]", f"{wrong}[Install]"))
        asked = ["systemd-analyze", manager, "verify", str(tmp_path / name)]
        done = await trio.run_process(asked, env=environ, capture_stdout=True, capture_stderr=True, check=False)
        complaints = [line for line in done.stderr.decode().splitlines() if name in line]
        assert bool(complaints) == bool(wrong), done.stderr
