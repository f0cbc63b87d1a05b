"""Checks of sandboxes and what runs in them: ``python miosa_sandboxes.py sync`` or ``async``."""

from __future__ import annotations

import asyncio
import sys
import time

from miosa_clients import Check, Client, run_checks

TREE = "echo begun; trap '' TERM; sleep 600 & setsid sleep 600 & sleep 600"


async def sandbox_is_made_found_and_deleted(client: Client) -> None:
    sandboxes = client.miosa.sandboxes
    name = f"named-{client.kind}/ü"
    made = await client.call(sandboxes.create, name=name, env={"WHO": "me"}, tags=[client.kind, "u"])
    assert made.state == "running"
    assert (await client.call(sandboxes.get, made.id)).id == made.id
    assert (await client.call(sandboxes.connect, made.id)).id == made.id
    assert (await client.call(sandboxes.get_by_name, name)).id == made.id
    assert [found.id for found in await client.call(sandboxes.list, tags=[client.kind])] == [made.id]
    assert made.id in [found.id for found in await client.call(sandboxes.list, state="running")]
    assert await client.call(sandboxes.list, state="error") == []
    assert (await client.call(made.exec.run, "echo $WHO")).stdout == "me\n"
    await client.call(made.destroy)
    await client.refused("NotFoundError", sandboxes.get, made.id)
    await client.refused("NotFoundError", sandboxes.get_by_name, name)
    await client.refused("NotFoundError", sandboxes.get, client.computer.id)


async def sandbox_is_made_once(client: Client) -> None:
    made = [await client.call(client.miosa.sandboxes.create, idempotency_key=f"once-{client.kind}") for _ in range(2)]
    assert made[0].id == made[1].id
    await client.call(client.miosa.sandboxes.delete, made[0].id)


async def sandbox_is_ready(client: Client) -> None:
    assert await client.call(client.sandbox.wait_until_ready) is True
    assert await client.call(client.sandbox.wait_until_ready, stream=False) is True
    assert (await client.call(client.sandbox.readiness))["ready"] is True
    made = await client.call(client.miosa.sandboxes.create)
    await client.call(made.stop)
    assert made.state == "stopped"
    assert await client.call(made.wait_until_ready) is False
    await client.refused("MiosaError", made.exec.run, "true")  # without a request
    error = await client.refused("MiosaError", made.processes.start, "true")
    assert (error.status_code, error.code) == (409, "SANDBOX_NOT_RUNNING")
    await client.call(made.resume)
    assert made.state == "running"
    await client.call(made.destroy)


async def sandbox_is_found_or_made(client: Client) -> None:
    sandboxes, name = client.miosa.sandboxes, f"stable-{client.kind}"
    made = await client.call(sandboxes.get_or_create, name, persistent=True, slug=name, workspace_id="w")
    assert (made.slug, made.workspace_id, made.persistent) == (name, "w", True)
    await client.call(made.pause)
    assert await client.call(made.wait_for_checkpoint) is True
    found = await client.call(sandboxes.get_or_create, name, wait_until_ready=True)  # which makes it go on
    assert (found.id, found.state) == (made.id, "running")
    assert made.state == "paused"  # as it was
    assert (await client.call(made.refresh)).state == "running"
    await client.call(made.update, name=f"{name}-other", tags=["t"], metadata={"a": 1})
    assert (await client.call(sandboxes.get_by_name, f"{name}-other")).data["tags"] == ["t"]
    tags = ["u", name]
    assert (await client.call(made.tags.set, tags))["tags"] == tags
    assert [one.id for one in await client.call(sandboxes.list, tags=tags)] == [made.id]
    await client.call(made.destroy)


async def workspace_of_an_agent_is_found_or_made(client: Client) -> None:
    """A persistent sandbox by its name, of which the SDK says much that is kept, and limits that are not."""
    make, name = client.miosa.sandboxes.create_agent_workspace, f"agent-{client.kind}"
    made = await client.call(make, name, metadata={"a": 1}, template_id="tpl")
    assert (made.name, made.state, made.persistent) == (name, "running", True)
    assert made.data["template_id"] == "tpl"
    said = {"a": 1, "miosa_workspace_kind": "agent_workspace", "keep_last_snapshots": 1}
    assert said.items() <= made.data["metadata"].items()
    await client.call(made.exec.run, "echo kept >file")
    await client.call(made.pause)
    found = await client.call(make, name)
    assert (found.id, found.state) == (made.id, "running")
    assert (await client.call(found.exec.run, "cat file")).stdout == "kept\n"
    await client.call(made.destroy)
    await client.refused("NotFoundError", client.miosa.sandboxes.get_by_name, name)


async def sandbox_is_left(client: Client) -> None:
    """Leaving its block destroys it, whatever has happened there."""
    for error in (None, KeyError("told on")):
        made = await client.call(client.miosa.sandboxes.create, fail_fast=True, wait=True)
        try:
            await client.leave(made, error)
        except KeyError as raised:
            assert raised is error
        else:
            assert error is None
        await client.refused("NotFoundError", client.miosa.sandboxes.get, made.id)


async def sandbox_pauses(client: Client) -> None:
    made = await client.call(client.miosa.sandboxes.create, persistent=True)
    process = await client.call(made.processes.start, "while :; do echo tick; sleep 0.01; done")
    await client.call(made.pause)
    assert made.state == "paused"
    assert (await client.call(made.exec.run, "echo on")).stdout == "on\n"  # which makes it go on
    assert (await client.call(client.miosa.sandboxes.get, made.id)).state == "running"
    assert (await client.call(made.processes.get, process["pid"]))["state"] == "running"
    await client.call(made.destroy)


async def exec_tells_output_and_exit_code(client: Client) -> None:
    options = {"cwd": "/usr", "env": {"A": "x y"}}
    found = await client.call(client.sandbox.exec.run, "echo $PWD $A; echo err >&2; cat; exit 3", options)
    assert (found.stdout, found.stderr, found.exit_code) == ("/usr x y\n", "err\n", 3)
    assert isinstance(found.duration_ms, int)
    assert (await client.call(client.sandbox.run, "echo hi")).stdout == "hi\n"
    assert (await client.call(client.sandbox.commands.run, "echo hi", {"working_dir": "/"})).stdout == "hi\n"
    assert (await client.call(client.sandbox.exec, "echo hi")).stdout == "hi\n"
    found = await client.call(client.sandbox.exec.run, "pwd", {"cwd": "/nowhere"})
    assert found.exit_code == 127
    assert "/nowhere" in found.stderr
    assert (await client.call(client.sandbox.exec.run, "nonsense-of-a-program")).exit_code == 127
    await client.refused("ValidationError", client.sandbox.exec.run, "true", {"env": {"A B": "c"}})


async def workspace_is_the_home(client: Client) -> None:
    """Where this machine has none: it is the SDK's own word for where a program's files are."""
    home = (await client.call(client.sandbox.exec.run, "mkdir -p sub; echo 1 >sub/file; pwd")).stdout.strip()
    assert (await client.call(client.sandbox.exec.run, "pwd", {"cwd": "/workspace"})).stdout == f"{home}\n"
    out, *_ = await client.stream("pwd", working_dir="/workspace/sub")
    assert out == f"{home}/sub\n"
    await client.call(client.sandbox.exec.run, "git init -q; git config user.name n; git config user.email n@n")
    assert (await client.call(client.sandbox.git.commit, message="all that is here")).exit_code == 0
    await client.call(client.sandbox.exec.run, "rm -rf .git")
    error = (await client.call(client.sandbox.exec.run, "pwd", {"cwd": "/workspaces"})).stderr
    assert "'/workspaces'" in error


async def exec_times_out(client: Client) -> None:
    began = time.monotonic()
    found = await client.call(client.sandbox.exec.run, TREE, {"timeout": 1})
    assert (found.stdout, found.exit_code) == ("begun\n", 124)
    assert time.monotonic() - began < 10
    assert (await client.call(client.sandbox.exec.run, "sleep 600", {"timeout_sec": 1})).exit_code == 124


async def exec_is_fresh_each_time(client: Client) -> None:
    await client.call(client.sandbox.exec.run, "cd /; X=1; export Y=2; echo kept >file2", {})
    assert (await client.call(client.sandbox.exec.run, "echo $X$Y; test $PWD != /")).stdout == "\n"


async def large_output_is_whole(client: Client) -> None:
    text = "head -c 1048576 /dev/zero | tr '\\0' x"
    assert (await client.call(client.sandbox.exec.run, text)).stdout == "x" * 1048576
    assert (await client.stream(text))[0] == "x" * 1048576


async def silence_does_not_outlast_an_impatient_client(client: Client) -> None:
    """Neither where an answer is waited for, nor in a stream."""
    impatient = type(client.miosa)(timeout=3)
    sandbox = await client.call(impatient.sandboxes.get, client.sandbox.id)
    text = "sleep 4; echo on"
    waited, cell, events = await asyncio.gather(
        client.call(sandbox.exec.run, text),
        client.call(sandbox.run_code, "import time; time.sleep(4); 5", context="slow"),
        client.all(sandbox.exec_stream, text),
    )
    assert (waited.stdout, cell.result, [event.type for event in events]) == ("on\n", 5, ["stdout", "exit"])
    await client.call(impatient.close)


async def stream_is_live(client: Client) -> None:
    text = "for i in 1 2 3; do echo out$i; echo err$i >&2; sleep 0.2; done; printf rest; exit 5"
    events = await client.all(client.sandbox.exec_stream, text)
    lines = [(event.type, event.data["line"]) for event in events[:-1]]
    assert [line for name, line in lines if name == "stdout"] == ["out1\n", "out2\n", "out3\n", "rest"]
    assert [line for name, line in lines if name == "stderr"] == ["err1\n", "err2\n", "err3\n"]
    assert (events[-1].type, events[-1].data["exit_code"]) == ("exit", 5)
    streams = client.sandbox.exec.stream, client.sandbox.commands.stream
    for stream in streams:
        first, _ = await client.all(stream, "echo hi")
        assert first.data == {"line": "hi\n"}


async def stream_never_splits_a_character(client: Client) -> None:
    text = "ü€😀\u2028\u0085\x0b"
    letters = " ".join(f"{byte:02x}" for byte in text.encode())
    script = f"for b in {letters}; do printf \"\\x$b\"; sleep 0.01; done; printf '\\xff\\xe2\\x82'"
    assert (await client.stream(script))[0] == text + "\ufffd\ufffd"


async def stream_times_out_and_refuses(client: Client) -> None:
    out, _, rest = await client.stream(TREE, timeout=1)
    assert (out, rest[0]["exit_code"]) == ("begun\n", 124)
    assert (await client.stream("kill -9 $BASHPID"))[2][0]["exit_code"] == 137
    _, err, rest = await client.stream("pwd", cwd="/nowhere")
    assert rest[0]["exit_code"] == 127
    assert "/nowhere" in err
    error = await client.raised("ValidationError", client.all(client.sandbox.exec_stream, " "))
    assert (error.status_code, error.code) == (400, "VALIDATION_ERROR")


async def stream_that_is_left_ends_its_program(client: Client) -> None:
    text = "echo $BASHPID; exec sleep 600"
    if client.kind == "sync":

        def first() -> str:
            stream = client.sandbox.exec_stream(text)
            found = next(stream).data["line"]
            stream.close()
            return str(found)

        pid = await asyncio.to_thread(first)
    else:
        stream = client.sandbox.exec_stream(text)
        pid = (await anext(stream)).data["line"]
        await stream.aclose()
    while (await client.call(client.sandbox.exec.run, f"kill -0 {pid}")).exit_code == 0:
        await asyncio.sleep(0.05)


async def process_lives(client: Client) -> None:
    processes = client.sandbox.processes
    made = await client.call(processes.start, "echo $A; echo err >&2; sleep 600", env={"A": "b"}, name="server")
    pid = made["pid"]
    assert isinstance(pid, int)
    assert (made["state"], made["name"]) == ("running", "server")
    assert pid in [found["pid"] for found in await client.call(processes.list)]
    while len(await client.call(processes.logs, pid)) < 6:
        await asyncio.sleep(0.02)
    assert sorted((await client.call(processes.logs, pid)).split()) == ["b", "err"]
    await client.call(processes.stop, pid)
    found = await client.call(processes.get, pid)
    assert (found["state"], found["exit_code"]) == ("killed", 137)
    assert pid not in [other["pid"] for other in await client.call(processes.list)]
    assert sorted((await client.call(processes.logs, pid)).split()) == ["b", "err"]
    await client.call(processes.stop, pid)  # once more: harmless
    await client.refused("NotFoundError", processes.get, 999)
    await client.refused("NotFoundError", processes.stop, 999)


async def process_is_streamed_and_tailed(client: Client) -> None:
    processes = client.sandbox.processes
    pid = (await client.call(processes.start, "for i in 1 2 3; do echo $i; sleep 0.1; done; exit 7"))["pid"]
    for _ in range(2):  # live, then what was logged
        events = await client.all(processes.stream, pid)
        assert [event["line"] for event in events[:-1]] == ["1\n", "2\n", "3\n"]
        assert {event["stream"] for event in events[:-1]} == {"stdout"}
        assert events[-1]["exit_code"] == 7
    assert await client.call(processes.logs, pid, tail=2) == "2\n3\n"


async def background_command_is_handled(client: Client) -> None:
    options = {"cwd": "/usr", "env": {"A": "b"}}
    handle = await client.call(client.sandbox.commands.run, "pwd; echo $A; sleep 600", options, background=True)
    assert (await client.call(handle.status))["state"] == "running"
    while (await client.call(client.sandbox.processes.logs, handle.pid)) != "/usr\nb\n":
        await asyncio.sleep(0.02)
    await client.call(handle.kill)
    assert (await client.call(handle.status))["exit_code"] == 137
    timed = await client.call(client.sandbox.commands.run, "sleep 600", {"timeout": 1}, background=True)
    await client.all(client.sandbox.processes.stream, timed.pid)
    assert (await client.call(timed.status))["exit_code"] == 124


async def terminal_is_made_and_deleted(client: Client) -> None:
    made = await client.call(client.sandbox.terminal.create, cols=90, rows=30, cwd="/usr")
    await client.call(client.sandbox.terminal.delete, made["session_id"])
    await client.refused("NotFoundError", client.sandbox.terminal.delete, made["session_id"])


async def sandboxes_do_not_see_each_other(client: Client) -> None:
    """Numbers are their own: that of one may be another's, too, or nobody's."""
    made = await client.call(client.miosa.sandboxes.create)
    other, mine = made.processes, client.sandbox.processes
    theirs = (await client.call(other.start, "echo theirs; sleep 600"))["pid"]
    pid = (await client.call(mine.start, "echo mine; sleep 600"))["pid"]
    assert pid > theirs  # many have been run here before
    terminal = (await client.call(client.sandbox.terminal.create))["session_id"]
    await client.call(client.sandbox.run_code, "x = 1", context="mine")
    assert [found["pid"] for found in await client.call(other.list)] == [theirs]
    for method, argument in ((other.get, pid), (other.logs, pid), (other.stop, pid), (made.terminal.delete, terminal)):
        await client.refused("NotFoundError", method, argument)
    assert await client.call(made.code_contexts) == []
    await client.call(made.destroy)
    assert (await client.call(mine.get, pid))["state"] == "running"
    await client.call(client.sandbox.terminal.delete, terminal)


async def what_is_not_there_is_said(client: Client) -> None:
    error = await client.refused("ServerError", client.sandbox.snapshot)
    assert (error.status_code, error.code) == (501, "NOT_IMPLEMENTED")
    for call, arguments in (
        (client.sandbox.files.list, ["/"]),
        (client.sandbox.extend, [60]),
        (client.sandbox.preview_token, []),
        (client.sandbox.restore_snapshot, ["x"]),
    ):
        error = await client.refused("ServerError", call, *arguments)
        assert error.status_code == 501


CHECKS: list[Check] = [
    sandbox_is_made_found_and_deleted,
    sandbox_is_made_once,
    sandbox_is_ready,
    sandbox_is_found_or_made,
    workspace_of_an_agent_is_found_or_made,
    sandbox_is_left,
    sandbox_pauses,
    exec_tells_output_and_exit_code,
    workspace_is_the_home,
    exec_times_out,
    exec_is_fresh_each_time,
    large_output_is_whole,
    silence_does_not_outlast_an_impatient_client,
    stream_is_live,
    stream_never_splits_a_character,
    stream_times_out_and_refuses,
    stream_that_is_left_ends_its_program,
    process_lives,
    process_is_streamed_and_tailed,
    background_command_is_handled,
    terminal_is_made_and_deleted,
    sandboxes_do_not_see_each_other,
    what_is_not_there_is_said,
]

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], CHECKS))
