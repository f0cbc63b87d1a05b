"""Programs of the Miosa dialect that are waited for: on computers, in sandboxes, as shell text or as code in Python.

What is not zero is no error. A program whose time is over is ended with all that it has started; its answer has the exit code
124 and what it had written. A client that leaves ends nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from starlette.types import ASGIApp

from ...command import Command
from ...reading_logs import read_logs
from ...selection import Selection
from ..endings import finish
from ..kept_alive import KeptAlive
from ..outcomes import told_exit_code
from ..rendering import to_string
from ..requests import json_response, to_json
from .errors import not_here
from .launch import Launch, as_user, in_shell, launch, read_seconds
from .routing import Call, Row
from .views import milliseconds, view_process

DEFAULT_SECONDS: Final = 30.0
MOST_SECONDS: Final = 300.0
"""Of programs on a computer, as its documentation has it."""
MOST_SECONDS_OF_COMMANDS: Final = 600.0
SILENCE_SECONDS: Final = 0.8
"""Clients hang up after 60 seconds in which they hear nothing, or after as few as they were told, and do not ask again. For 200
that wait, signs of life each quarter of a second took a fifth of a processor."""
MOST_BYTES: Final = 64 << 20
"""Of more output, an answer carries the end."""
PYTHON: Final = """file=$(mktemp "$HOME/.code-XXXXXXXX.py") || exit
trap 'rm -f "$file"' EXIT
cat >"$file"
exec 3>&2 2>/dev/null
python3 -u "$file" </dev/null 2>&3 3>&-"""
"""In a file, so that a traceback shows its lines. The shell's own word on a program that got a signal is no output of it."""


def tell(command: Command, names: Sequence[str], more: Mapping[str, str]) -> Iterator[bytes]:
    """The answer, piece by piece. `names` are those under which it shows the output; ``output`` is another name of stdout."""
    logs = read_logs(command.archive, command.info, last_part(command))
    code = told_exit_code(command)
    facts: dict[str, Any] = {
        **more,
        "exit_code": code,
        "success": code == 0,
        "duration_ms": milliseconds(command),
        "timed_out": command.reason == "timeout",
        "truncated": command.size_bytes - len(logs.output) > 0,
    }
    yield to_json(facts)[:-1].encode()
    for name in names:
        yield b',"%s":' % name.encode()
        yield from to_string(logs.stderr if name == "stderr" else logs.stdout, False)
    yield b"}"


def last_part(command: Command) -> Selection:
    """As much of its end as an answer carries. Positions count what is no longer kept, too."""
    return Selection(start=max(command.size_bytes - MOST_BYTES, 0))


async def run(call: Call, order: Launch, names: Sequence[str]) -> ASGIApp:
    _, command = await launch(call.space, order)
    return answer(call, command, names)


def answer(call: Call, command: Command, names: Sequence[str], **more: str) -> ASGIApp:
    """Wait for it, and tell `more` beside what it tells."""
    return KeptAlive(call.streams, partial(finish, command), partial(tell, command, names, more), SILENCE_SECONDS)


def read_order(call: Call, otherwise: float | None = None, most: float = 1e9) -> Launch:
    """What both kinds of machine take."""
    body = call.body
    return Launch(
        text=in_shell(body.needed_text("command"), body.text("shell") or ""),
        cwd=body.text("cwd") or body.text("working_dir"),
        env=body.texts("env"),
        timeout=read_seconds(body, "timeout", otherwise, most),
    )


async def execute_on_computer(call: Call) -> ASGIApp:
    return await run(call, read_order(call, DEFAULT_SECONDS, MOST_SECONDS), ("output", "stderr"))


async def execute_in_sandbox(call: Call) -> ASGIApp:
    return await run(call, read_order(call), ("stdout", "stderr"))


async def execute_python(call: Call) -> ASGIApp:
    timeout = read_seconds(call.body, "timeout", DEFAULT_SECONDS, MOST_SECONDS)
    order = Launch(text=PYTHON, stdin=call.body.needed_text("code"), timeout=timeout)
    return await run(call, order, ("output", "stderr"))


async def run_command(call: Call) -> ASGIApp:
    """Waited for, or left to work and given a process number."""
    body = call.body
    if body.flag("tty"):
        raise not_here("commands on a terminal (spawn with rows and cols has one, terminal.create opens one)")
    user = body.text("user") or ("root" if body.flag("sudo") else "")
    detached = body.flag("detached")
    text = body.needed_text("command")
    order = Launch(
        text=in_shell(text, ""),
        cwd=body.text("cwd"),
        env=body.texts("env"),
        timeout=read_seconds(body, "timeout_seconds", None, MOST_SECONDS_OF_COMMANDS),
        stdin=body.text("stdin") or False,
        labels=background_labels(body.text("name"), text) if detached else {},
    )
    order = as_user(order, user)
    if not detached:
        return await run(call, order, ("output", "stdout", "stderr"))
    number, command = await launch(call.space, order)
    return json_response(view_process(number, command), 202)


def background_labels(name: str | None, text: str) -> dict[str, str]:
    """Marks one that is listed, beside those that are waited for."""
    return {"background": "true", "command": text, **({"name": name} if name else {})}


ROWS: Final = [
    Row("POST", "/computers/{space}/exec", execute_on_computer, runs=True),
    Row("POST", "/computers/{space}/exec/python", execute_python, runs=True),
    Row("POST", "/computers/{space}/commands", run_command, runs=True),
    Row("POST", "/sandboxes/{space}/exec", execute_in_sandbox, runs=True),
    Row("POST", "/sandboxes/{space}/commands", run_command, runs=True),
]
