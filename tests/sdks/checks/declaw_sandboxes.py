"""Checks of sandboxes: ``python declaw_sandboxes.py sync`` or ``async``."""

from __future__ import annotations

import asyncio
import sys
from functools import partial

from declaw import SandboxLifecycle, SandboxQuery, SandboxState
from declaw_clients import Check, Client, run_checks


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


async def sandbox_is_paused_and_resumed_by_many_at_once(client: Client) -> None:
    made = await client.create(lifecycle=SandboxLifecycle(on_timeout="pause", auto_resume=True))
    for _ in range(5):
        await asyncio.gather(*[client.call(made.pause) for _ in range(6)])
        await asyncio.gather(client.call(made.pause), *[client.call(made.resume) for _ in range(6)])
        await client.call(made.pause)
        results = await asyncio.gather(*[client.run("echo x", made) for _ in range(6)])
        assert [result.stdout for result in results] == ["x\n"] * 6
    await client.call(made.kill)


async def errors_have_their_types(client: Client) -> None:
    await client.refused("AuthenticationException", client.Sandbox.create, api_key="wrong-key")
    await client.refused("AuthenticationException", client.Sandbox.connect, "x", api_key="wrong-key")


async def what_is_not_there_says_so(client: Client) -> None:
    made = client.sandbox
    names = ("read_file", "list_files", "file_exists", "get_file_info", "make_dir", "remove_file")
    if client.kind == "sync":
        files = (
            made.files.read,
            made.files.list,
            made.files.exists,
            made.files.get_info,
            made.files.make_dir,
            made.files.remove,
        )
    else:
        files = tuple(getattr(made, name) for name in names)
    calls = [partial(call, "/x") for call in files]
    calls += [made.create_snapshot, made.snapshot, made.list_snapshots, made.get_metrics]
    calls += [partial(made.delete_snapshot, "x"), partial(client.Sandbox.restore, made.sandbox_id, snapshot_id="x")]
    # Side by side: each is asked for three times.
    for error in await asyncio.gather(*[client.refused("SandboxException", call) for call in calls]):
        assert (error.code, "HTTP 501" in str(error)) == ("not_implemented", True)


CHECKS: list[Check] = [
    sandbox_lives_and_dies,
    sandboxes_are_listed,
    sandboxes_are_killed_by_their_ids,
    options_that_mean_nothing_here_are_taken,
    sandbox_is_paused_and_resumed,
    sandbox_ends_in_time,
    sandbox_is_paused_and_resumed_by_many_at_once,
    errors_have_their_types,
    what_is_not_there_says_so,
]

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], CHECKS))
