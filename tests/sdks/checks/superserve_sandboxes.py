"""Checks of sandboxes: ``python superserve_sandboxes.py sync`` or ``async``."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
from functools import partial

from superserve import (
    AsyncProvider,
    AsyncSecret,
    AsyncSnapshot,
    AsyncTemplate,
    NetworkConfig,
    Provider,
    SandboxStatus,
    Secret,
    Snapshot,
    Template,
)
from superserve_clients import Check, Client, run_checks


async def sandbox_is_made_found_and_killed(client: Client) -> None:
    kind = client.sandboxes
    made = await client.call(kind.create, name="twice", metadata={"who": client.kind, "a b": "ü&="})
    again = await client.call(kind.create, name="twice", metadata={"who": client.kind})
    assert made.status == SandboxStatus.ACTIVE
    assert (made.name, made.metadata) == ("twice", {"who": client.kind, "a b": "ü&="})
    assert made.id != again.id
    assert (await client.call(made.get_info)).metadata == made.metadata
    listed = await client.call(kind.list, metadata={"who": client.kind})
    assert [info.id for info in listed] == [made.id, again.id]
    assert [info.id for info in await client.call(kind.list, metadata=made.metadata)] == [made.id]
    paged = await client.call(kind.list, metadata={"who": client.kind}, limit=1, offset=1)
    assert [info.id for info in paged] == [again.id]
    await client.call(again.pause)
    for status, ids in (("paused", [again.id]), (["active", "paused"], [made.id, again.id]), ("failed", [])):
        assert [i.id for i in await client.call(kind.list, metadata={"who": client.kind}, status=status)] == ids
    for sandbox in (made, again):
        await client.call(sandbox.kill)
        await client.call(sandbox.kill)
        await client.call(kind.kill_by_id, sandbox.id)
        await client.refused("NotFoundError", kind.connect, sandbox.id)
    assert await client.call(kind.list, metadata={"who": client.kind}) == []


async def sandbox_is_updated(client: Client) -> None:
    made = await client.call(client.sandboxes.create, name="u", timeout_seconds=3000, auto_delete_seconds=90)
    info = await client.call(made.get_info)
    assert (info.timeout_seconds, info.auto_delete_seconds, info.auto_delete_at) == (3000, 90, None)
    await client.call(made.update, metadata={"a": "1"}, timeout_seconds=None)
    await client.call(made.pause, wait=True)
    info = await client.call(made.get_info)
    assert (info.metadata, info.timeout_seconds, info.status) == ({"a": "1"}, None, SandboxStatus.PAUSED)
    assert 80 < info.auto_delete_at.timestamp() - time.time() < 91
    await client.call(client.sandboxes.update_by_id, made.id, auto_delete_seconds=None)
    assert (await client.call(made.get_info)).auto_delete_seconds is None
    await client.call(made.kill)


async def options_that_mean_nothing_here_are_taken(client: Client) -> None:
    network = NetworkConfig(deny_out=["0.0.0.0/0"])
    options = {"from_template": "superserve/base", "network": network, "preview_access": "private"}
    made = await client.call(client.sandboxes.create, name="options", **options)
    assert (await client.call(made.commands.run, "echo x")).stdout == "x\n"
    await client.call(made.kill)


async def killed_sandbox_is_not_there(client: Client) -> None:
    made = await client.call(client.sandboxes.create, name="gone")
    other = await client.call(client.sandboxes.connect, made.id)
    await client.call(made.kill)
    await client.refused("NotFoundError", other.commands.run, "true", on_stdout=print)
    for method in (other.get_info, other.pause, other.resume):
        assert (await client.refused("NotFoundError", method)).code == "not_found"
    await client.refused("NotFoundError", other.update, metadata={})
    if client.kind == "async":
        await client.refused("NotFoundError", other.commands.spawn, "true")
    await client.call(other.kill)


async def paused_sandbox_goes_on_by_itself(client: Client) -> None:
    made = await client.call(client.sandboxes.create, name="p")
    await client.call(made.commands.run, "echo kept >file; (while :; do echo >>ticks; sleep 0.05; done) &")
    await client.call(made.pause)
    assert (await client.call(made.get_info)).status == SandboxStatus.PAUSED
    assert (await client.call(made.commands.run, "cat file")).stdout == "kept\n"
    assert (await client.call(made.get_info)).status == SandboxStatus.ACTIVE
    await client.call(made.commands.run, "a=$(wc -l <ticks); until [ $(wc -l <ticks) -gt $a ]; do sleep 0.02; done")
    await client.call(made.pause)
    seen: list[str] = []
    assert (await client.call(made.commands.run, "cat file", on_stdout=seen.append)).stdout == "kept\n"
    await client.call(made.pause)
    await client.call(made.resume)
    assert (await client.call(made.get_info)).status == SandboxStatus.ACTIVE
    await client.call(made.pause)
    other = await client.call(client.sandboxes.connect, made.id)
    assert (await client.call(other.commands.run, "cat file")).stdout == "kept\n"
    await client.call(other.kill)
    await client.refused("NotFoundError", made.commands.run, "true")


async def sandbox_is_paused_and_activated_by_many_at_once(client: Client) -> None:
    made = await client.call(client.sandboxes.create, name="many")
    for _ in range(5):
        await asyncio.gather(*[client.call(made.pause, wait=True) for _ in range(6)])
        found = await asyncio.gather(*[client.call(client.sandboxes.connect, made.id) for _ in range(6)])
        assert {sandbox.status for sandbox in found} == {SandboxStatus.ACTIVE}
        pausing = asyncio.ensure_future(client.call(made.pause))
        await asyncio.gather(pausing, *[client.call(sandbox.resume) for sandbox in found])
        await client.call(made.pause)
        results = await asyncio.gather(*[client.call(sandbox.commands.run, "echo x") for sandbox in found])
        assert [result.stdout for result in results] == ["x\n"] * 6
    await client.call(made.kill)


def make_hint(ends_at: float) -> str:
    """Where a sandbox is, as clients read it: until when that is true."""
    return f"a.{base64.urlsafe_b64encode(json.dumps({'e': ends_at}).encode()).decode().rstrip('=')}.b"


async def hints_of_where_a_sandbox_is_are_not_needed(client: Client) -> None:
    made = await client.call(client.sandboxes.create, name="hinted")
    assert made._routing_hint is None
    # With one that is out of date, a client activates before it asks; with another, for one code alone.
    for hint, kept in ((make_hint(2 * time.time()), True), (make_hint(1), False)):
        made._routing_hint = hint
        result = await client.call(made.commands.run, "echo x")
        assert (result.stdout, made._routing_hint) == ("x\n", hint if kept else None)
        made._routing_hint = hint
        await client.call(made.pause)
        seen: list[str] = []
        assert (await client.call(made.commands.run, "echo x", on_stdout=seen.append)).stdout == "x\n"
        assert ((await client.call(made.get_info)).status, made._routing_hint) == (SandboxStatus.ACTIVE, None)
    await client.call(made.kill)


async def addresses_may_end_with_a_slash(client: Client) -> None:
    address = {"base_url": os.environ["SUPERSERVE_BASE_URL"] + "/"}
    made = await client.call(client.sandboxes.create, name="slash", **address)
    assert made.id in [info.id for info in await client.call(client.sandboxes.list, **address)]
    assert (await client.call(made.commands.run, "echo x")).stdout == "x\n"
    await client.call(client.sandboxes.kill_by_id, made.id, **address)


async def tokens_open_their_own_sandbox(client: Client) -> None:
    other = await client.call(client.sandboxes.create, name="o")
    own = client.sandbox._access_token
    # Whatever is wrong with it, the client asks for the right one, and its command runs once.
    for wrong in ("nonsense", other._access_token, own[:-1], own + "x", os.environ["SUPERSERVE_API_KEY"]):
        client.sandbox._access_token = wrong
        assert (await client.run("echo x >>once; wc -l <once; rm once")).stdout == "1\n"
        assert client.sandbox._access_token == own
        client.sandbox._access_token = wrong
        assert (await client.stream("echo x >>once; wc -l <once; rm once"))[1] == "1\n"
    error = await client.refused("AuthenticationError", client.sandboxes.create, name="x", api_key="wrong")
    assert error.status_code == 401
    await client.refused("AuthenticationError", client.sandboxes.create, name="x", api_key=own)
    await client.call(other.kill)


async def what_is_not_there_says_so(client: Client) -> None:
    made, path, port = client.sandbox, "/x", 8000
    is_blocking = client.kind == "sync"
    calls = [
        partial(client.sandboxes.create, name="x", secrets={"A": "b"}),
        partial(client.sandboxes.create, name="x", from_snapshot="b"),
        *[partial(call, path) for call in (made.files.read, made.files.read_text, made.files.download_dir)],
        *[partial(made.files.write, path, b"x"), made.desktop.screenshot, partial(made.desktop.write, "x")],
        *[made.snapshot, made.snapshots, made.get_network_log, made.list_preview_ports],
        *[partial(made.attach_secret, "A", "b"), partial(made.detach_secret, "A")],
        *[partial(call, port) for call in (made.publish_preview_port, made.unpublish_preview_port)],
        *[
            partial(call, port)
            for call in (made.get_preview_token, made.rotate_preview_token, made.get_signed_preview_url)
        ],
        (Template if is_blocking else AsyncTemplate).list,
        (Secret if is_blocking else AsyncSecret).list,
        (Provider if is_blocking else AsyncProvider).list,
        partial((Snapshot if is_blocking else AsyncSnapshot).list, made.id),
    ]
    for call in calls:
        error = await client.refused("ServerError", call)
        assert (error.status_code, error.code) == (501, "not_implemented")


CHECKS: list[Check] = [
    sandbox_is_made_found_and_killed,
    sandbox_is_updated,
    options_that_mean_nothing_here_are_taken,
    killed_sandbox_is_not_there,
    paused_sandbox_goes_on_by_itself,
    sandbox_is_paused_and_activated_by_many_at_once,
    hints_of_where_a_sandbox_is_are_not_needed,
    addresses_may_end_with_a_slash,
    tokens_open_their_own_sandbox,
    what_is_not_there_says_so,
]

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], CHECKS))
