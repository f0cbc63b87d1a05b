"""Checks of sandboxes: ``python daytona_sandboxes.py sync`` or ``async``."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from typing import Any
from unittest.mock import patch

from daytona import (
    CreateSandboxFromImageParams,
    CreateSandboxFromSnapshotParams,
    ListSandboxesQuery,
    Resources,
    SandboxState,
    VolumeMount,
)
from daytona_clients import Check, Client, run_checks


async def sandbox_is_found_by_id_and_name(client: Client) -> None:
    params = CreateSandboxFromSnapshotParams(
        name=f"named-{client.kind}", language="javascript", labels={"t": client.kind}
    )
    made = await client.call(client.daytona.create, params)
    assert made.state == SandboxState.STARTED
    assert made.labels == {"t": client.kind, "code-toolbox-language": "javascript"}
    assert (await client.call(client.daytona.get, made.name)).id == made.id
    assert (await client.call(client.daytona.get, made.id)).name == made.name
    await client.refused("DaytonaConflictError", client.daytona.create, params)
    assert await listed(client, ListSandboxesQuery(labels={"t": client.kind}, limit=1)) == [made.id]
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


async def sandbox_is_as_it_was_asked_for(client: Client) -> None:
    resources = Resources(cpu=2, memory=3, disk=4)
    params = CreateSandboxFromImageParams(
        image="debian:12",
        env_vars={"A": "1"},
        public=True,
        resources=resources,
        auto_stop_interval=3,
        auto_archive_interval=60,
    )
    made = await client.call(client.daytona.create, params)
    again = await client.call(client.daytona.get, made.id)
    for found in (made, again):
        assert (found.cpu, found.memory, found.disk, found.gpu) == (2, 3, 4, 0)
        assert (found.env, found.public, found.name, found.state) == ({"A": "1"}, True, made.id, SandboxState.STARTED)
        assert (found.auto_stop_interval, found.auto_archive_interval, found.auto_delete_interval) == (3, 60, -1)
    await client.call(made.delete)


async def sandbox_takes_settings(client: Client) -> None:
    made = await client.call(client.daytona.create)
    await client.call(made.set_public, True)
    await client.call(made.set_auto_pause_interval, 5)
    await client.call(made.set_auto_archive_interval, 6)
    await client.call(made.set_ttl, 7)
    for method in (
        made.refresh_activity,
        made.wait_for_sandbox_start,
        made.wait_for_resize_complete,
        made.refresh_data,
    ):
        await client.call(method)
    assert (made.public, made.auto_pause_interval, made.auto_archive_interval) == (True, 5, 6)
    assert await client.call(made.get_user_root_dir) == await client.call(made.get_user_home_dir)
    await client.call(client.daytona.stop, made)
    await client.call(made.wait_for_sandbox_stop)
    await client.call(client.daytona.start, made)
    assert (await client.call(client.daytona.get, made.id)).state == SandboxState.STARTED
    await client.call(made.delete, wait=True)


async def sandbox_may_be_ephemeral(client: Client) -> None:
    made = await client.call(client.daytona.create, CreateSandboxFromSnapshotParams(ephemeral=True))
    assert made.auto_delete_interval == 0
    await client.call(made.stop)
    while made.id in await listed(client, ListSandboxesQuery()):
        await asyncio.sleep(0.1)
    await client.refused("DaytonaNotFoundError", client.daytona.get, made.id)


async def sandbox_ends_with_all_that_runs_in_it(client: Client) -> None:
    """And who waits for it or follows it is told."""
    made = await client.call(client.daytona.create)
    process = made.process
    await client.call(process.create_session, "s")
    text = "trap '' TERM; setsid sleep 600 & echo begun; wait"
    command_id = await client.start("s", text, of=made)
    seen: list[str] = []
    begun = asyncio.Event()

    def see(text: str) -> None:
        seen.append(text)
        begun.set()

    following = asyncio.create_task(process.get_session_command_logs_async("s", command_id, see, see))
    waiting = asyncio.create_task(client.run("s", "echo never", of=made))
    executing = asyncio.create_task(client.call(process.exec, "echo begun >>file; sleep 600"))
    await begun.wait()
    while len((await client.call(process.get_session, "s")).commands) < 2:
        await asyncio.sleep(0.02)
    while not (await client.call(process.exec, "cat file 2>/dev/null")).result:
        await asyncio.sleep(0.02)
    await client.call(made.delete)
    await following
    assert "".join(seen) == "begun\n"
    assert "its sandbox was destroyed" in await raises("DaytonaBadRequestError", waiting)
    assert (await executing).exit_code in (137, 143)
    await client.refused("DaytonaNotFoundError", process.exec, "true")
    await client.refused("DaytonaNotFoundError", process.get_session, "s")


async def raises(kind: str, task: asyncio.Task[Any]) -> str:
    try:
        await task
    except Exception as error:
        assert type(error).__name__ == kind, repr(error)
        return str(error)
    raise AssertionError("it was answered as if it had come to its end")


async def sandbox_stands_still_while_it_is_paused(client: Client) -> None:
    """Who waits for a command waits on, and so does who follows it."""
    made = await client.call(client.daytona.create)
    await client.call(made.process.create_session, "s")
    text = "for ((n = 0; n < 100; n++)); do echo $EPOCHREALTIME; sleep 0.02; done"
    command_id = await client.start("s", text, of=made)
    seen: list[str] = []
    begun = asyncio.Event()

    def see(text: str) -> None:
        seen.append(text)
        begun.set()

    following = asyncio.create_task(made.process.get_session_command_logs_async("s", command_id, see, see))
    waiting = asyncio.create_task(client.run("s", "echo then", of=made))
    await begun.wait()
    await client.call(made.pause)
    await client.refused("DaytonaConflictError", made.process.exec, "true")
    await asyncio.sleep(0.5)
    await client.call(made.start)
    await following
    times = [float(line) for line in "".join(seen).split()]
    assert len(times) == 100
    assert max(after - before for before, after in pairwise(times)) > 0.4
    assert (await waiting).stdout == "then\n"
    await client.call(made.delete)


async def sandboxes_do_not_see_each_other(client: Client) -> None:
    session = await client.session()
    found = await client.run(session, "echo mine >file")
    other = await client.call(client.daytona.create)
    assert await client.call(other.process.list_sessions) == []
    await client.refused("DaytonaNotFoundError", other.process.get_session, session)
    await client.call(other.process.create_session, session)
    await client.refused("DaytonaNotFoundError", other.process.get_session_command, session, found.cmd_id)
    await client.refused("DaytonaNotFoundError", other.process.get_session_command_logs, session, found.cmd_id)
    assert (await client.call(other.process.exec, "cat file")).exit_code == 1
    await client.call(other.delete)


async def api_is_found_where_it_may_be(client: Client) -> None:
    url = os.environ["DAYTONA_API_URL"]
    for config in ({"api_url": f"{url}/"}, {"api_url": url.removesuffix("/api")}, {"use_deprecated_polling": True}):
        async with client.other(**config) as other:
            assert (await client.call(other.get, client.sandbox.id)).id == client.sandbox.id


async def toolbox_is_asked_for_if_a_sandbox_does_not_tell(client: Client) -> None:
    api = client.daytona._sandbox_api
    create = api.create_sandbox

    def forget(found: Any) -> Any:
        found.toolbox_proxy_url = ""
        return found

    async def create_later(*arguments: Any, **options: Any) -> Any:
        return forget(await create(*arguments, **options))

    api.create_sandbox = create_later if client.kind == "async" else lambda *a, **k: forget(create(*a, **k))
    try:
        made = await client.call(client.daytona.create)
    finally:
        del api.create_sandbox
    assert made.toolbox_proxy_url == client.sandbox.toolbox_proxy_url
    assert (await client.call(made.process.exec, "echo here")).result == "here\n"
    await client.call(made.delete)


async def credentials_are_looked_at(client: Client) -> None:
    async with client.other(api_key="wrong") as other:
        for method in (other.create, partial(other.get, client.sandbox.id)):
            error = await client.refused("DaytonaAuthenticationError", method)
            assert (error.status_code, error.code, error.source) == (401, "UNAUTHORIZED", "DAYTONA_API")
    with patch.dict(os.environ):
        token = os.environ.pop("DAYTONA_API_KEY")
        async with client.other(jwt_token=token, organization_id="some-organization") as other:
            made = await client.call(other.create)
            assert made.organization_id == "some-organization"
            assert (await client.call(made.process.exec, "echo in")).result == "in\n"
            await client.call(made.delete)


async def what_is_not_there_says_so(client: Client) -> None:
    sandbox, interpreter = client.sandbox, client.sandbox.code_interpreter
    server = sandbox.create_lsp_server("python", "/")
    volumes = [VolumeMount(volume_id="v", mount_path="/v")]
    for method, arguments in (
        (client.daytona.create, [CreateSandboxFromSnapshotParams(volumes=volumes)]),
        (client.daytona.create, [CreateSandboxFromSnapshotParams(secrets={"A": "b"})]),
        (client.daytona.snapshot.list, []),
        (client.daytona.volume.list, []),
        (sandbox.fs.list_files, ["/"]),
        (sandbox.git.status, ["/"]),
        (sandbox.computer_use.start, []),
        (server.start, []),
        (interpreter.list_contexts, []),
        (sandbox.recover, []),
        (sandbox.update_env, [{"A": "b"}]),
        (sandbox.get_metrics, []),
        (sandbox.get_metrics_latest, []),
        (sandbox.upload_url, ["/x"]),
        (sandbox.download_url, ["/x"]),
        (sandbox.rotate_signing_key, []),
        (sandbox.validate_ssh_access, ["x"]),
        (sandbox.create_ssh_access, []),
        (sandbox.revoke_ssh_access, ["x"]),
        (sandbox.get_preview_link, [80]),
        (sandbox.create_signed_preview_url, [80]),
        (sandbox.expire_signed_preview_url, [80, "x"]),
        (sandbox.archive, []),
        (sandbox.fork, []),
        (sandbox.resize, [Resources(cpu=2)]),
        (sandbox.create_snapshot, ["x"]),
        (sandbox.update_secrets, [{}]),
        (partial(sandbox.update_network_settings, network_block_all=True), []),
    ):
        error = await client.refused("DaytonaError", method, *arguments)
        assert (error.status_code, error.code) == (501, "NOT_IMPLEMENTED"), error
        assert "not there" in error.message
    assert await listed(client, ListSandboxesQuery(is_recoverable=True)) == []
    late = ListSandboxesQuery(last_activity_after=datetime(2020, 1, 1, tzinfo=UTC))
    assert "are not there" in await raises("DaytonaError", asyncio.create_task(listed(client, late)))
    # Of these the SDK shows no more than the status.
    for method, argument in ((interpreter.run_code, "1"), (sandbox.fs.download_file, "x")):
        assert "501" in str(await client.refused("DaytonaError", method, argument))


CHECKS: list[Check] = [
    sandbox_is_found_by_id_and_name,
    sandbox_stops_and_starts,
    sandbox_takes_labels_and_tells_directories,
    sandbox_is_as_it_was_asked_for,
    sandbox_takes_settings,
    sandbox_may_be_ephemeral,
    sandbox_ends_with_all_that_runs_in_it,
    sandbox_stands_still_while_it_is_paused,
    sandboxes_do_not_see_each_other,
    api_is_found_where_it_may_be,
    toolbox_is_asked_for_if_a_sandbox_does_not_tell,
    credentials_are_looked_at,
    what_is_not_there_says_so,
]

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], CHECKS))
