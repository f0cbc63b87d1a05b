"""Checks of sandboxes and commands: ``python declaw_processes.py sync`` or ``async``."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

from declaw import SandboxLifecycle, SandboxQuery, SandboxState
from declaw_clients import Check, Client, run_checks, until


async def sandbox_lives_and_dies(client: Client) -> None:
    made = await client.create(template="python", metadata={"m": client.kind}, envs={"WHO": "me"}, timeout=100)
    assert made.sandbox_id.startswith("sbx-")
    assert len(made.sandbox_id) == 12
    again = await client.call(client.Sandbox.connect, made.sandbox_id)
    assert again.sandbox_id == made.sandbox_id
    info = await client.call(made.get_info)
    assert (info.sandbox_id, info.template_id, info.metadata) == (made.sandbox_id, "python", {"m": client.kind})
    assert info.state == SandboxState.RUNNING
    assert 99 < (info.end_at - info.started_at).total_seconds() < 101
    assert await client.call(made.is_running)
    assert (await client.run("echo $WHO; pwd", again)).stdout.startswith("me\n/")
    await client.call(made.set_timeout, 1000)
    assert (await client.call(made.get_info)).end_at > info.end_at
    assert await client.call(made.kill)
    assert not await client.call(made.is_running)
    assert not await client.call(made.kill, wait=True)
    assert not await client.call(client.Sandbox.kill_by_id, made.sandbox_id)
    error = await client.refused("SandboxException", made.get_info)
    assert (error.code, "HTTP 410" in str(error)) == ("sandbox_killed", True)
    await client.refused("NotFoundException", client.Sandbox.connect, "sbx-00000000")
    await client.refused("NotFoundException", client.Sandbox.kill_by_id, "sbx-00000000")


async def sandboxes_are_listed(client: Client) -> None:
    mark = {"list": client.kind}
    made = [await client.create(metadata=mark) for _ in range(3)]
    ids, token = [], ""
    while True:
        page = await client.call(client.Sandbox.list, SandboxQuery(metadata=mark), limit=2, next_token=token)
        ids += [item["sandbox_id"] for item in page["sandboxes"]]
        token = page["next_token"]
        if not token:
            break
    assert ids == [sandbox.sandbox_id for sandbox in made]
    await client.call(made[0].pause)
    query = SandboxQuery(metadata=mark, state=[SandboxState.PAUSED])
    assert len((await client.call(client.Sandbox.list, query))["sandboxes"]) == 1
    query = SandboxQuery(metadata=mark, state=[SandboxState.PAUSED, SandboxState.LIVE])
    assert len((await client.call(client.Sandbox.list, query))["sandboxes"]) == 3
    wanted = [*ids, "sbx-00000000"]
    results = await client.call(client.Sandbox.kill_many, wanted, wait=True)
    assert [results[name] for name in ids] == [{"killed": True}] * 3
    assert "sbx-00000000" in results["sbx-00000000"]["error"]
    assert (await client.call(client.Sandbox.list, SandboxQuery(metadata=mark)))["sandboxes"] == []


async def sandboxes_are_killed_by_their_ids(client: Client) -> None:
    ids = [(await client.create(timeout=100)).sandbox_id for _ in range(3)]
    again = await client.call(client.Sandbox.connect, ids[0], timeout=1000)
    info = await client.call(again.get_info)
    assert (info.end_at - info.started_at).total_seconds() > 999
    assert await client.call(client.Sandbox.kill_by_id, ids[0])
    assert await client.call(client.Sandbox.kill_by_id, ids[1], wait=True)
    results = await client.call(client.Sandbox.kill_many, ids)
    assert [results[id] for id in ids] == [{"queued": False}, {"queued": False}, {"queued": True}]
    assert not await client.call(again.is_running)


async def options_that_mean_nothing_here_are_taken(client: Client) -> None:
    for options in ({"network": {"deny_out": ["0.0.0.0/0"]}, "secure": False}, {"allow_internet_access": False}):
        made = await client.create(**options)
        assert (await client.run("echo x", made)).stdout == "x\n"
        await client.call(made.kill)


async def sandbox_is_paused_and_resumed(client: Client) -> None:
    made = await client.create()
    handle = await client.run("sleep 0.3; echo done", made, background=True)
    await client.call(made.pause)
    assert (await client.call(made.get_info)).state == SandboxState.PAUSED
    assert not await client.call(made.is_running)
    error = await client.refused("ConflictException", client.method("run", "run_command", made), "true")
    assert error.code == "sandbox_paused"
    if client.kind == "sync":
        result = made.commands.run_stream("true")
        assert (result.exit_code, "paused" in result.stderr) == (-1, True)
    waiting = asyncio.ensure_future(client.call(handle.wait))
    await asyncio.sleep(0.6)
    assert not waiting.done()
    await client.call(made.resume)
    assert (await waiting).stdout == "done\n"
    await client.call(made.kill)


async def sandbox_ends_in_time(client: Client) -> None:
    killed = await client.create(timeout=1)
    paused = await client.create(timeout=1, lifecycle=SandboxLifecycle(on_timeout="pause", auto_resume=True))
    handle = await client.run("sleep 1000", killed, background=True, timeout=None)
    error = await client.refused("CommandExitException", handle.wait)
    assert error.exit_code == 137
    while (await client.call(paused.get_info)).state != SandboxState.PAUSED:
        await asyncio.sleep(0.05)
    assert (await client.run("echo on", paused)).stdout == "on\n"
    await client.call(paused.kill)


async def sandboxes_do_not_see_each_other(client: Client) -> None:
    other = await client.create()
    handle = await client.run("sleep 1000", background=True)
    if client.kind == "sync":
        assert other.commands.list() == []
    else:
        assert await other.list_commands() == []
    await client.refused("NotFoundException", client.method("kill", "kill_command", other), handle.pid)
    assert await client.call(handle.kill)
    await client.call(other.kill)


async def command_is_run(client: Client) -> None:
    told: list[tuple[str, str]] = []
    result = await client.run(
        "echo $A; pwd; printf 'a\\nb' >&2; exit 3",
        envs={"A": "ü\u2028€"},
        cwd="/usr",
        on_stdout=lambda line: told.append(("out", line)),
        on_stderr=lambda line: told.append(("err", line)),
    )
    assert (result.stdout, result.stderr, result.exit_code) == ("ü\u2028€\n/usr\n", "a\nb", 3)
    assert told == [("out", "ü\u2028"), ("out", "€\n"), ("out", "/usr\n"), ("err", "a\n"), ("err", "b")]
    assert (await client.run("cat; echo end")).stdout == "end\n"
    assert (await client.run("bash -c 'kill -9 $$'")).exit_code == 137


async def command_runs_as_its_user(client: Client) -> None:
    own = (await client.run("id -un")).stdout
    other = "nobody\n" if os.getuid() == 0 else own
    for user, name in (("root", own), ("no-such-account", own), ("nobody", other)):
        assert (await client.run("id -un", user=user)).stdout == name
        if client.kind == "sync":
            assert streamed(client, "id -un", user=user) == ([name], [], 0)


async def command_that_cannot_be_launched_says_why(client: Client) -> None:
    result = await client.run("true", cwd="/nowhere")
    assert (result.exit_code, result.stdout, "/nowhere" in result.stderr) == (127, "", True)
    result = await client.run("no-such-program")
    assert (result.exit_code, "no-such-program" in result.stderr) == (127, True)
    handle = await client.run("true", cwd="/nowhere", background=True)
    error = await client.refused("CommandExitException", handle.wait)
    assert (error.exit_code, "/nowhere" in error.stderr) == (127, True)
    run = client.method("run", "run_command")
    await client.refused("InvalidArgumentException", run, "")
    await client.refused("InvalidArgumentException", run, "true", envs={"a b": "c"})
    await client.refused("InvalidArgumentException", run, "true", timeout=-1)


async def command_ends_in_time_with_all_that_it_started(client: Client) -> None:
    result = await client.run(f"sleep {client.long} & echo begun; echo err >&2; sleep {client.long}", timeout=0.5)
    assert (result.stdout, result.stderr, result.exit_code) == ("begun\n", "err\n", 124)
    assert await client.sleepers() == ""
    handle = await client.run("echo begun; sleep 1000", background=True, timeout=0.3)
    error = await client.refused("CommandExitException", handle.wait)
    assert (error.exit_code, error.stdout) == (124, "begun\n")


async def command_outlives_an_impatient_client(client: Client) -> None:
    began = time.monotonic()
    result = await client.run("echo x >>runs; sleep 3; wc -l <runs; rm runs", request_timeout=2)
    assert result.stdout.strip() == "1"
    assert time.monotonic() - began > 3


async def command_in_background_is_listed_and_waited_for(client: Client) -> None:
    handle = await client.run("read a; echo got $a; exit 5", background=True)
    assert (await client.refused("CommandExitException", handle.wait)).exit_code == 5
    handle = await client.run("sleep 0.3; echo out; echo err >&2", background=True)
    await client.call(handle.disconnect)  # ends nothing
    (listed,) = [item for item in await client.list() if item.pid == handle.pid]
    assert (listed.cmd, listed.is_pty) == ("sleep 0.3; echo out; echo err >&2", False)
    other = client.connect(handle.pid)
    for result in [await client.call(handle.wait), await client.call(other.wait), await client.call(handle.wait)]:
        assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 0)
    assert handle.pid not in [item.pid for item in await client.list()]
    await client.refused("NotFoundException", client.connect(10**6).wait)


async def command_is_killed(client: Client) -> None:
    handle = await client.run(f"trap '' TERM; sleep {client.long} & sleep {client.long}", background=True)
    waiting = asyncio.ensure_future(client.refused("CommandExitException", client.connect(handle.pid).wait))
    assert await client.kill(handle.pid)
    assert (await waiting).exit_code == 137
    assert not await client.kill(handle.pid)
    assert not await client.call(handle.kill)
    assert await client.sleepers() == ""
    await client.refused("NotFoundException", client.method("kill", "kill_command"), 10**6)


async def command_reads_its_input(client: Client) -> None:
    if client.kind == "sync":
        handle = await client.run("read a; echo got $a; read b; echo and $b", background=True, stdin=True)
        await client.type(handle.pid, "one ü\n")
        await client.type(handle.pid, "two\n")
        assert (await client.call(handle.wait)).stdout == "got one ü\nand two\n"
        await client.refused("ConflictException", client.method("send_stdin", ""), handle.pid, "late")
    handle = await client.run("sleep 1000", background=True)
    await client.refused("ConflictException", client.method("send_stdin", "send_command_stdin"), handle.pid, "x\n")
    assert await client.call(handle.kill)


async def output_may_be_large(client: Client) -> None:
    result = await client.run("head -c 1048576 /dev/zero | tr '\\0' x; seq 200000 >&2")
    assert result.stdout == "x" * 1048576
    assert result.stderr == "".join(f"{number}\n" for number in range(1, 200001))


async def characters_are_never_split(client: Client) -> None:
    parts = ["\\303", "\\251", "\\360", "\\237\\230", "\\200", " \\377\\n"]
    text = "; ".join(f"printf '{part}'; printf '{part}' >&2; sleep 0.03" for part in parts)
    result = await client.run(text)
    assert (result.stdout, result.stderr) == ("é😀 \ufffd\n", "é😀 \ufffd\n")
    if client.kind == "sync":
        out: list[str] = []
        err: list[str] = []
        client.sandbox.commands.run_stream(text, on_stdout=out.append, on_stderr=err.append)
        assert (out, err) == (["é😀 \ufffd\n"], ["é😀 \ufffd\n"])


async def errors_have_their_types(client: Client) -> None:
    await client.refused("AuthenticationException", client.Sandbox.create, api_key="wrong-key")
    await client.refused("AuthenticationException", client.Sandbox.connect, "x", api_key="wrong-key")
    error = await client.refused("SandboxException", client.sandbox.create_snapshot)
    assert (error.code, "HTTP 501" in str(error)) == ("not_implemented", True)


# Only the blocking client has these.


def streamed(client: Client, command: str, **options: Any) -> tuple[list[str], list[str], int]:
    out: list[str] = []
    err: list[str] = []
    result = client.sandbox.commands.run_stream(command, on_stdout=out.append, on_stderr=err.append, **options)
    assert (result.stdout, result.stderr) == ("\n".join(out), "\n".join(err))
    return out, err, result.exit_code


async def stream_is_told_while_it_runs(client: Client) -> None:
    if client.kind != "sync":
        return
    times: list[float] = []

    def see(line: str) -> None:
        times.append(time.monotonic())

    client.sandbox.commands.run_stream("echo 1; sleep 0.5; echo 2; sleep 0.5; echo 3", on_stdout=see)
    assert 0.8 < times[2] - times[0] < 3
    assert times[1] - times[0] > 0.4


async def streams_are_exact(client: Client) -> None:
    if client.kind != "sync":
        return
    text = "printf '1\\n2\\n\\n'; printf 'a\\r\\n' >&2; printf '\\u2028\\u0085ü\\n'; printf rest; exit 7"
    assert streamed(client, text, envs={"A": "b"}, cwd="/usr") == (
        ["1\n", "2\n", "\n", "\u2028\u0085ü\n", "rest"],
        ["a\r\n"],
        7,
    )
    out, _, code = streamed(client, "head -c 1048576 /dev/zero | tr '\\0' x")
    assert (out, code) == (["x" * 1048576], 0)
    out, _, _ = streamed(client, "seq 100000")
    assert out == [f"{number}\n" for number in range(1, 100001)]
    assert streamed(client, "true") == ([], [], 0)


async def silent_streams_are_kept_alive(client: Client) -> None:
    if client.kind != "sync":
        return
    assert streamed(client, "echo begun; sleep 1000", timeout=1) == (["begun\n"], [], 124)
    assert streamed(client, "trap '' TERM; sleep 1005", timeout=0.6) == ([], [], 124)
    out, err, code = streamed(client, "true", cwd="/nowhere")
    assert (out, "/nowhere" in "".join(err), code) == ([], True, 127)


async def streams_that_are_refused_say_so(client: Client) -> None:
    if client.kind != "sync":
        return
    made = await client.create()
    await client.call(made.kill)
    result = made.commands.run_stream("echo x")
    assert (result.stdout, result.exit_code, "killed" in result.stderr) == ("", -1, True)


async def background_streams_end_when_killed(client: Client) -> None:
    if client.kind != "sync":
        return
    found: list[Any] = []
    running = asyncio.ensure_future(asyncio.to_thread(streamed, client, f"echo begun; sleep {client.long}"))
    while not found:
        found = [item for item in await client.list() if str(client.long) in item.cmd]
        await asyncio.sleep(0.01)
    assert await client.kill(found[0].pid)
    assert await running == (["begun\n"], [], 137)
    await until(running.done)


CHECKS: list[Check] = [
    sandbox_lives_and_dies,
    sandboxes_are_listed,
    sandboxes_are_killed_by_their_ids,
    options_that_mean_nothing_here_are_taken,
    sandbox_is_paused_and_resumed,
    sandbox_ends_in_time,
    sandboxes_do_not_see_each_other,
    command_is_run,
    command_runs_as_its_user,
    command_that_cannot_be_launched_says_why,
    command_ends_in_time_with_all_that_it_started,
    command_outlives_an_impatient_client,
    command_in_background_is_listed_and_waited_for,
    command_is_killed,
    command_reads_its_input,
    output_may_be_large,
    characters_are_never_split,
    errors_have_their_types,
    stream_is_told_while_it_runs,
    streams_are_exact,
    silent_streams_are_kept_alive,
    streams_that_are_refused_say_so,
    background_streams_end_when_killed,
]

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], CHECKS))
