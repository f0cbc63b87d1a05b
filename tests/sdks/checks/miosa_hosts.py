"""Checks of devices and of the jobs of hosts: ``python miosa_hosts.py sync`` or ``async``."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from miosa.resources.open_computers.types import JobEnvVar, JobRunParams
from miosa_clients import Check, Client, run_checks


async def device_runs(client: Client) -> None:
    execute = client.miosa.devices.exec
    for device in (client.computer.id, client.sandbox.id):
        found = await client.call(execute, device, "echo $A; echo err >&2; exit 3", env={"A": "b"})
        assert (found["stdout"], found["stderr"], found["exit_code"]) == ("b\n", "err\n", 3)
    assert (await client.call(execute, client.computer.id, ["printf", "%s;", "$A", "b c"]))["stdout"] == "$A;b c;"
    assert (await client.call(execute, client.computer.id, "pwd", cwd="/usr"))["output"] == "/usr\n"
    assert (await client.call(execute, client.computer.id, "sleep 600", timeout_ms=500))["exit_code"] == 124
    await client.refused("NotFoundError", execute, "none", "true")


async def job_is_waited_for(client: Client) -> None:
    jobs, host = client.miosa.open_computers.jobs, client.computer.id
    env = [JobEnvVar(name="A", value="x y")]
    found = await client.call(jobs.run, host, JobRunParams(cmd="echo $A; pwd; echo e >&2; exit 3", env=env, cwd="/usr"))
    assert (found.stdout, found.stderr, found.exit_code) == ("x y\n/usr\n", "e\n", 3)
    assert (await client.call(jobs.run, host, JobRunParams(cmd="printf", args=["%s;", "$A", "b"]))).stdout == "$A;b;"
    job = await client.call(jobs.get, host, found.job_id)
    assert (job.state, job.exit_code, job.host_id) == ("failed", 3, host)
    assert found.job_id in [one.job_id for one in (await client.call(jobs.list, host)).jobs]
    assert len((await client.call(jobs.list, host, limit=1)).jobs) == 1
    await client.refused("NotFoundError", jobs.get, host, "job_999")


async def job_is_streamed(client: Client) -> None:
    jobs, host = client.miosa.open_computers.jobs, client.computer.id
    events = await client.all(jobs.run_stream, host, JobRunParams(cmd="echo out; echo err >&2; exit 4"))
    assert sorted((event.stream, event.data) for event in events[:-1]) == [("stderr", "err\n"), ("stdout", "out\n")]
    assert (events[-1].type, events[-1].exit_code) == ("exec_result", 4)
    *_, last = await client.all(jobs.run_stream, host, JobRunParams(cmd="sleep 600", timeout_ms=500))
    assert (last.type, last.reason) == ("exec_error", "timeout")
    job = await client.call(jobs.get, host, last.job_id)
    assert (job.state, job.exit_code) == ("timeout", 124)


async def job_is_started_and_cancelled(client: Client) -> None:
    jobs, host = client.miosa.open_computers.jobs, client.computer.id
    await client.call(client.computer.bash, "mkfifo gate")
    started: dict[str, Any] = await client.call(jobs.start, host, "echo up; read x <gate; echo $x")
    job_id = started["job"]["id"]
    assert started["links"]["stream"].endswith(f"/exec/{job_id}/stream")
    assert await follow_and_open_gate(client, job_id) == ["up\n", "on\n", None]
    assert (await client.call(jobs.get, host, job_id)).state == "succeeded"
    slept = (await client.call(jobs.start, host, "sleep", args=["600"], timeout=600))["job"]["id"]
    assert (await client.call(jobs.get, host, slept)).state in ("queued", "running")
    await client.call(jobs.cancel, host, slept)
    job = await client.call(jobs.get, host, slept)
    assert (job.state, job.exit_code) == ("canceled", 137)
    assert (await client.refused("MiosaError", jobs.cancel, host, slept)).status_code == 409
    assert await client.all(jobs.stream, host, slept) == []


async def follow_and_open_gate(client: Client, job_id: str) -> list[str | None]:
    """What the job's events carry. It waits at the gate after the first."""
    jobs, host, gate = client.miosa.open_computers.jobs, client.computer.id, "echo on >gate"
    if client.kind != "sync":
        found = []
        async for event in jobs.stream(host, job_id):
            found.append(getattr(event, "data", None))
            if len(found) == 1:
                await client.computer.bash(gate)
        return found

    def read() -> list[str | None]:
        found = []
        for event in jobs.stream(host, job_id):
            found.append(getattr(event, "data", None))
            if len(found) == 1:
                client.computer.bash(gate)
        return found

    return await asyncio.to_thread(read)


CHECKS: list[Check] = [
    device_runs,
    job_is_waited_for,
    job_is_streamed,
    job_is_started_and_cancelled,
]

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], CHECKS))
