"""Checks of machines and errors: ``python nullspace_machines.py sync`` or ``async``."""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial
from typing import Any

from nullspace import MachineQuery, MachineStatus
from nullspace_clients import Check, Client, run_checks


async def machine_is_made_found_and_killed(client: Client) -> None:
    made = await client.call(
        client.api.create,
        envs={"WHO": "me"},
        metadata={"a": {"b": [1]}},
        cwd="/usr",
        vcpus=3,
        memory_mb=700,
        timeout=90,
    )
    info = await client.call(made.get_info)
    assert (info.status, info.template, info.metadata, info.cwd) == ("running", "base", {"a": {"b": [1]}}, "/usr")
    assert (info.config.vcpus, info.config.memory_mb, info.timeout_ms) == (3, 700, 90_000)
    assert 0 < info.remaining_ms <= 90_000
    assert info.created_at <= info.timeout_at
    found = await client.call(made.commands.run, "echo $WHO $PWD", shell=True)
    assert found.stdout == "me /usr\n"
    other = await client.call(client.api.connect, made.id)
    assert (await client.call(other.commands.run, "printenv", ["WHO"])).stdout == "me\n"
    assert await client.call(made.is_running)
    assert await client.call(made.get_info, fields=["id", "status"]) == {"id": made.id, "status": "running"}
    await client.call(made.kill)
    error = await client.refused("NotFoundError", client.api.connect, made.id)
    assert error.code == "machine_not_found"
    await client.refused("NotFoundError", client.api.kill_by_id, made.id)


async def machine_is_made_once_by_key(client: Client) -> None:
    key = f"key-{client.kind}/1"
    first = await client.call(client.api.create, idempotency_key=key)
    again = await client.call(client.api.create, idempotency_key=key)
    assert first.id == again.id
    await client.call(client.api.kill_by_id, first.id)
    creates = [client.call(client.api.create, idempotency_key=key) for _ in range(4)]
    together = await asyncio.gather(*creates)
    assert len({machine.id for machine in together}) == 1
    assert together[0].id != first.id
    await client.call(together[0].kill)


async def options_of_what_is_not_here_change_nothing(client: Client) -> None:
    made = await client.call(
        client.api.create,
        "desktop",
        disk_mb=4096,
        network={"allow_out": ["example.com"]},
        internet_access=False,
        resolution=(800, 600),
        warm_pool="pool_1",
        auto_delete_after_ms=3_600_000,
    )
    info = await client.call(made.get_info)
    assert (info.template, info.config.memory_mb, info.status) == ("desktop", 2048, "running")
    assert (await client.call(made.commands.run, "echo", ["hi"])).stdout == "hi\n"
    await client.call(made.close)  # which ends the client alone
    assert await client.call(client.api.kill_by_id, made.id) is None


async def listed(client: Client, **options: Any) -> list[str]:
    pages = await client.call(client.api.list, **options)
    if client.kind == "sync":
        return await asyncio.to_thread(lambda: [info.id for info in pages])
    return [info.id async for info in pages]


async def machines_are_listed(client: Client) -> None:
    tags = {"tag": client.kind}
    made = [await client.call(client.api.create, metadata={**tags, "n": n}) for n in range(3)]
    ids = [machine.id for machine in made]
    assert await listed(client, query=MachineQuery(metadata=tags), limit=2) == ids
    assert await listed(client, query=MachineQuery(metadata={**tags, "n": 1})) == ids[1:2]
    assert await listed(client, query=MachineQuery(metadata=tags, template="other")) == []
    assert set(ids) <= set(await listed(client))
    await client.call(made[0].pause)
    assert await listed(client, query=MachineQuery(metadata=tags, state=[MachineStatus.PAUSED])) == ids[:1]
    assert await listed(client, query=MachineQuery(metadata=tags, state=[MachineStatus.RUNNING])) == ids[1:]
    shown = await client.call(client.api.list, query=MachineQuery(metadata=tags), fields=["id"])
    assert shown == [{"id": id} for id in ids]
    for machine in made:
        await client.call(machine.kill)


async def machine_pauses_and_resumes(client: Client) -> None:
    made = await client.call(client.api.create)
    running = await client.call(made.commands.run, "while :; do sleep 0.05; done", shell=True, background=True)
    snapshot = await client.call(made.hibernate)
    assert snapshot.machine_id == made.id
    assert (await client.call(made.get_info)).status == "paused"
    assert not await client.call(made.is_running)
    error = await client.refused("ConflictError", made.commands.run, "true")
    assert error.code == "machine_not_ready"
    error = await client.refused("MachineError", made.commands.run_streaming, "true")
    assert error.code == "websocket_upgrade_error"
    again = await client.call(client.api.connect, made.id)
    assert [(item.pid, item.running) for item in await client.call(again.commands.list)] == [(running.pid, True)]
    assert (await client.call(again.commands.run, "echo", ["back"])).stdout == "back\n"
    await client.call(again.pause)
    assert (await client.call(client.api.resume, made.id)).id == made.id
    await client.call(made.kill)


async def machine_resumes_by_itself(client: Client) -> None:
    made = await client.call(client.api.create, auto_resume=True, on_timeout="pause")
    for start in (
        partial(made.commands.run, "true"),
        partial(made.commands.run_streaming, "true"),
        made.pty.create_session,
    ):
        await client.call(made.pause)
        assert not await client.call(made.is_running)
        await client.call(start)
        assert await client.call(made.is_running)
    await client.call(made.kill)


async def until(client: Client, id: str, status: str | None) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                found = (await client.call(client.api.get_info_by_id, id)).status
            except Exception as error:
                assert type(error).__name__ == "NotFoundError", repr(error)
                found = None
            if found == status:
                return
            await asyncio.sleep(0.1)


async def machine_ends_in_time(client: Client) -> None:
    short = await client.call(client.api.create, timeout=1)
    paused = await client.call(client.api.create, timeout=1, timeout_action="hibernate")
    idle = await client.call(client.api.create, inactivity_timeout_ms=500, timeout_action="hibernate")
    longer = await client.call(client.api.create, timeout=1)
    lease = await client.call(longer.set_timeout, 600, timeout_action="hibernate")
    assert (lease.timeout_ms, lease.timeout_action) == (600_000, "hibernate")
    await until(client, short.id, None)
    await until(client, paused.id, "paused")
    await until(client, idle.id, "paused")
    assert (await client.call(client.api.connect, paused.id, timeout=60)).id == paused.id
    for machine in (paused, idle, longer):
        await client.call(machine.kill)


async def machine_is_kept_alive(client: Client) -> None:
    made = await client.call(client.api.create, timeout=60)
    again = await client.call(client.api.connect, made.id, timeout=90)
    assert (await client.call(again.get_info)).timeout_ms == 90_000
    kept = made.keep_alive(timeout_secs=600, refresh_every_secs=0.1)
    await (asyncio.to_thread(kept.__enter__) if client.kind == "sync" else kept.__aenter__())
    async with asyncio.timeout(20):
        while (await client.call(made.get_info)).timeout_ms != 600_000:
            await asyncio.sleep(0.05)
    await (asyncio.to_thread(kept.__exit__, *[None] * 3) if client.kind == "sync" else kept.__aexit__(*[None] * 3))
    await client.call(made.kill)


async def machine_runs_once(client: Client) -> None:
    template = f"once-{client.kind}"
    found = await client.call(client.api.run_once, "echo", ["once"], template=template)
    assert (found.exit_code, found.stdout) == (0, "once\n")
    assert await listed(client, query=MachineQuery(template=template)) == []


async def machine_is_killed_at_the_end_of_a_block(client: Client) -> None:
    made = await client.call(client.api.create)
    if client.kind == "sync":
        with made:
            pass
    else:
        async with made:
            pass
    await client.refused("NotFoundError", client.api.get_info_by_id, made.id)


async def killed_machine_is_not_there(client: Client) -> None:
    made = await client.call(client.api.create)
    other = await client.call(client.api.connect, made.id)
    await client.call(made.kill)
    resume = partial(client.api.resume, made.id)
    for method in (other.get_info, other.commands.list, partial(other.commands.run, "true"), other.pause, resume):
        assert (await client.refused("NotFoundError", method)).code == "machine_not_found"
    # Their client does not read why it is refused a WebSocket.
    for method in (
        partial(other.commands.run_streaming, "true"),
        partial(other.commands.connect, 1),
        other.pty.create_session,
    ):
        assert (await client.refused("MachineError", method)).code == "websocket_upgrade_error"


async def machines_do_not_see_each_other(client: Client) -> None:
    other = await client.call(client.api.create)
    handle = await client.start("echo secret >file; sleep 600")
    session = await client.call(client.machine.pty.create_session)
    assert await client.call(other.commands.list) == []
    assert await client.call(other.pty.list_sessions) == []
    for method in (other.commands.get_logs, other.commands.kill):
        error = await client.refused("NotFoundError", method, handle.pid)
        assert error.code == "process_not_found"
    await client.refused("NotFoundError", other.commands.send_stdin, handle.pid, "x")
    await client.refused(RuntimeError, other.commands.connect, handle.pid)
    for method in (other.pty.get_session_info, other.pty.kill_session):
        await client.refused("NotFoundError", method, session.session_id)
    for named in ({"session_id": session.session_id}, {"pid": session.pid}):
        error = await client.refused("MachineError", partial(other.pty.connect, **named))
        assert error.code == "pty_session_not_found"
    assert (await client.call(other.commands.run, "cat", ["file"])).exit_code == 1
    await client.call(other.kill)
    assert (await client.call(client.machine.pty.get_session_info, session.session_id)).pid == session.pid
    assert (await client.call(handle.get_logs)).exit_code is None
    await client.call(session.kill)
    await client.call(session.disconnect)
    await client.call(handle.kill)


async def stranger_is_refused(client: Client) -> None:
    error = await client.refused("AuthError", partial(client.api.create, api_key="wrong"))
    assert error.code == "unauthorized"
    stranger = await client.call(client.api.connect, client.machine.id)
    stranger._client.api_key = "wrong"
    error = await client.refused("AuthError", stranger.commands.run_streaming, "true")


async def older_variables_point_here_too(client: Client) -> None:
    url, key = os.environ.pop("NULLSPACE_API_URL"), os.environ.pop("NULLSPACE_API_KEY")
    os.environ |= {"NULLSPACE_BASE_URL": url + "/", "NULLSPACE_TOKEN": key}
    try:
        assert (await client.call(client.api.connect, client.machine.id)).id == client.machine.id
    finally:
        del os.environ["NULLSPACE_BASE_URL"], os.environ["NULLSPACE_TOKEN"]
        os.environ |= {"NULLSPACE_API_URL": url, "NULLSPACE_API_KEY": key}


async def what_is_not_there_is_said(client: Client) -> None:
    machine = client.machine
    error = await client.refused("NotImplementedError", machine.files.read, "/etc/hostname")
    assert "files are not there" in str(error)
    for method, arguments in (
        (machine.files.watch_dir, ["/tmp", print]),  # over a WebSocket
        (machine.files.write, ["/tmp/x", "x"]),
        (machine.create_snapshot, []),
        (machine.fork, []),
        (machine.run_code, ["1"]),
        (machine.get_metrics, []),
        (machine.list_lifecycle, []),
        (machine.upload_url, ["/x"]),
        (machine.get_url, [80]),
        (machine.list_preview_urls, []),
        (machine.list_volumes, []),
        (machine.desktop.screenshot, []),
        (machine.code_interpreter.list_code_contexts, []),
        (partial(client.api.create, snapshot_id="snap_1"), []),
        (partial(client.api.create, volumes=[{"ref": "v", "mount_path": "/v"}]), []),
    ):
        error = await client.refused("NotImplementedError", method, *arguments)
        assert error.code == "not_implemented", method
    error = await client.refused("GitError", machine.git.status)
    assert "git operations are not there" in str(error)
    error = await client.refused("MachineError", partial(client.api.create, envs={"1A": "x"}))
    assert error.code == "invalid_request"


CHECKS: list[Check] = [
    machine_is_made_found_and_killed,
    machine_is_made_once_by_key,
    options_of_what_is_not_here_change_nothing,
    machines_are_listed,
    machine_pauses_and_resumes,
    machine_resumes_by_itself,
    machine_ends_in_time,
    machine_is_kept_alive,
    machine_runs_once,
    machine_is_killed_at_the_end_of_a_block,
    killed_machine_is_not_there,
    machines_do_not_see_each_other,
    stranger_is_refused,
    older_variables_point_here_too,
    what_is_not_there_is_said,
]

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], CHECKS))
