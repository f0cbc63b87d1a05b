"""Checks of commands: ``python declaw_processes.py sync`` or ``async``."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

from declaw_clients import Check, Client, run_checks, until


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
    home = (await client.run("pwd")).stdout if os.getuid() else (await client.run("echo $HOME", user="nobody")).stdout
    assert (await client.run("pwd", user="nobody")).stdout == home
    assert (await client.run("pwd", user="nobody", cwd="/usr")).stdout == "/usr\n"


async def command_that_cannot_be_launched_says_why(client: Client) -> None:
    result = await client.run("true", cwd="/nowhere")
    assert (result.exit_code, result.stdout, "/nowhere" in result.stderr) == (127, "", True)
    for program, code in (("no-such-program", 127), ("/etc/passwd", 126)):
        result = await client.run(program)
        assert (result.exit_code, program in result.stderr) == (code, True)
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


async def command_may_have_no_limit(client: Client) -> None:
    for timeout in (None, 0):
        assert (await client.run("sleep 0.3; echo x", timeout=timeout)).stdout == "x\n"
        handle = await client.run("sleep 0.3; echo x", timeout=timeout, background=True)
        assert (await client.call(handle.wait)).stdout == "x\n"
        if client.kind == "sync":
            assert streamed(client, "sleep 0.3; echo x", timeout=timeout) == (["x\n"], [], 0)


async def command_outlives_an_impatient_client(client: Client) -> None:
    began = time.monotonic()
    result = await client.run("echo x >>runs; sleep 3; wc -l <runs; rm runs", request_timeout=1)
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
    sandboxes_do_not_see_each_other,
    command_is_run,
    command_runs_as_its_user,
    command_that_cannot_be_launched_says_why,
    command_ends_in_time_with_all_that_it_started,
    command_may_have_no_limit,
    command_outlives_an_impatient_client,
    command_in_background_is_listed_and_waited_for,
    command_is_killed,
    command_reads_its_input,
    output_may_be_large,
    characters_are_never_split,
    stream_is_told_while_it_runs,
    streams_are_exact,
    silent_streams_are_kept_alive,
    streams_that_are_refused_say_so,
    background_streams_end_when_killed,
]

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], CHECKS))
