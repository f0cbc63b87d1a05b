"""Background processes of a sandbox in the Miosa dialect, on two surfaces: ``processes`` and ``commands``."""

from __future__ import annotations

from typing import Final

import trio
from starlette.types import ASGIApp

from ...command import Command
from ...errors import NotFound
from ...reading_logs import read_logs_beside
from ...selection import Selection
from ..requests import json_response
from .events import PROCESS, EventAnswer
from .launch import Launch, in_shell, launch, read_seconds
from .routing import Call, Row
from .run import background_labels, last_part
from .views import view_process

MOST: Final = 1000
"""Processes in one list: the newest."""


async def start(call: Call) -> ASGIApp:
    body = call.body
    text = body.needed_text("command")
    order = Launch(
        text=in_shell(text, body.text("shell") or ""),
        cwd=body.text("cwd") or body.text("working_dir"),
        env=body.texts("env"),
        timeout=read_seconds(body, "timeout", None),
        labels=background_labels(body.text("name"), text),
    )
    number, command = await launch(call.space, order)
    return json_response(view_process(number, command), 201)


async def find(call: Call) -> tuple[int, Command]:
    text = call.ids["pid"]
    number = int(text) if text.isdecimal() and len(text) < 10 else 0
    try:
        command = await call.space.process(number)
    except NotFound:
        command = None
    if command is None or "background" not in command.labels:
        raise NotFound(f"{call.kind} {call.space.id} has no process {text!r}")
    return number, await command.refresh()


async def list_all(call: Call) -> list[tuple[int, Command]]:
    labels = {"space": call.space.id, "background": "true"}
    found = await call.spaces.engine.list_commands(labels=labels, limit=MOST)
    return [(int(command.labels["process"]), command) for command in found]


async def show_running(call: Call) -> ASGIApp:
    found = [view_process(number, command) for number, command in await list_all(call) if command.state != "finished"]
    return json_response({"data": found})


async def show_all(call: Call) -> ASGIApp:
    return json_response({"data": [view_process(number, command) for number, command in await list_all(call)]})


async def show(call: Call) -> ASGIApp:
    return json_response(view_process(*await find(call)))


async def kill(call: Call) -> ASGIApp:
    """TERM, then KILL, for all that it has started, wherever that is. It returns when nothing of it is left."""
    number, command = await find(call)
    with trio.CancelScope(shield=True):
        await command.kill()
    return json_response(view_process(number, command))


async def logs(call: Call) -> ASGIApp:
    """The last lines, as one text."""
    _, command = await find(call)
    tail = call.count("tail")
    found = await read_logs_beside(command.archive, command.info, asked_part(command, tail))
    return json_response({"data": found.output.decode("utf-8", "replace")})


async def logs_of_command(call: Call) -> ASGIApp:
    number, command = await find(call)
    found = await read_logs_beside(command.archive, command.info, asked_part(command, call.count("tail")))
    texts = {name: getattr(found, name).decode("utf-8", "replace") for name in ("stdout", "stderr", "output")}
    return json_response({"pid": number, **texts, "logs": texts["output"]})


def asked_part(command: Command, tail: int | None) -> Selection:
    return last_part(command) if tail is None else Selection(tail=tail)


async def stream(call: Call) -> ASGIApp:
    _, command = await find(call)
    return EventAnswer(call.streams, command, PROCESS)


ROWS: Final = [
    Row("POST", "/sandboxes/{space}/processes", start, runs=True),
    Row("GET", "/sandboxes/{space}/processes", show_running),
    Row("GET", "/sandboxes/{space}/processes/{pid}", show),
    Row("DELETE", "/sandboxes/{space}/processes/{pid}", kill),
    Row("GET", "/sandboxes/{space}/processes/{pid}/logs", logs),
    Row("GET", "/sandboxes/{space}/processes/{pid}/stream", stream),
    Row("GET", "/sandboxes/{space}/commands", show_all),
    Row("GET", "/sandboxes/{space}/commands/{pid}", show),
    Row("GET", "/sandboxes/{space}/commands/{pid}/logs", logs_of_command),
    Row("POST", "/sandboxes/{space}/commands/{pid}/kill", kill),
    Row("GET", "/computers/{space}/commands", show_all),
    Row("GET", "/computers/{space}/commands/{pid}", show),
    Row("GET", "/computers/{space}/commands/{pid}/logs", logs_of_command),
    Row("POST", "/computers/{space}/commands/{pid}/kill", kill),
]
