"""Checks of computers, what runs on them, services and terminals: ``python miosa_computers.py sync`` or ``async``."""

from __future__ import annotations

import asyncio
import os
import sys
import time

from miosa import helpers
from miosa_clients import Check, Client, run_checks

TREE = "echo begun; trap '' TERM; sleep 600 & setsid sleep 600 & sleep 600"


async def computer_is_made_found_and_deleted(client: Client) -> None:
    made = await client.call(
        client.miosa.computers.create, name="one", size="medium", metadata={"a": 1}, env={"WHO": "me"}
    )
    assert (made.name, made.status) == ("one", "running")
    assert (await client.call(client.miosa.computers.get, made.id)).name == "one"
    assert made.id in [found.id for found in await client.call(client.miosa.computers.list)]
    assert client.sandbox.id not in [found.id for found in await client.call(client.miosa.computers.list)]
    assert (await client.call(made.bash, "echo $WHO")).output == "me\n"
    await client.call(client.miosa.computers.delete, made.id)
    error = await client.refused("NotFoundError", client.miosa.computers.get, made.id)
    assert (error.status_code, error.code) == (404, "NOT_FOUND")
    assert error.request_id.startswith("req_")
    await client.refused("NotFoundError", client.miosa.computers.get, client.sandbox.id)


async def computer_stops_and_starts(client: Client) -> None:
    made = await client.call(client.miosa.computers.create, name="two")
    await client.call(made.bash, "echo kept >file")
    assert (await client.call(made.stop)).success is True
    error = await client.refused("MiosaError", made.bash, "true")
    assert (error.status_code, error.code) == (409, "COMPUTER_NOT_RUNNING")
    assert (await client.call(made.start)).success is True
    assert (await client.call(made.bash, "cat file")).output == "kept\n"
    await client.call(made.restart)
    assert (await client.call(made.wait_until_ready)).status == "running"
    await client.call(made.destroy)
    await client.refused("NotFoundError", made.destroy)


async def computer_is_left(client: Client) -> None:
    """Leaving its block destroys it, whatever has happened there."""
    for error in (None, KeyError("told on")):
        made = await client.call(client.miosa.computers.create, name="left", fail_fast=True)
        try:
            await client.leave(made, error)
        except KeyError as raised:
            assert raised is error
        else:
            assert error is None
        await client.refused("NotFoundError", client.miosa.computers.get, made.id)


async def computer_is_changed_and_looked_at(client: Client) -> None:
    computers = client.miosa.computers
    workspace = f"w-{client.kind}"
    made = await client.call(computers.create, name="three", workspace_id=workspace)
    assert [one.id for one in await client.call(computers.list, workspace_id=workspace)] == [made.id]
    assert await client.call(computers.list, workspace_id="none") == []
    changed = await client.call(computers.update, made.id, name="four", metadata={"a": 1})
    assert (changed.id, changed.name, changed.data.metadata) == (made.id, "four", {"a": 1})
    assert made.name == "three"  # as it was
    assert (await client.call(made.refresh)).name == "four"
    assert (await client.call(made.wait_until_idle, idle_seconds=0)).status == "running"
    again = await client.call(made.restart)
    assert (again.success, again.status) == (True, "running")
    stopped = await client.call(made.stop)
    assert (stopped.success, stopped.status) == (True, "stopped")
    assert (await client.call(made.refresh)).status == "stopped"
    await client.call(made.destroy)


async def bash_tells_output_and_exit_code(client: Client) -> None:
    found = await client.call(client.computer.bash, "echo out; echo err >&2; echo {1..3}; cat; exit 3")
    assert (found.output, found.stderr, found.exit_code, found.success) == ("out\n1 2 3\n", "err\n", 3, False)
    assert (await client.call(client.computer.exec.bash, "true")).success is True
    assert (await client.call(client.computer.run, "printf 'ü\u2028\\xff'")).output == "ü\u2028\ufffd"
    found = await client.call(client.computer.bash, "nonsense-of-a-program")
    assert found.exit_code == 127
    assert "nonsense-of-a-program" in found.stderr
    found = await client.call(client.computer.bash, "kill -9 $BASHPID")
    assert found.exit_code == 137


async def bash_times_out(client: Client) -> None:
    began = time.monotonic()
    found = await client.call(client.computer.bash, TREE, timeout=1)
    assert (found.output, found.exit_code, found.success) == ("begun\n", 124, False)
    assert time.monotonic() - began < 10
    error = await client.refused("CommandTimeoutError", client.computer.bash, "true", timeout=301)
    assert (error.status_code, error.code) == (422, "TIMEOUT_TOO_LONG")
    await client.refused("ValidationError", client.computer.bash, "  ")


async def python_runs(client: Client) -> None:
    found = await client.call(client.computer.python, "import sys\nprint(6 * 7)\nprint('e', file=sys.stderr)")
    assert (found.output, found.stderr, found.exit_code) == ("42\n", "e\n", 0)
    found = await client.call(client.computer.exec.python, "raise ValueError('no')")
    assert found.exit_code == 1
    assert "ValueError: no" in found.stderr
    assert "raise ValueError('no')" in found.stderr  # the source is there for the traceback
    found = await client.call(client.computer.python, "print('x', end='')\nimport time\ntime.sleep(600)", timeout=5)
    assert (found.output, found.exit_code) == ("x", 124)
    error = await client.refused("CommandTimeoutError", client.computer.exec.python, "1", timeout=301)
    assert (error.status_code, error.code) == (422, "TIMEOUT_TOO_LONG")


async def commands_run_on_a_computer(client: Client) -> None:
    run = client.miosa.commands.run_computer
    found = await client.call(run, client.computer.id, "pwd; cat; exit 4", cwd="/usr", stdin="in ü\n")
    assert (found["stdout"], found["output"], found["exit_code"]) == ("/usr\nin ü\n", "/usr\nin ü\n", 4)
    assert isinstance(found["duration_ms"], int)
    found = await client.call(run, client.computer.id, "pwd", cwd="/nowhere")
    assert found["exit_code"] == 127
    assert "/nowhere" in found["stderr"]
    assert (await client.call(run, client.computer.id, "sleep 600", timeout_seconds=1))["exit_code"] == 124
    error = await client.refused("CommandTimeoutError", run, client.computer.id, "true", timeout_seconds=601)
    assert error.status_code == 422


async def helpers_run_commands(client: Client) -> None:
    execute = helpers.exec_command if client.kind == "sync" else helpers.exec_command_async
    found = await client.call(execute, client.miosa, client.computer.id, "echo hi", kind="computer")
    assert found.output == "hi\n"
    found = await client.call(execute, client.miosa, client.computer.id, "pwd", kind="computer", cwd="/usr")
    assert found.output == "/usr\n"
    found = await client.call(execute, client.miosa, client.sandbox.id, "echo hi", kind="sandbox")
    assert found.output == "hi\n"
    for kind, machine in (("computer", client.computer), ("sandbox", client.sandbox)):
        found = await client.call(execute, client.miosa, machine, "pwd; sleep 600", kind=kind, cwd="/usr", timeout=1)
        assert (found.output, found.exit_code) == ("/usr\n", 124)
    stream = helpers.stream_command if client.kind == "sync" else helpers.stream_command_async
    events = await client.all(stream, client.sandbox, "echo hi; exit 3")
    assert [event.type for event in events] == ["stdout", "exit"]
    assert events[-1].data["exit_code"] == 3


async def service_lives(client: Client) -> None:
    services = client.computer.services
    made = await client.call(
        services.create, "ticker", "echo tick $A; pwd; sleep 600", working_dir="/usr", env={"A": "b"}, port=80
    )
    assert (made.name, made.status, made.computer_id, made.port) == ("ticker", "running", client.computer.id, 80)
    assert [found.id for found in await client.call(services.list)] == [made.id]
    assert await ticks(client, made.id) == ["tick b\n", "/usr\n"]
    assert (await client.call(services.stop, made.id)).status == "stopped"
    assert (await client.call(services.get, made.id)).exit_code == 137
    again = await client.call(services.start, made.id)
    assert again.status == "running"
    assert again.pid != made.pid
    assert (await client.call(services.restart, made.id)).pid != again.pid
    await client.call(services.delete, made.id)
    assert await client.call(services.list) == []
    await client.refused("NotFoundError", services.get, made.id)


async def ticks(client: Client, service_id: str) -> list[str]:
    """The first two lines of its log, which are there sooner or later."""
    while True:
        events = await client.all(client.computer.services.logs, service_id, follow=False)
        if len(events) >= 2:
            return [event.line for event in events[:2]]
        await asyncio.sleep(0.02)


async def service_ends_and_restarts(client: Client) -> None:
    services = client.computer.services
    failed = await client.call(services.create, "failing", "echo no >&2; exit 3")
    events = await client.all(services.logs, failed.id)
    assert [(event.stream, event.line) for event in events] == [("stderr", "no\n")]
    found = await client.call(services.get, failed.id)
    assert (found.status, found.exit_code) == ("failed", 3)
    often = await client.call(services.create, "often", "echo again; test -e gate", restart_policy="on-failure")
    while len(await client.all(services.logs, often.id, follow=False)) < 2:
        await asyncio.sleep(0.05)
    await client.call(client.computer.bash, "touch gate")
    await client.all(services.logs, often.id)
    assert (await client.call(services.get, often.id)).status == "stopped"
    always = await client.call(services.create, "always", "echo again", restart_policy="always")
    while len(await client.all(services.logs, always.id, follow=False)) < 2:
        await asyncio.sleep(0.05)
    assert (await client.call(services.stop, always.id)).status == "stopped"
    error = await client.refused("MiosaError", services.create, "often", "true")
    assert error.status_code == 409
    await client.refused("ValidationError", services.create, "odd", "true", restart_policy="perhaps")


async def service_starts_with_its_computer(client: Client) -> None:
    made = await client.call(client.miosa.computers.create, name="serving")
    wanted = await client.call(made.services.create, "wanted", "sleep 600")
    stopped = await client.call(made.services.create, "stopped", "sleep 600")
    await client.call(made.services.stop, stopped.id)
    await client.call(made.stop)
    assert (await client.call(made.services.get, wanted.id)).status == "stopped"
    await client.call(made.start)
    assert (await client.call(made.services.get, wanted.id)).status == "running"
    assert (await client.call(made.services.get, stopped.id)).status == "stopped"
    await client.call(made.destroy)


async def terminal_is_made_and_resized(client: Client) -> None:
    made = await client.call(client.computer.terminal.create, cols=90, rows=30, shell="/bin/sh", env={"A": "b"})
    found = await client.call(client.computer.terminal.resize, made["session_id"], 100, 40)
    assert (found["rows"], found["cols"]) == (40, 100)
    await client.refused("NotFoundError", client.computer.terminal.resize, "pty_none", 100, 40)


async def spaces_do_not_see_each_other(client: Client) -> None:
    other = await client.call(client.miosa.computers.create, name=client.computer.name)  # names need not be unique
    homes = [(await client.call(one.bash, "pwd")).output for one in (client.computer, other)]
    assert homes[0] != homes[1]
    service = await client.call(other.services.create, "theirs", "sleep 600")
    for method in (client.computer.services.get, client.computer.services.stop, client.computer.services.delete):
        await client.refused("NotFoundError", method, service.id)
    assert service.id not in [one.id for one in await client.call(client.computer.services.list)]
    terminal = (await client.call(other.terminal.create))["session_id"]
    await client.refused("NotFoundError", client.computer.terminal.resize, terminal, 100, 40)
    jobs = client.miosa.open_computers.jobs
    for _ in range(3):
        await client.call(client.computer.bash, "true")
    job = (await client.call(jobs.start, client.computer.id, "sleep", args=["600"]))["job"]["id"]
    for method in (jobs.get, jobs.cancel):
        await client.refused("NotFoundError", method, other.id, job)
    assert (await client.call(other.services.get, service.id)).status == "running"
    await client.call(other.destroy)
    assert (await client.call(jobs.get, client.computer.id, job)).state == "running"
    await client.call(jobs.cancel, client.computer.id, job)


async def client_is_told_who_and_where(client: Client) -> None:
    """In the ways in which it can be told; what it adds for other tenants and brands makes no difference."""
    url, token = os.environ["MIOSA_BASE_URL"], os.environ["MIOSA_API_KEY"]
    for options in (
        {"api_key": token, "base_url": f"{url}/"},
        {"access_token": token, "base_url": f"{url}/api/v1"},
        {"tenant": "theirs"},
        {"unbranded": True},
    ):
        other = type(client.miosa)(**options)
        found = await client.call(other.computers.get, client.computer.id)
        assert (await client.call(found.bash, "echo hi")).output == "hi\n"
        sandbox = await client.call(other.sandboxes.get, client.sandbox.id)
        assert [event.type for event in await client.all(sandbox.exec_stream, "echo hi")] == ["stdout", "exit"]
        await client.call(other.close)


async def too_large_a_request_is_refused(client: Client) -> None:
    error = await client.refused("PayloadTooLargeError", client.computer.bash, "true " + "x" * (17 << 20))
    assert (error.status_code, error.code) == (413, "PAYLOAD_TOO_LARGE")


async def what_the_sdk_has_not_is_not_asked_for(client: Client) -> None:
    """Calls of the documentation and of the package's own page, which it does not have."""
    for absent, name in ((client.miosa, "exec"), (client.computer.exec, "run"), (client.computer.exec, "stream")):
        assert not hasattr(absent, name)
    if client.kind == "sync":
        await client.refused(NotImplementedError, client.computer.exec.spawn, "true")


async def what_is_not_there_is_said(client: Client) -> None:
    computer, computers = client.computer, client.miosa.computers
    for method, arguments in (
        (computer.screenshot, []),
        (computer.files.list, ["/"]),
        (computer.checkpoints.list, []),
        (computer.secrets.list, []),
        (computer.network.rules, []),
        (computers.viewer_password, [computer.id]),
        (computers.rotate_viewer_password, [computer.id]),
        (client.miosa.devices.list_files, [computer.id]),
    ):
        error = await client.refused("ServerError", method, *arguments)
        assert (error.status_code, error.code) == (501, "NOT_IMPLEMENTED"), method
    # The SDK does not read what a stream of this kind is refused with, here nor there.
    for stream, arguments in ((computer.logs.stream, []), (computer.services.logs, ["svc_none"])):
        await client.raised("ResponseNotRead", client.all(stream, *arguments))


async def strangers_are_refused(client: Client) -> None:
    stranger = type(client.miosa)(api_key="wrong", access_token=None)
    stranger._transport._client.headers["Authorization"] = "Bearer wrong"
    error = await client.refused("AuthenticationError", stranger.computers.list)
    assert (error.status_code, error.code) == (401, "UNAUTHORIZED")
    await client.call(stranger.close)


CHECKS: list[Check] = [
    computer_is_made_found_and_deleted,
    computer_stops_and_starts,
    computer_is_left,
    computer_is_changed_and_looked_at,
    bash_tells_output_and_exit_code,
    bash_times_out,
    python_runs,
    commands_run_on_a_computer,
    helpers_run_commands,
    service_lives,
    service_ends_and_restarts,
    service_starts_with_its_computer,
    terminal_is_made_and_resized,
    spaces_do_not_see_each_other,
    client_is_told_who_and_where,
    too_large_a_request_is_refused,
    what_the_sdk_has_not_is_not_asked_for,
    what_is_not_there_is_said,
    strangers_are_refused,
]

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], CHECKS))
