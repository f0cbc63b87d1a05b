"""Checks of sandboxes, sessions, exec and logs: ``python daytona_processes.py sync`` or ``async``."""

from __future__ import annotations

import asyncio
import sys
import time

from daytona import CreateSandboxFromSnapshotParams, ListSandboxesQuery, SandboxState
from daytona_clients import Check, Client, run_checks


async def sandbox_is_found_by_id_and_name(client: Client) -> None:
    params = CreateSandboxFromSnapshotParams(name=f"named-{client.kind}", language="javascript", labels={"t": "tag"})
    made = await client.call(client.daytona.create, params)
    assert made.state == SandboxState.STARTED
    assert made.labels == {"t": "tag", "code-toolbox-language": "javascript"}
    assert (await client.call(client.daytona.get, made.name)).id == made.id
    assert (await client.call(client.daytona.get, made.id)).name == made.name
    await client.refused("DaytonaConflictError", client.daytona.create, params)
    assert await listed(client, ListSandboxesQuery(labels={"t": "tag"}, limit=1)) == [made.id]
    assert client.sandbox.id in await listed(client, ListSandboxesQuery(limit=1))
    await client.call(made.delete)
    await client.refused("DaytonaNotFoundError", client.daytona.get, made.id)
    await client.refused("DaytonaNotFoundError", made.delete)


async def listed(client: Client, query: ListSandboxesQuery) -> list[str]:
    found = client.daytona.list(query)
    if client.kind == "sync":
        return await asyncio.to_thread(lambda: [sandbox.id for sandbox in found])
    return [sandbox.id async for sandbox in found]


async def sandbox_stops_and_starts(client: Client) -> None:
    made = await client.call(client.daytona.create, CreateSandboxFromSnapshotParams(env_vars={"WHO": "me"}))
    assert (await client.call(made.process.exec, "echo $WHO; echo kept >file")).result == "me\n"
    await client.call(made.stop)
    assert made.state == SandboxState.STOPPED
    await client.refused("DaytonaConflictError", made.process.exec, "true")
    await client.call(made.start)
    assert made.state == SandboxState.STARTED
    assert (await client.call(made.process.exec, "cat file")).result == "kept\n"
    await client.call(made.pause)
    assert made.state == SandboxState.PAUSED
    await client.call(made.start)
    await client.call(made.set_autostop_interval, 7)
    await client.call(made.set_auto_delete_interval, 9)
    await client.call(made.refresh_data)
    assert (made.auto_stop_interval, made.auto_delete_interval) == (7, 9)
    await client.call(client.daytona.delete, made, wait=True)


async def sandbox_takes_labels_and_tells_directories(client: Client) -> None:
    labels = {"a": "b", "code-toolbox-language": "python"}
    assert await client.call(client.sandbox.set_labels, labels) == labels
    assert (await client.call(client.daytona.get, client.sandbox.id)).labels == labels
    work, home = await client.call(client.sandbox.get_work_dir), await client.call(client.sandbox.get_user_home_dir)
    assert (await client.call(client.process.exec, 'printf "$PWD $HOME"')).result == f"{work} {home}"


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
    await client.refused("DaytonaBadRequestError", client.process.create_session, "entrypoint")
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
    error = await client.refused("DaytonaError", client.sandbox.fs.list_files, "/")
    assert error.status_code == 501
    assert "files" in error.message
    sandbox = client.sandbox
    for call, arguments in (
        (sandbox.recover, []),
        (sandbox.update_env, [{"A": "b"}]),
        (sandbox.get_metrics, []),
        (sandbox.get_metrics_latest, []),
        (sandbox.upload_url, ["/x"]),
        (sandbox.download_url, ["/x"]),
        (sandbox.rotate_signing_key, []),
        (sandbox.validate_ssh_access, ["x"]),
    ):
        error = await client.refused("DaytonaError", call, *arguments)
        assert (error.status_code, error.code) == (501, "NOT_IMPLEMENTED")


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


async def streams_are_exact(client: Client) -> None:
    session = await client.session()
    texts = [r"a\0b", r"\001\001\001x\002\002\002\002", r"\001", r"\001\001\001\001", r"\303", r"\274 no newline"]
    text = "; ".join(f"printf '{part}'; printf '{part}' >&2; sleep 0.05" for part in texts)
    wanted = b"".join(part.encode().decode("unicode_escape").encode("latin-1") for part in texts).decode()
    command_id = await client.start(session, text)
    assert await client.follow(session, command_id) == (wanted, wanted)
    assert await client.follow(session, command_id) == (wanted, wanted)


async def streams_are_live(client: Client) -> None:
    session = await client.session()
    command_id = await client.start(session, "printf begun; read x; sleep 600")
    first = asyncio.Event()
    seen: list[str] = []

    def note(text: str) -> None:
        seen.append(text)
        first.set()

    follow = client.process.get_session_command_logs_async
    many = [asyncio.create_task(follow(session, command_id, note, note)) for _ in range(3)]
    await first.wait()
    assert seen[0] == "begun"
    began = time.monotonic()
    await client.call(client.process.delete_session, session)
    await asyncio.gather(*many)
    assert seen == ["begun"] * 3
    assert time.monotonic() - began < 4


async def streams_tell_the_shortest_output_at_once(client: Client) -> None:
    session = await client.session()
    seen: list[str] = []
    command_id = await client.start(
        session, "printf a; read x; printf b; read x; printf '\\001'; read x", suppress_input_echo=True
    )
    follow = client.process.get_session_command_logs_async
    following = asyncio.create_task(follow(session, command_id, seen.append, seen.append))
    for wanted in ("a", "ab", "ab\1"):
        while "".join(seen) != wanted:
            await asyncio.sleep(0.01)
        await client.call(client.process.send_session_command_input, session, command_id, "go on")
    await following
    assert "".join(seen) == "ab\1"


async def streams_may_be_large(client: Client) -> None:
    session = await client.session()
    command_id = await client.start(session, "head -c 5000000 /dev/zero | tr '\\0' x; seq 20000 >&2")
    out, err = await client.follow(session, command_id)
    assert (len(out), out.strip("x")) == (5_000_000, "")
    assert err == "".join(f"{number}\n" for number in range(1, 20001))


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


CHECKS: list[Check] = [
    sandbox_is_found_by_id_and_name,
    sandbox_stops_and_starts,
    sandbox_takes_labels_and_tells_directories,
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
    streams_are_exact,
    streams_are_live,
    streams_tell_the_shortest_output_at_once,
    streams_may_be_large,
    deletion_answers_who_waits,
]

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], CHECKS))
