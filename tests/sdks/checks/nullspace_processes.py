"""Checks of commands over HTTP: ``python nullspace_processes.py sync`` or ``async``."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

from nullspace_clients import Check, Client, run_checks


async def run_tells_output_and_exit_code(client: Client) -> None:
    found = await client.shell("echo out; echo err >&2; cat; exit 3")
    assert (found.exit_code, found.stdout, found.stderr) == (3, "out\n", "err\n")
    assert isinstance(found.pid, int)
    found = await client.shell("echo $PWD $A", cwd="/usr", envs={"A": "x y"})
    assert found.stdout == "/usr x y\n"
    assert (await client.shell("kill -9 $$")).exit_code == 137


async def arguments_are_exact(client: Client) -> None:
    words = ["a b", "$HOME", "*", "", "'", '"', "\n", "ü", "-n"]
    found = await client.run("python3", ["-c", "import sys; print(sys.argv[1:])", *words])
    assert found.stdout == f"{words!r}\n"
    assert (await client.run("echo $HOME")).exit_code == 127
    error = await client.refused("MachineError", client.commands.run, "echo", ["x"], shell=True)
    assert error.code == "invalid_request"


async def run_is_fresh_each_time(client: Client) -> None:
    await client.shell("cd /; X=1; export Y=2; exec 3>&1")
    found = await client.shell('echo "$X$Y"; test "$PWD" = "$HOME"')
    assert (found.exit_code, found.stdout) == (0, "\n")


async def what_cannot_be_started_says_why(client: Client) -> None:
    for command, code, why in (
        ("nosuch", 127, "not found"),
        ("/etc/passwd", 126, "ermission denied"),
        ("cd", 127, "not found"),
    ):
        found = await client.run(command, ["x"])
        assert (found.exit_code, found.stdout) == (code, "")
        assert why in found.stderr
    found = await client.shell("true", cwd="/nowhere")
    assert found.exit_code == 127
    assert "/nowhere" in found.stderr
    for text in ("", " \n"):
        error = await client.refused("MachineError", client.commands.run, text, shell=True)
        assert error.code == "invalid_request"


async def workspace_is_the_home(client: Client) -> None:
    found = await client.shell("mkdir -p sub; cd sub; pwd")
    assert (await client.shell("pwd", cwd="/workspace/sub")).stdout == found.stdout


async def run_times_out(client: Client) -> None:
    began = time.monotonic()
    nap = client.nap()
    text = f"echo before; trap '' TERM INT; {nap} & {nap}; {nap}"
    error = await client.refused("MachineError", client.commands.run, text, shell=True, timeout=1)
    assert error.code == "exec_timeout"
    assert time.monotonic() - began < 10
    pid = max(item.pid for item in await client.call(client.commands.list))
    logs = await client.call(client.commands.get_logs, pid)
    assert (logs.stdout, logs.exit_code) == ("before\n", 124)
    assert not await client.runs(nap)


async def code_runs(client: Client) -> None:
    process = client.machine.process
    found = await client.call(process.code_run, "import sys\nprint(1 + 1)\nsys.exit(4)", language="python")
    assert (found.exit_code, found.stdout) == (4, "2\n")
    found = await client.call(process.code_run, "echo $((6 * 7)) $0 | cut -c1-2", language="bash")
    assert found.stdout == "42\n"
    found = await client.call(process.code_run, "x", language="nosuchlanguage")
    assert found.exit_code == 127


async def code_times_out(client: Client) -> None:
    code = "import time; time.sleep(600)"
    error = await client.refused("MachineError", client.machine.process.code_run, code, timeout=1)
    assert error.code == "exec_timeout"


async def git_runs_by_commands(client: Client) -> None:
    """Those calls of ``git`` that the client makes of commands."""
    git = client.machine.git
    author = "-c user.name=x -c user.email=x@example.com"
    made = await client.shell(
        f"git init -q tree && cd tree && touch a && git add a && git {author} commit -qm a && pwd"
    )
    path = made.stdout.strip()
    await client.shell("echo more >>a", cwd=path)
    assert (await client.call(git.diff, path=path)).endswith("+more\n")
    await client.call(git.set_config, "some.key", "a  b", scope="local", path=path)
    assert await client.call(git.get_config, "some.key", scope="local", path=path) == "a  b"
    await client.call(git.remote_add, path, "there", "https://example.com/x.git")
    assert (
        await client.call(git.get_config, "remote.there.url", scope="local", path=path) == "https://example.com/x.git"
    )


async def background_lives_on_and_is_waited_for(client: Client) -> None:
    handle = await client.start("echo out; echo err >&2; read -r line; echo got $line; exit 7", timeout=1)
    shown = {item.pid: (item.command, item.running) for item in await client.call(client.commands.list)}
    assert shown[handle.pid] == ("echo out; echo err >&2; read -r line; echo got $line; exit 7", True)
    assert (await client.call(handle.get_logs)).exit_code is None
    error = await client.refused(TimeoutError, handle.wait, timeout=1.2)  # longer than its own time, which is not meant
    assert str(handle.pid) in str(error)
    await client.call(client.commands.send_stdin, handle.pid, "größe\n")
    found = await client.call(handle.wait)
    assert (found.exit_code, found.stdout, found.stderr, found.pid) == (7, "out\ngot größe\n", "err\n", handle.pid)
    logs = await client.call(client.commands.get_logs, handle.pid)
    assert (logs.stdout, logs.stderr, logs.exit_code) == ("out\ngot größe\n", "err\n", 7)
    assert sorted(logs.output.split()) == sorted("out err got größe".split())
    shown = {item.pid: item.running for item in await client.call(client.commands.list)}
    assert shown[handle.pid] is False
    assert (await client.call(client.api.connect, client.machine.id)).id == client.machine.id
    await client.refused("ConflictError", client.commands.send_stdin, handle.pid, "late\n")


async def background_shows_its_arguments(client: Client) -> None:
    handle = await client.run("sleep", ["600", "a b"], background=True)
    shown = {item.pid: item.command for item in await client.call(client.commands.list)}
    assert shown[handle.pid] == "sleep 600 'a b'"
    await client.call(handle.wait)


async def kill_ends_the_whole_tree(client: Client) -> None:
    nap = client.nap()
    handle = await client.start(f"trap '' TERM HUP; (trap '' TERM; {nap} & {nap}) & echo up; {nap}")
    async with asyncio.timeout(20):
        while (await client.call(handle.get_logs)).stdout != "up\n":
            await asyncio.sleep(0.02)
    assert await client.runs(nap)
    await client.call(handle.kill)
    found = await client.call(handle.wait)
    assert (found.exit_code, found.stdout) == (137, "up\n")
    await client.call(handle.kill)  # harmless
    assert not await client.runs(nap)


async def processes_are_unknown(client: Client) -> None:
    for method, arguments in (
        (client.commands.kill, [999]),
        (client.commands.get_logs, [999]),
        (client.commands.send_stdin, [999, "x"]),
    ):
        error = await client.refused("NotFoundError", method, *arguments)
        assert error.code == "process_not_found"


async def handle_is_iterated(client: Client) -> None:
    handle = await client.start("for i in 1 2 3; do echo o$i; echo e$i >&2; sleep 0.3; done")
    pieces: list[Any] = []
    if client.kind == "sync":
        pieces = await asyncio.to_thread(lambda: list(handle))
    else:
        pieces = [piece async for piece in handle]
    assert "".join(piece[0] or "" for piece in pieces) == "o1\no2\no3\n"
    assert "".join(piece[1] or "" for piece in pieces) == "e1\ne2\ne3\n"
    assert len(pieces) > 1


async def unicode_is_whole_in_logs(client: Client) -> None:
    text = "printf '\\303'; printf E >&2; read -r x; printf '\\244'; printf '\\360\\237' >&2; printf '\\377\\303'"
    handle = await client.start(text)
    async with asyncio.timeout(20):
        while (logs := await client.call(handle.get_logs)).stderr != "E":
            await asyncio.sleep(0.02)
    assert (logs.stdout, logs.output) == ("", "E")
    await client.call(client.commands.send_stdin, handle.pid, "\n")
    found = await client.call(handle.wait)
    assert (found.stdout, found.stderr) == ("ä\ufffd\ufffd", "E\ufffd")
    assert (await client.shell("printf 'a\\0b'")).stdout == "a\0b"


async def large_output_is_whole(client: Client) -> None:
    found = await client.run("python3", ["-c", "import os; os.write(1, b'x' * (1 << 20))"])
    assert found.stdout == "x" * (1 << 20)
    found = await client.run("python3", ["-c", "print('ü' * (1 << 21))"])
    assert found.stdout == "ü" * (1 << 21) + "\n"


async def many_run_at_once(client: Client) -> None:
    found = await asyncio.gather(*[client.shell(f"echo {n}; sleep 0.2; exit {n}") for n in range(8)])
    assert [(item.stdout, item.exit_code) for item in found] == [(f"{n}\n", n) for n in range(8)]


CHECKS: list[Check] = [
    run_tells_output_and_exit_code,
    arguments_are_exact,
    run_is_fresh_each_time,
    what_cannot_be_started_says_why,
    workspace_is_the_home,
    run_times_out,
    code_runs,
    code_times_out,
    git_runs_by_commands,
    background_lives_on_and_is_waited_for,
    background_shows_its_arguments,
    kill_ends_the_whole_tree,
    processes_are_unknown,
    handle_is_iterated,
    unicode_is_whole_in_logs,
    large_output_is_whole,
    many_run_at_once,
]

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], CHECKS))
