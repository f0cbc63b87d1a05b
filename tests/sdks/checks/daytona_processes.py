"""Checks of sessions, exec and logs: ``python daytona_processes.py sync`` or ``async``."""

from __future__ import annotations

import asyncio
import sys
import time

from daytona import CodeRunParams, CreateSandboxFromSnapshotParams, SessionExecuteRequest
from daytona_clients import Check, Client, run_checks


async def exec_tells_output_and_exit_code(client: Client) -> None:
    found = await client.call(client.process.exec, "echo out; echo err >&2; echo {1..3}; cat; exit 3")
    assert (found.exit_code, found.result, found.artifacts.stdout) == (3, "out\nerr\n1 2 3\n", "out\nerr\n1 2 3\n")
    found = await client.call(client.process.exec, "echo $PWD $A", cwd="/usr", env={"A": "x y"})
    assert found.result == "/usr x y\n"
    found = await client.call(client.process.exec, "pwd", cwd="/nowhere")
    assert found.exit_code == -1
    assert "/nowhere" in found.result


async def exec_is_fresh_each_time(client: Client) -> None:
    await client.call(client.process.exec, "cd /; X=1; export Y=2")
    assert (await client.call(client.process.exec, "echo $X$Y; test $PWD != /")).result == "\n"


async def exec_times_out(client: Client) -> None:
    began = time.monotonic()
    text = "trap '' TERM INT; sleep 600 & sleep 600; sleep 600"
    error = await client.refused("DaytonaProcessExecutionTimeoutError", client.process.exec, text, timeout=1)
    assert (error.status_code, error.code, error.source) == (408, "PROCESS_EXECUTION_TIMEOUT", "DAYTONA_DAEMON")
    assert time.monotonic() - began < 5
    error = await client.refused("DaytonaBadRequestError", client.process.exec, "  ")
    assert error.status_code == 400


async def code_runs(client: Client) -> None:
    found = await client.call(client.process.code_run, "import sys\nprint(1 + 1)\nprint('e', file=sys.stderr)")
    assert (found.exit_code, sorted(found.result.split())) == (0, ["2", "e"])
    found = await client.call(client.process.code_run, "raise SystemExit(4)")
    assert found.exit_code == 4


async def session_keeps_its_state(client: Client) -> None:
    session = await client.session()
    await client.run(session, "cd /usr; X=1; f() { echo f$X; }")
    found = await client.run(session, "pwd; f; echo err >&2; (exit 5)")
    assert (found.exit_code, found.stdout, found.stderr) == (5, "/usr\nf1\n", "err\n")
    assert found.output == "/usr\nf1\nerr\n"
    shown = await client.call(client.process.get_session, session)
    assert [command.exit_code for command in shown.commands] == [0, 5]
    assert shown.commands[1].id == found.cmd_id
    one = await client.call(client.process.get_session_command, session, found.cmd_id)
    assert (one.command, one.exit_code) == ("pwd; f; echo err >&2; (exit 5)", 5)
    assert session in [item.session_id for item in await client.call(client.process.list_sessions)]


async def session_is_serial(client: Client) -> None:
    session, other = await client.session(), await client.session()
    command_id = await client.start(session, "sleep 1; X=late")
    running = await client.call(client.process.get_session_command, session, command_id)
    assert running.exit_code is None
    assert (await client.run(other, "echo $X")).stdout == "\n"
    assert (await client.run(session, "echo $X")).stdout == "late\n"


async def session_names_may_be_odd(client: Client) -> None:
    name = "a b/ü?%"
    await client.call(client.process.create_session, name)
    assert (await client.run(name, "echo here")).stdout == "here\n"
    error = await client.refused("DaytonaConflictError", client.process.create_session, name)
    assert error.message.startswith("Failed to create session: ")
    for impossible in ("", ".", "..", "entrypoint"):
        await client.refused("DaytonaBadRequestError", client.process.create_session, impossible)
    await client.call(client.process.delete_session, name)


async def input_is_delivered_and_echoed(client: Client) -> None:
    session = await client.session()
    assert (await client.run(session, "cat; echo at end")).stdout == "at end\n"
    command_id = await client.start(session, "read a; echo got $a; read b; echo got $b")
    await client.call(client.process.send_session_command_input, session, command_id, "one")
    await client.call(client.process.send_session_command_input, session, command_id, "two\n")
    out, _ = await client.follow(session, command_id)
    assert sorted(out.split("\n")) == sorted(["one", "got one", "two", "got two", ""])
    command_id = await client.start(session, "read -s a; echo got $a", suppress_input_echo=True)
    await client.call(client.process.send_session_command_input, session, command_id, "secret")
    assert await client.follow(session, command_id) == ("got secret\n", "")
    await client.refused(
        "DaytonaCommandAlreadyCompletedError", client.process.send_session_command_input, session, command_id, "x"
    )


async def session_ends_with_its_shell(client: Client) -> None:
    session = await client.session()
    found = await client.run(session, "echo bye; exit 7")
    assert (found.exit_code, found.stdout) == (7, "bye\n")
    error = await client.refused_run("DaytonaSessionEndedError", session, "true")
    assert (error.status_code, error.code) == (410, "SESSION_ENDED")
    assert (await client.call(client.process.get_session_command_logs, session, found.cmd_id)).stdout == "bye\n"


async def errors_have_their_types(client: Client) -> None:
    session = await client.session()
    process = client.process
    error = await client.refused("DaytonaNotFoundError", process.get_session, "nobody")
    assert (error.status_code, error.code, error.source) == (404, "NOT_FOUND", "DAYTONA_DAEMON")
    await client.refused("DaytonaNotFoundError", process.delete_session, "nobody")
    await client.refused("DaytonaNotFoundError", process.get_session_command, session, "nobody")
    await client.refused("DaytonaNotFoundError", process.get_session_command_logs, session, "nobody")
    await client.refused("DaytonaNotFoundError", process.get_entrypoint_session)
    await client.refused_run("DaytonaBadRequestError", session, " ")
    await client.refused_run("DaytonaNotFoundError", "nobody", "true")
    try:
        await client.follow(session, "nobody")
    except Exception as raised:
        assert type(raised).__name__ == "DaytonaError", repr(raised)
    else:
        raise AssertionError("no log of nobody can be followed")


async def logs_are_kept_until_the_session_is_deleted(client: Client) -> None:
    session = await client.session()
    found = await client.run(session, "echo out; echo err >&2")
    logs = await client.call(client.process.get_session_command_logs, session, found.cmd_id)
    assert (logs.output, logs.stdout, logs.stderr) == ("out\nerr\n", "out\n", "err\n")
    assert await client.follow(session, found.cmd_id) == ("out\n", "err\n")
    await client.call(client.process.delete_session, session)
    await client.refused("DaytonaNotFoundError", client.process.get_session_command_logs, session, found.cmd_id)
    await client.call(client.process.create_session, session)  # its id is free
    assert (await client.call(client.process.get_session, session)).commands == []


async def deletion_answers_who_waits(client: Client) -> None:
    session = await client.session()
    waiting = asyncio.create_task(client.run(session, "echo begun; sleep 600"))
    while len((await client.call(client.process.get_session, session)).commands) < 1:
        await asyncio.sleep(0.02)
    queued = asyncio.create_task(client.run(session, "echo never"))
    while len((await client.call(client.process.get_session, session)).commands) < 2:
        await asyncio.sleep(0.02)
    await client.call(client.process.delete_session, session)
    for task in (waiting, queued):
        try:
            await task
        except Exception as raised:
            assert type(raised).__name__ == "DaytonaBadRequestError", repr(raised)
            assert "session cancelled" in str(raised)
        else:
            raise AssertionError("it was answered as if it had come to its end")


async def exec_has_an_environment(client: Client) -> None:
    params = CreateSandboxFromSnapshotParams(env_vars={"A": "sandbox", "B": "sandbox"})
    made = await client.call(client.daytona.create, params)
    found = await client.call(made.process.exec, 'echo "$A $B ${PATH:+path}"', env={"B": "call"})
    assert found.result == "sandbox call path\n"
    shown = await client.call(made.process.code_run, "import os; print(os.environ['A'], os.environ['B'])")
    assert shown.result == "sandbox sandbox\n"
    await client.call(made.process.create_session, "s")
    assert (await client.run("s", "echo $A", of=made)).stdout == "sandbox\n"
    await client.call(made.delete)
    error = await client.refused("DaytonaBadRequestError", client.process.exec, "true", env={"1A": "x"})
    assert "1A" in error.message


async def exec_waits_for_its_own_shell_alone(client: Client) -> None:
    """What it leaves behind keeps its output open, and lives on."""
    found = await client.call(client.process.exec, "sleep 600 & echo $! on", timeout=0)
    pid, on = found.result.split()
    assert (found.exit_code, on) == (0, "on")
    assert (await client.call(client.process.exec, f"kill {pid}")).exit_code == 0
    for text in ("kill -TERM $$; sleep 600", "kill -TERM 0; sleep 600"):
        assert (await client.call(client.process.exec, text)).exit_code == 143


async def code_runs_with_what_it_is_given(client: Client) -> None:
    code = "import os, sys\nprint(sys.argv[1:], os.environ['A'], os.getcwd() == os.environ['HOME'])\nsys.stdin.read()"
    params = CodeRunParams(argv=["a b", "$x"], env={"A": "1"})
    found = await client.call(client.process.code_run, code, params)
    assert (found.exit_code, found.result, found.artifacts.charts) == (0, "['a b', '$x'] 1 True\n", [])
    failed = await client.call(client.process.code_run, "print('before')\nraise ValueError('the reason')")
    assert failed.exit_code == 1
    assert failed.result.startswith("before\nTraceback")
    assert "ValueError: the reason" in failed.result
    # The SDK tells errors of this call as they came, without its own types.
    error = await client.refused("ApiException", client.process.code_run, "while True: pass", timeout=1)
    assert error.status == 408
    assert "PROCESS_EXECUTION_TIMEOUT" in error.body
    bad = CodeRunParams(env={"1A": "x"})
    assert (await client.refused("BadRequestException", client.process.code_run, "", bad)).status == 400


async def started_commands_wait_in_line(client: Client) -> None:
    session = await client.session()
    first = await client.start(session, "read x; echo first $x; X=set")
    second = await client.start(session, "read y; echo second $X $y", suppress_input_echo=True)
    for command_id in (first, second):
        assert (await client.call(client.process.get_session_command, session, command_id)).exit_code is None
    await client.call(client.process.send_session_command_input, session, second, "early")
    assert (await client.call(client.process.get_session_command_logs, session, second)).output == ""
    await client.call(client.process.send_session_command_input, session, first, "go")
    assert await client.follow(session, second) == ("second set early\n", "")
    shown = await client.call(client.process.get_session, session)
    assert [(command.id, command.exit_code) for command in shown.commands] == [(first, 0), (second, 0)]


async def input_is_refused_where_nothing_reads_it(client: Client) -> None:
    send = client.process.send_session_command_input
    session = await client.session()
    await client.refused("DaytonaNotFoundError", send, "nobody", "x", "text")
    await client.refused("DaytonaNotFoundError", send, session, "x", "text")
    waited = (await client.run(session, "true")).cmd_id
    error = await client.refused("DaytonaCommandAlreadyCompletedError", send, session, waited, "text")
    assert (error.status_code, error.code, error.source) == (410, "COMMAND_ALREADY_COMPLETED", "DAYTONA_DAEMON")
    running = asyncio.create_task(client.run(session, "while [ ! -e go-on ]; do sleep 0.02; done; rm go-on"))
    while len(commands := (await client.call(client.process.get_session, session)).commands) < 2:
        await asyncio.sleep(0.02)
    error = await client.refused("DaytonaConflictError", send, session, commands[1].id, "text")
    assert "runAsync" in error.message
    await client.call(client.process.exec, "touch go-on")
    assert (await running).exit_code == 0
    deaf = await client.start(session, "exec 0<&-; echo deaf; while [ ! -e go-on ]; do sleep 0.02; done; rm go-on")
    while not (await client.call(client.process.get_session_command_logs, session, deaf)).output:
        await asyncio.sleep(0.02)
    error = await client.refused("DaytonaGoneError", send, session, deaf, "text")
    assert (error.code, "finished" in error.message) == ("GONE", False)
    await client.call(client.process.exec, "touch go-on")
    await client.follow(session, deaf)
    await client.run(session, "exit")
    error = await client.refused("DaytonaSessionEndedError", send, session, waited, "text")
    assert (error.status_code, error.code, error.source) == (410, "SESSION_ENDED", "DAYTONA_DAEMON")


async def entrypoint_is_not_there(client: Client) -> None:
    process = client.process
    await client.refused("DaytonaNotFoundError", process.get_entrypoint_session)
    await client.refused("DaytonaNotFoundError", process.get_entrypoint_logs)
    for method in (process.get_session_command, process.get_session_command_logs):
        await client.refused("DaytonaNotFoundError", method, "entrypoint", "entrypoint_command")
    try:
        await process.get_entrypoint_logs_async(print, print)
    except Exception as error:
        assert type(error).__name__ == "DaytonaError", repr(error)
    else:
        raise AssertionError("nothing runs by itself")
    await client.refused("DaytonaBadRequestError", process.create_session, "entrypoint")
    await client.refused_run("DaytonaBadRequestError", "entrypoint", "true")
    await client.refused("DaytonaBadRequestError", process.send_session_command_input, "entrypoint", "x", "text")
    await client.refused("DaytonaBadRequestError", process.delete_session, "entrypoint")
    names = [found.session_id for found in await client.call(process.list_sessions)]
    assert "entrypoint" not in names
    assert "" not in names


async def sessions_end_as_shells_do(client: Client) -> None:
    for text, code in (("set -e; false; echo no", 1), ("exec sh -c 'exit 3'", 3), ("kill -9 $$", 137)):
        session = await client.session()
        queued = await client.start(session, "read x; echo on")
        waiting = asyncio.create_task(client.run(session, text))
        while len((await client.call(client.process.get_session, session)).commands) < 2:
            await asyncio.sleep(0.02)
        never = await client.start(session, "echo never")
        await client.call(client.process.send_session_command_input, session, queued, "go")
        found = await waiting
        assert (found.exit_code, found.stdout) == (code, ""), text
        assert await client.follow(session, never) == ("", "")
        await client.refused_run("DaytonaSessionEndedError", session, "true")
        await client.call(client.process.delete_session, session)


async def requests_may_be_too_large(client: Client) -> None:
    error = await client.refused("DaytonaError", client.process.exec, "#" * (17 << 20))
    assert (error.status_code, error.code, error.source) == (413, "PAYLOAD_TOO_LARGE", "DAYTONA_DAEMON")


async def who_gives_up_waiting_ends_nothing(client: Client) -> None:
    session = await client.session()
    text = "echo once >>waited; while [ ! -e go-on ]; do sleep 0.02; done; rm go-on"
    request = SessionExecuteRequest(command=text)
    execute = client.process.execute_session_command
    await client.refused("DaytonaConnectionTimeoutError", execute, session, request, timeout=1)
    (command,) = (await client.call(client.process.get_session, session)).commands
    assert command.exit_code is None
    await client.call(client.process.exec, "touch go-on")
    assert (await client.run(session, "cat waited; rm waited")).stdout == "once\n"
    command = await client.call(client.process.get_session_command, session, command.id)
    assert command.exit_code == 0


CHECKS: list[Check] = [
    exec_tells_output_and_exit_code,
    exec_is_fresh_each_time,
    exec_times_out,
    code_runs,
    session_keeps_its_state,
    session_is_serial,
    session_names_may_be_odd,
    input_is_delivered_and_echoed,
    session_ends_with_its_shell,
    errors_have_their_types,
    logs_are_kept_until_the_session_is_deleted,
    deletion_answers_who_waits,
    exec_has_an_environment,
    exec_waits_for_its_own_shell_alone,
    code_runs_with_what_it_is_given,
    started_commands_wait_in_line,
    input_is_refused_where_nothing_reads_it,
    entrypoint_is_not_there,
    sessions_end_as_shells_do,
    requests_may_be_too_large,
    who_gives_up_waiting_ends_nothing,
]

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], CHECKS))
