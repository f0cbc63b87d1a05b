"""The two other surfaces of the Miosa dialect that run programs: ``devices``, and the jobs of ``opencomputers`` hosts.

A device or a host is a computer or a sandbox, by its id. A job goes on when its client leaves, and can be come back to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import trio
from starlette.responses import Response
from starlette.types import ASGIApp

from ...command import Command
from ...errors import Conflict, Invalid, NotFound
from ..fields import Fields
from ..open_streams import ServerCloses
from ..outcomes import told_exit_code
from ..rendering import rfc3339
from ..requests import json_response
from .events import EventAnswer, Words, event
from .launch import LONGEST_SECONDS, Launch, in_shell, launch, program, read_seconds
from .routing import Call, Row
from .run import DEFAULT_SECONDS, answer, run
from .views import milliseconds

PREFIX: Final = "job_"
LABEL: Final = "job"
"""Of a job's command: what was asked for, as JSON."""
PAGE: Final = 20
MOST: Final = 100
"""Jobs in one list."""


class JobWords(Words):
    def __init__(self, job_id: str) -> None:
        self._job_id = job_id

    def line(self, stream: str, text: str) -> str:
        return f'event: exec_chunk\ndata: {{"stream":"{stream}","data":{json.dumps(text)}}}\n\n'

    def end(self, command: Command) -> str:
        if command.reason == "timeout":
            return event("exec_error", reason="timeout", job_id=self._job_id)
        return event("exec_result", exit_code=told_exit_code(command), elapsed_ms=milliseconds(command))

    def failure(self, error: ServerCloses) -> str | None:
        return event("exec_error", reason=str(error), job_id=self._job_id)


def to_text(command: str, args: Sequence[str]) -> str:
    """Without arguments it is a line for a shell."""
    return program([command, *args]) if args else in_shell(command, "")


def read_env(body: Fields) -> dict[str, str]:
    """An object, or pairs of name and value."""
    found = body.values.get("env")
    if not isinstance(found, list):
        return body.texts("env")
    pairs = [Fields(item) if isinstance(item, Mapping) else Fields({}) for item in found]
    return {pair.needed_text("name"): pair.needed_text("value") for pair in pairs}


def read_milliseconds(body: Fields) -> float:
    count = body.count("timeout_ms", 1)
    return DEFAULT_SECONDS if count is None else min(count / 1000, LONGEST_SECONDS)


async def execute_on_device(call: Call) -> ASGIApp:
    body = call.body
    command = body.values.get("command")
    if isinstance(command, list):
        argv = body.text_list("command")
        if not argv:
            raise Invalid("command: the array is empty")
        text = program(argv)
    else:
        text = in_shell(body.needed_text("command"), "")
    order = Launch(text=text, cwd=body.text("cwd"), env=read_env(body), timeout=read_milliseconds(body))
    return await run(call, order, ("output", "stdout", "stderr"))


async def dispatch(call: Call, name: str, timeout: float | None) -> tuple[str, Command]:
    """Start a job; its id."""
    body = call.body
    command, args = body.needed_text(name), body.text_list("args")
    asked = json.dumps({"cmd": command, "args": args, "cwd": body.text("cwd"), "timeout": timeout})
    number, started = await launch(
        call.space,
        Launch(
            text=to_text(command, args),
            cwd=body.text("cwd"),
            env=read_env(body),
            timeout=timeout,
            labels={LABEL: asked},
        ),
    )
    return f"{PREFIX}{number}", started


async def execute(call: Call) -> ASGIApp:
    job_id, command = await dispatch(call, "cmd", read_milliseconds(call.body))
    if call.body.flag("stream", True):
        return EventAnswer(call.streams, command, JobWords(job_id))
    return answer(call, command, ("stdout", "stderr"), job_id=job_id)


async def start(call: Call) -> ASGIApp:
    job_id, command = await dispatch(call, "command", read_seconds(call.body, "timeout", DEFAULT_SECONDS))
    below = f"{call.path.removesuffix('/jobs')}/exec/{job_id}"
    links = {"self": below, "result": below, "stream": f"{below}/stream"}
    return json_response({"job": view(call, job_id, command), "links": links}, 202)


async def find(call: Call) -> tuple[str, Command]:
    job_id = call.ids["job"]
    digits = job_id.removeprefix(PREFIX)
    try:
        command = await call.space.process(int(digits) if digits.isdecimal() and len(digits) < 10 else 0)
    except NotFound:
        command = None
    if command is None or LABEL not in command.labels:
        raise NotFound(f"host {call.space.id} has no job {job_id!r}")
    return job_id, await command.refresh()


def state_of(command: Command) -> str:
    if command.state != "finished":
        return command.state
    if command.reason == "timeout":
        return "timeout"
    if command.reason in ("exit", "signal"):
        return "succeeded" if told_exit_code(command) == 0 else "failed"
    return "canceled"


def view(call: Call, job_id: str, command: Command) -> dict[str, Any]:
    asked = json.loads(command.labels[LABEL])
    timeout = asked.pop("timeout")
    over = command.state == "finished"
    return {
        "id": job_id,
        "host_id": call.space.id,
        **asked,
        "timeout_ms": round(timeout * 1000) if timeout is not None else None,
        "state": state_of(command),
        "exit_code": told_exit_code(command) if over else None,
        "inserted_at": rfc3339(command.queued_at),
        "started_at": rfc3339(command.started_at or command.queued_at),
        "ended_at": rfc3339(command.finished_at) if command.finished_at is not None else None,
    }


async def show(call: Call) -> ASGIApp:
    return json_response({"job": view(call, *await find(call))})


async def show_all(call: Call) -> ASGIApp:
    limit = min(call.count("limit", 1) or PAGE, MOST)
    found = await call.spaces.engine.list_commands(labels={"space": call.space.id}, limit=1000)
    jobs = [command for command in reversed(found) if LABEL in command.labels][:limit]
    return json_response({"jobs": [tell(command) for command in jobs]})


def tell(command: Command) -> dict[str, Any]:
    """What has become of a job, as an entry of a journal."""
    over = command.finished_at is not None
    return {
        "job_id": f"{PREFIX}{command.labels['process']}",
        "kind": "job.dispatched" if not over else "job.done" if state_of(command) == "succeeded" else "job.failed",
        "status": state_of(command),
        "duration_ms": milliseconds(command) if over else None,
        "dispatched_at": rfc3339(command.queued_at),
        "completed_at": rfc3339(command.finished_at) if command.finished_at is not None else None,
    }


async def stream(call: Call) -> ASGIApp:
    job_id, command = await find(call)
    if command.state == "finished":
        return Response(status_code=204)
    return EventAnswer(call.streams, command, JobWords(job_id))


async def cancel(call: Call) -> ASGIApp:
    job_id, command = await find(call)
    if command.state == "finished":
        raise Conflict(f"job {job_id} is {state_of(command)} already")
    with trio.CancelScope(shield=True):
        await command.kill()
    return Response(status_code=204)


HOST: Final = "/opencomputers/hosts/{space}"

ROWS: Final = [
    Row("POST", "/devices/{space}/exec", execute_on_device, runs=True),
    Row("POST", f"{HOST}/exec", execute, runs=True),
    Row("GET", f"{HOST}/exec/{{job}}", show),
    Row("DELETE", f"{HOST}/exec/{{job}}", cancel),
    Row("GET", f"{HOST}/exec/{{job}}/stream", stream),
    Row("POST", f"{HOST}/jobs", start, runs=True),
    Row("GET", f"{HOST}/jobs", show_all),
]
