"""Checks of a server that has room for one stream and for one machine's shell: ``python miosa_limits.py sync`` or ``async``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from miosa_clients import Check, Client, run_checks


@asynccontextmanager
async def one_stream(client: Client) -> AsyncIterator[None]:
    """All the room that there is, for the block."""
    stream = client.sandbox.exec_stream("echo up; sleep 600")
    if client.kind == "sync":
        assert (await asyncio.to_thread(next, stream)).data["line"] == "up\n"
        yield
        await asyncio.to_thread(stream.close)
    else:
        assert (await anext(stream)).data["line"] == "up\n"
        yield
        await stream.aclose()


def check_rate(error: Any) -> None:
    assert (error.status_code, error.code, error.retryable) == (429, "RATE_LIMITED", True)
    assert (error.retry_after, error.retry_after_ms) == (1.0, 1000)


async def stream_that_is_one_too_many_is_refused(client: Client) -> None:
    """Nothing is started for it, and it is not asked for again."""
    processes = client.sandbox.processes
    pid = (await client.call(processes.start, "echo logged; sleep 600"))["pid"]
    async with one_stream(client):
        for method in (client.sandbox.exec_stream, client.sandbox.commands.stream):
            check_rate(await client.raised("RateLimitError", client.all(method, "touch started")))
        # The SDK does not read what such a stream is refused with.
        await client.raised("ResponseNotRead", client.all(processes.stream, pid))
        if client.kind == "async":
            error = await client.refused("InvalidStatus", client.computer.exec.spawn, "touch started")
            assert error.response.status_code == 429
        assert (await client.call(client.sandbox.exec.run, "test -e started")).exit_code == 1
        await client.call(processes.stop, pid)
    async with asyncio.timeout(20):
        while True:
            try:
                found = await client.stream("echo again")
                break
            except client.errors.RateLimitError:
                await asyncio.sleep(0.05)
    assert found[0] == "again\n"


async def command_that_is_one_too_many_is_refused(client: Client) -> None:
    """What runs something is not asked for again by the SDK."""
    assert (await client.call(client.sandbox.exec.run, "true")).exit_code == 0  # so it has the only shell
    run_by_id = partial(client.miosa.commands.run_computer, client.computer.id)
    for method in (client.computer.bash, client.computer.python, run_by_id):
        check_rate(await client.refused("RateLimitError", method, "true"))
    await client.call(client.sandbox.stop)
    assert (await client.call(client.computer.bash, "echo room")).output == "room\n"


CHECKS: list[Check] = [
    stream_that_is_one_too_many_is_refused,
    command_that_is_one_too_many_is_refused,
]

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], CHECKS))
