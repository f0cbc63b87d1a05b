"""Checks of what the clients send more than once: ``python declaw_retries.py sync`` or ``async``.

They need a server that can't do what it is asked for: a test's own, which knows these texts and counts them.
"""

from __future__ import annotations

import asyncio
import sys

from declaw_clients import Check, Client, run_checks


async def what_cannot_be_started_is_asked_for_three_times(client: Client) -> None:
    run = client.method("run", "run_command")
    error = await client.refused("SandboxException", run, f"broken {client.kind}")
    assert (error.code, str(error)) == ("broken", "HTTP 502: no shell can be started")


async def what_can_be_started_at_last_runs_once(client: Client) -> None:
    assert (await client.run(f"echo x >>ran; wc -l <ran # late {client.kind}")).stdout == "1\n"


async def stopped_sandbox_is_asked_three_times(client: Client) -> None:
    made = await client.create()
    run = client.method("run", "run_command", made)
    error = await client.refused("SandboxException", run, f"stop {client.kind}")
    assert (error.code, f"HTTP 503: sandbox {made.sandbox_id} is stopped" in str(error)) == ("sandbox_stopped", True)
    if client.kind == "sync":  # whose stream is asked for once, and does not look at the status
        result = made.commands.run_stream("true")
        assert (result.stdout, result.exit_code, "is stopped" in result.stderr) == ("", -1, True)
        result = client.sandbox.commands.run_stream(f"broken stream {client.kind}")
        assert (result.exit_code, result.stderr) == (-1, "no shell can be started")
    await client.call(made.resume)
    assert (await client.run("echo on", made)).stdout == "on\n"
    await client.call(made.kill)


async def sandbox_that_takes_long_is_made_once(client: Client) -> None:
    made = await client.create(metadata={"slow": client.kind}, request_timeout=2)
    assert (await client.run("echo x", made)).stdout == "x\n"
    await client.call(made.kill)


CHECKS: list[Check] = [
    what_cannot_be_started_is_asked_for_three_times,
    what_can_be_started_at_last_runs_once,
    stopped_sandbox_is_asked_three_times,
    sandbox_that_takes_long_is_made_once,
]


async def run_side_by_side(kind: str) -> None:
    """They wait most of the time."""
    await asyncio.gather(*[run_checks(kind, [check]) for check in CHECKS])


if __name__ == "__main__":
    asyncio.run(run_side_by_side(sys.argv[1]))
