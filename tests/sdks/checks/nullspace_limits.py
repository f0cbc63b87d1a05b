"""Checks of a server that has room for one stream and one machine's processes: ``python nullspace_limits.py sync`` or ``async``."""

from __future__ import annotations

import asyncio
import sys
import time
from functools import partial

from nullspace_clients import Check, Client, Texts, run_checks


async def stream_that_is_one_too_many_is_refused(client: Client) -> None:
    """At the upgrade, once: nothing is asked again and nothing is started."""
    texts = Texts()
    handle = await client.start("echo up; sleep 600", **texts.options)
    await texts.see("up\n")
    for method in (
        partial(client.commands.run_streaming, "true"),
        partial(client.commands.run, "true", background=True, **texts.options),
        partial(client.commands.connect, handle.pid),
        client.machine.pty.create_session,
    ):
        error = await client.refused("RateLimitError", method)
        assert error.code == "rate_limit_exceeded"
        assert "429" in str(error)
    assert [item.pid for item in await client.call(client.commands.list)] == [handle.pid]
    assert (await client.run("echo", ["no stream"])).stdout == "no stream\n"
    await client.call(handle.kill)
    assert (await client.call(handle.wait)).exit_code == 137
    await client.call(handle.disconnect)
    async with asyncio.timeout(20):
        while True:
            try:
                found = await client.call(client.commands.run_streaming, "echo", ["again"])
                break
            except client.errors.RateLimitError:
                await asyncio.sleep(0.05)
    assert found.stdout == "again\n"


async def request_that_is_one_too_many_is_asked_again(client: Client) -> None:
    """Over HTTP, three times, as long after as the answer says; then the error says it, too."""
    assert (await client.run("true")).exit_code == 0  # so the shared machine has the only shell
    other = await client.call(client.api.create)
    began = time.monotonic()
    error = await client.refused("RateLimitError", other.commands.run, "true")
    assert (error.code, error.retry_after) == ("rate_limit_exceeded", 1.0)
    assert time.monotonic() - began >= 3
    assert await client.call(other.commands.list) == []
    asked = asyncio.create_task(client.call(other.commands.run, "echo", ["room"]))
    await asyncio.sleep(0.2)
    await client.call(client.machine.kill)
    client.machine = other  # which is put away at the end
    assert (await asked).stdout == "room\n"
    assert len(await client.call(other.commands.list)) == 1


CHECKS: list[Check] = [
    stream_that_is_one_too_many_is_refused,
    request_that_is_one_too_many_is_asked_again,
]

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], CHECKS))
