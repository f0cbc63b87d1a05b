"""Checks of commands by their sandbox's id, of code, and of git: ``python miosa_commands.py sync`` or ``async``."""

from __future__ import annotations

import asyncio
import shutil
import sys

from miosa_clients import Check, Client, run_checks


async def commands_run_by_id(client: Client) -> None:
    commands, sandbox = client.miosa.commands, client.sandbox.id
    found = await client.call(commands.run, sandbox, "cat; echo e >&2; exit 3", stdin="in\n", cwd="/")
    assert (found["stdout"], found["stderr"], found["exit_code"]) == ("in\n", "e\n", 3)
    made = await client.call(commands.run, sandbox, "echo begun; sleep 600", detached=True, name="bg")
    pid = made["pid"]
    assert pid in [one["pid"] for one in await client.call(commands.list, sandbox)]
    assert (await client.call(commands.get, sandbox, pid))["state"] == "running"
    while (await client.call(commands.logs, sandbox, pid))["stdout"] != "begun\n":
        await asyncio.sleep(0.02)
    await client.call(commands.kill, sandbox, pid)
    assert (await client.call(commands.get, sandbox, pid))["exit_code"] == 137
    await client.refused("NotFoundError", commands.get, sandbox, "999")
    await client.refused("CommandTimeoutError", commands.run, sandbox, "true", timeout_seconds=601)


async def commands_take_options(client: Client) -> None:
    run, sandbox = client.miosa.commands.run, client.sandbox.id
    found = await client.call(run, sandbox, "cat; echo err >&2", stdin="typed ü\n", interactive=True)
    assert (found["stdout"], found["stderr"], found["exit_code"]) == ("typed ü\n", "err\n", 0)
    found = await client.call(run, sandbox, "printf begun; sleep 600", timeout_seconds=1)
    assert (found["stdout"], found["exit_code"], found["timed_out"]) == ("begun", 124, True)
    options = {"timeout_seconds": 1, "cwd": "/usr", "stdin": "in\n"}
    made = await client.call(run, sandbox, "pwd; cat; sleep 600", detached=True, **options)
    await client.all(client.sandbox.processes.stream, made["pid"])
    assert (await client.call(client.miosa.commands.get, sandbox, made["pid"]))["exit_code"] == 124
    assert (await client.call(client.miosa.commands.logs, sandbox, made["pid"]))["stdout"] == "/usr\nin\n"
    error = await client.refused("ServerError", run, sandbox, "true", tty=True)
    assert (error.status_code, error.code) == (501, "NOT_IMPLEMENTED")


async def interactive_commands_have_what_stdin_says(client: Client) -> None:
    """No call could send them more, so without ``stdin`` their input is at its end."""
    commands, sandbox = client.miosa.commands, client.sandbox.id
    text = "cat; test -t 0 || echo no terminal; exit 3"
    found = await client.call(commands.run, sandbox, text, interactive=True)
    assert (found["stdout"], found["exit_code"]) == ("no terminal\n", 3)
    made = await client.call(commands.run, sandbox, text, interactive=True, detached=True)
    await client.all(client.sandbox.processes.stream, made["pid"])
    assert (await client.call(commands.logs, sandbox, made["pid"]))["stdout"] == "no terminal\n"
    assert (await client.call(commands.get, sandbox, made["pid"]))["exit_code"] == 3


async def commands_run_as_others(client: Client) -> None:
    commands, sandbox = client.miosa.commands, client.sandbox.id
    me = (await client.call(commands.run, sandbox, "id -un"))["stdout"].strip()
    assert (await client.call(commands.run, sandbox, "id -un", user=me))["stdout"].strip() == me
    await client.refused("ValidationError", commands.run, sandbox, "true", user="nobody-of-this-name")
    if me == "root":
        assert (await client.call(commands.run, sandbox, "id -un", user="nobody"))["stdout"] == "nobody\n"
        assert (await client.call(commands.run, sandbox, "id -un", sudo=True))["stdout"] == "root\n"
    else:
        error = await client.refused("PermissionError", commands.run, sandbox, "true", sudo=True)
        assert (error.status_code, error.code) == (403, "PERMISSION_DENIED")
    error = await client.refused("ServerError", commands.run, sandbox, "true", tty=True)
    assert (error.status_code, error.code) == (501, "NOT_IMPLEMENTED")


async def stdin_of_a_process_is_not_to_be_had(client: Client) -> None:
    handle = await client.call(client.sandbox.commands.run, "sleep 600", background=True)
    await client.refused("MiosaError", client.sandbox.commands.send_stdin, handle.pid, "x")  # without a request
    assert (await client.call(handle.status))["state"] == "running"
    await client.call(handle.kill)


async def code_keeps_its_names(client: Client) -> None:
    run = client.sandbox.run_code
    found = await client.call(run, "import sys\nx = 41\nprint('out')\nprint('err', file=sys.stderr)")
    assert (found.ok, found.stdout, found.stderr, found.result) == (True, "out\n", "err\n", None)
    found = await client.call(run, "x += 1\nx", language="python")
    assert (found.ok, found.result, found.language) == (True, 42, "python")
    assert (await client.call(run, "[x, 'ü', object]")).result.startswith("[42, 'ü', <class")
    found = await client.call(run, "import os\nos.system('echo from a child')\n1 / 0")
    assert (found.ok, found.stdout) == (False, "from a child\n")
    assert "ZeroDivisionError" in found.stderr
    assert "1 / 0" in found.stderr
    found = await client.call(run, "x", context="other")
    assert "NameError" in found.stderr
    assert sorted(await client.call(client.sandbox.code_contexts)) == ["default", "other"]
    await client.call(client.sandbox.reset_code, context="other")
    assert await client.call(client.sandbox.code_contexts, language="python") == ["default"]
    assert (await client.call(run, "x")).result == 42
    await client.call(client.sandbox.reset_code)
    assert "NameError" in (await client.call(run, "x")).stderr
    assert (await client.call(run, "def f(:")).ok is False


async def code_is_the_main_module(client: Client) -> None:
    """By which what it defines is found, where it is pickled for another process."""
    run = client.sandbox.run_code
    defined = await client.call(run, "from multiprocessing import Pool\ndef double(x):\n    return 2 * x")
    assert defined.ok, defined.stderr
    found = await client.call(run, "with Pool(1) as pool:\n    found = pool.map(double, [1, 2])\nfound")
    assert (found.result, found.stderr) == ([2, 4], "")
    assert (await client.call(run, "import __main__\n__main__.double(4), __name__")).result == [8, "__main__"]
    assert (await client.call(run, "__builtins__.len([1])")).result == 1


async def code_ends(client: Client) -> None:
    run = client.sandbox.run_code
    assert (await client.call(run, "1")).ok  # the interpreter has started
    found = await client.call(run, "print('begun')\nimport time\ntime.sleep(600)", timeout=1)
    assert (found.ok, found.stdout) == (False, "begun\n")
    assert (await client.call(run, "1 + 1")).result == 2
    assert (await client.call(run, "print('last')\nraise SystemExit(3)")).stdout == "last\n"
    assert (await client.call(run, "1 + 2")).result == 3
    await client.refused("ValidationError", run, "1", language="cobol")


async def code_runs_in_javascript(client: Client) -> None:
    run = client.sandbox.run_code
    found = await client.call(
        run, "const x = 41; console.log('out'); console.error('err'); x + 1", language="javascript"
    )
    if shutil.which("node") is None:
        assert found.ok is False
        assert "node" in found.stderr
        return
    assert (found.ok, found.stdout, found.stderr, found.result) == (True, "out\n", "err\n", 42)
    assert (await client.call(run, "Promise.resolve(x)", language="javascript")).result == 41
    assert "ReferenceError" in (await client.call(run, "y", language="javascript")).stderr


async def git_is_a_command(client: Client) -> None:
    who = "git config user.name n; git config user.email e@x"
    await client.call(client.sandbox.exec.run, f"git init -q repo; cd repo; {who}; echo text >file")
    done = await client.call(client.sandbox.git.commit, "repo", message="it's done")
    assert done.exit_code == 0, done.stderr
    done = await client.call(client.sandbox.git.clone, "repo", path="clone")
    assert (done.exit_code, done.path) == (0, "clone")
    assert (await client.call(client.sandbox.exec.run, "cat clone/file")).stdout == "text\n"


async def git_pulls_and_pushes(client: Client) -> None:
    run, git = client.sandbox.exec.run, client.sandbox.git
    who = "git config user.name n; git config user.email e@x"
    made = "git init -q --bare hub; git --git-dir=hub symbolic-ref HEAD refs/heads/main; git clone -q hub one"
    await client.call(run, f"{made}; cd one; git checkout -q -b main; {who}; echo 1 >file")
    done = await client.call(git.commit, "one", message="first")
    assert done.exit_code == 0, done.stderr
    done = await client.call(git.push, "one", branch="main")
    assert done.exit_code == 0, done.stderr
    done = await client.call(git.clone, "hub", path="two", branch="main", depth=1)
    assert done.exit_code == 0, done.stderr
    await client.call(run, "cd one; echo 2 >file")
    await client.call(git.commit, "one", message="second")
    assert (await client.call(git.push, "one", branch="main", force=True)).exit_code == 0
    done = await client.call(git.pull, "two", branch="main")
    assert done.exit_code == 0, done.stderr
    assert (await client.call(run, "cat two/file")).stdout == "2\n"
    assert (await client.call(git.pull, "two", remote="nowhere")).exit_code != 0


CHECKS: list[Check] = [
    commands_run_by_id,
    commands_take_options,
    interactive_commands_have_what_stdin_says,
    commands_run_as_others,
    stdin_of_a_process_is_not_to_be_had,
    code_keeps_its_names,
    code_is_the_main_module,
    code_ends,
    code_runs_in_javascript,
    git_is_a_command,
    git_pulls_and_pushes,
]

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], CHECKS))
