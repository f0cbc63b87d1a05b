"""Processes of the Nullspace dialect: how they are started, listed, told of, fed and killed.

A process is a shell text, or a program with its exact arguments. Its number is its own in its machine, for good. What can't be
started is a process, too: it ends with 126 or 127, and says on stderr why.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import trio
from starlette.responses import Response
from starlette.types import ASGIApp

from ...command import Command
from ...errors import Invalid, NotFound
from ...spaces import Space
from ..fields import Fields
from ..kept_alive import KeptAlive
from ..outcomes import told_exit_code
from ..requests import json_response
from .errors import Refusal
from .routing import Answer, Call
from .texts import log_pieces

TIMEOUT_SECONDS: Final = 30
LONGEST_SECONDS: Final = 10 * 366 * 86_400
SHOWN: Final = "command"
"""A label of processes that are shown otherwise than by what is run."""
WORKSPACE: Final = "/workspace"
"""Where machines keep their files there, and many programs say so. Where this machine has none, it is the home of the space."""
MOST_ARGUMENT_BYTES: Final = 100_000
"""Linux takes no argument of more than 128 KiB."""
MOST_ENDED: Final = 100
"""Of the processes that have ended, so many are listed. All can be asked for."""
SILENCE_SECONDS: Final = 5.0


async def start(
    machine: Space, fields: Fields, *, timeout: float | None, stdin: bool, labels: Mapping[str, str] | None = None
) -> tuple[int, Command]:
    """Start what a message or a body asks for; its number."""
    text, shown = read_command(fields)
    cwd = find_directory(machine, fields.text("cwd"))
    if not os.path.isdir(cwd):
        text = f"printf '%s\\n' {shlex.quote(f'cwd {cwd!r} is no directory on this machine')} >&2; exit 127"
        cwd = machine.info.home
    marks = {SHOWN: shown} if shown != text else {}
    return await machine.start_process(
        text, cwd=cwd, env=fields.texts("envs"), timeout=timeout, stdin=stdin, labels=marks
    )


def read_command(fields: Fields) -> tuple[str, str]:
    """What is to be run, and how that is shown."""
    command, args = fields.needed_text("command"), fields.text_list("args")
    if not command.strip():
        raise Invalid("command: it is empty")
    if not fields.flag("shell"):
        shown = shlex.join([command, *args])
        return f"exec -- {shown}", shown
    if args:
        raise Invalid("args: a shell text has none: leave out shell, or put them into the text")
    if len(command.encode("utf-8", "surrogatepass")) > MOST_ARGUMENT_BYTES:
        return command, command
    # In a shell of its own, not in a fork: there $$ would be the parent of all processes of the machine.
    return f'exec -- "$BASH" -c {shlex.quote(command)}', command


def read_timeout(fields: Fields) -> float:
    return fields.count("timeout_secs", 1, LONGEST_SECONDS) or TIMEOUT_SECONDS


def find_directory(machine: Space, asked: str | None) -> str:
    """Where something is to run in a machine."""
    home = machine.info.home
    path = os.path.normpath(os.path.join(home, asked or machine.info.facts["cwd"] or ""))
    if f"{path}/".startswith(f"{WORKSPACE}/") and not os.path.isdir(WORKSPACE):
        return os.path.normpath(home + path.removeprefix(WORKSPACE))
    return path


async def process_of(machine: Space, pid: int) -> Command:
    try:
        return await (await machine.process(pid)).refresh()
    except NotFound:
        raise Refusal(404, "process_not_found", f"machine {machine.id} has no process {pid}") from None


# Over HTTP


async def show_all(call: Call) -> ASGIApp:
    """All that run, and the last that have ended."""
    found = list(call.machine.processes.items())
    ended = [pid for pid, command in found if command.state == "finished"]
    left_out = set(ended[:-MOST_ENDED])
    return json_response([view(pid, command) for pid, command in found if pid not in left_out])


def view(pid: int, command: Command) -> dict[str, Any]:
    """Exactly these three: clients fail at others."""
    shown = command.labels.get(SHOWN, command.text)
    return {"pid": pid, "command": shown, "running": command.state != "finished"}


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


async def end(command: Command) -> None:
    """It and all that it has started, at once."""
    with trio.CancelScope(shield=True):
        await command.kill(grace=0)


async def finish(command: Command) -> Command:
    """Wait for its end. Of one that was made to end, nothing is left then."""
    await command.wait()
    if command.reason in ("timeout", "killed"):
        await end(command)
    return command


async def send_input(call: Call) -> ASGIApp:
    machine = await call.awake()
    command = await process_of(machine, call.pid)
    data = call.fields.needed_text("data")
    if data:
        await command.send_input(data)
    return Response(status_code=204)


PROCESS: Final = "/v1/machines/{machine}/processes/{pid}"

ROWS: Final[dict[str, dict[str, Answer]]] = {
    "/v1/machines/{machine}/processes": {"GET": show_all},
    f"{PROCESS}/logs": {"GET": show_logs},
    f"{PROCESS}/kill": {"POST": kill},
    f"{PROCESS}/stdin": {"POST": send_input},
}
