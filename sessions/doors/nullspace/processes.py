"""Processes of the Nullspace dialect: how they are started, listed, told of, fed and killed.

A process is a shell text, or a program with its exact arguments. Its number is its own in its machine, for good. What can't be
started is a process, too: it ends with 126 or 127, and says on stderr why.
"""

from __future__ import annotations

import shlex
from functools import partial
from typing import Any, Final

import trio
from starlette.responses import Response
from starlette.types import ASGIApp

from ...arguments import check_text
from ...command import Command
from ...errors import Invalid, NotFound
from ...spaces import Space
from ..endings import end
from ..fields import Fields
from ..kept_alive import KeptAlive
from ..outcomes import told_exit_code
from ..own_shells import SHOWN, in_own_shell, shown_text
from ..requests import json_response
from ..starting import find_directory, start_process
from .errors import Refusal
from .routing import Call, Row
from .texts import log_pieces

TIMEOUT_SECONDS: Final = 30
LONGEST_SECONDS: Final = 10 * 366 * 86_400
MOST_ENDED: Final = 100
"""Of the processes that have ended, so many are listed. All can be asked for."""
SILENCE_SECONDS: Final = 5.0


async def start(machine: Space, fields: Fields, *, timeout: float | None, stdin: bool) -> tuple[int, Command]:
    """Start what a message or a body asks for; its number."""
    text, shown = read_command(fields)
    return await start_process(
        machine,
        text,
        cwd=directory_of(machine, fields.text("cwd")),
        env=fields.texts("envs"),
        timeout=timeout,
        stdin=stdin,
        labels={SHOWN: shown},
    )


def read_command(fields: Fields) -> tuple[str, str]:
    """What is to be run, and how that is shown."""
    command, args = check_text(fields.needed_text("command")), fields.text_list("args")
    if not fields.flag("shell"):
        shown = shlex.join([command, *args])
        return f"exec -- {shown}", shown
    if args:
        raise Invalid("args: a shell text has none: leave out shell, or put them into the text")
    return in_own_shell(command), command


def read_timeout(fields: Fields) -> float:
    return fields.count("timeout_secs", 1, LONGEST_SECONDS) or TIMEOUT_SECONDS


def directory_of(machine: Space, asked: str | None) -> str:
    """Where something is to run in a machine."""
    return find_directory(machine, asked or machine.info.facts["cwd"] or "")


async def process_of(machine: Space, pid: int) -> Command:
    try:
        return await (await machine.process(pid)).refresh()
    except NotFound:
        raise Refusal(404, "process_not_found", f"machine {machine.id} has no process {pid}") from None


# Over HTTP


async def show_all(call: Call) -> ASGIApp:
    """All that run, and the last that have ended."""
    found = sorted(call.machine.processes.items())
    ended = [pid for pid, command in found if command.state == "finished"]
    left_out = set(ended[:-MOST_ENDED])
    return json_response([view(pid, command) for pid, command in found if pid not in left_out])


def view(pid: int, command: Command) -> dict[str, Any]:
    """Exactly these three: clients fail at others."""
    return {"pid": pid, "command": shown_text(command), "running": command.state != "finished"}


async def show_logs(call: Call) -> ASGIApp:
    command = await process_of(call.machine, call.pid)
    facts = {"exit_code": told_exit_code(command) if command.state == "finished" else None}
    info = command.info

    async def now() -> bool:
        await trio.lowlevel.checkpoint()
        return True

    pieces = partial(log_pieces, command.archive, info, ("stdout", "stderr", "output"), facts)
    return KeptAlive(call.streams, now, pieces, SILENCE_SECONDS)


async def kill(call: Call) -> ASGIApp:
    command = await process_of(call.machine, call.pid)
    await end(command)
    return Response(status_code=204)


async def send_input(call: Call) -> ASGIApp:
    machine = await call.awake()
    command = await process_of(machine, call.pid)
    data = call.body.needed_text("data")
    if data:
        await command.send_input(data)
    return Response(status_code=204)


PROCESS: Final = "/v1/machines/{machine}/processes/{pid}"

ROWS: Final = [
    Row("GET", "/v1/machines/{machine}/processes", show_all),
    Row("GET", f"{PROCESS}/logs", show_logs),
    Row("POST", f"{PROCESS}/kill", kill),
    Row("POST", f"{PROCESS}/stdin", send_input, waits=True),
]
