"""Terminals of the Declaw dialect: a login shell each, with a number among those of its sandbox's processes.

What one draws before anybody looks is kept for its first client; later ones see what it draws from then on.
"""

from __future__ import annotations

from typing import Final
from weakref import WeakKeyDictionary

import attrs
import trio
from starlette.responses import Response
from starlette.types import ASGIApp

from ...command import Command
from ...errors import Closed, Invalid, NotFound
from ...spaces import Space
from ...terminal import Terminal
from ..accounts import find_other, home_of, run_as
from ..fields import Fields
from ..requests import json_response
from .errors import Refusal
from .events import Screens
from .routing import Call, Row
from .sandboxes import read_seconds
from .streams import EventAnswer

LARGEST: Final = 1000
"""Rows or columns."""
LOGIN_SHELL: Final = "bash -l"


@attrs.define(eq=False)
class Pty:
    """A terminal, as this door's clients know it."""

    terminal: Terminal
    ends_at: float
    """On trio's clock."""
    seen: bool = False
    """Whether somebody has looked at it."""


PTYS: Final[WeakKeyDictionary[Space, dict[int, Pty]]] = WeakKeyDictionary()
"""Those of each sandbox that have not ended, or that nobody has looked at."""


def ptys_of(space: Space) -> dict[int, Pty]:
    found = PTYS.setdefault(space, {})
    for number, pty in list(found.items()):
        if pty.seen and pty.terminal.state == "finished":
            del found[number]
    return found


def terminals_of(space: Space) -> dict[int, Terminal]:
    return {number: pty.terminal for number, pty in ptys_of(space).items()}


async def end_in_time(space: Space) -> None:
    """End those that have had all the time that they were given."""
    for pty in list(ptys_of(space).values()):
        if trio.current_time() >= pty.ends_at and pty.terminal.state != "finished":
            if running := pty.terminal.archive.running(pty.terminal.id):
                running.asked = running.asked or "timeout"  # so that it is not told as a kill
            await pty.terminal.kill(grace=0)


async def create(call: Call) -> ASGIApp:
    space, body = await call.space_in_use(), call.body
    rows, columns = read_size(body)
    seconds = read_seconds(body) or float("inf")
    cwd, env = body.text("cwd") or None, body.texts("envs")
    account = find_other(body.text("user"))
    if account is not None:
        cwd = cwd or home_of(account)
    number = call.spaces.next_number(space)
    terminal = await space.create_terminal(
        str(number),
        None if account is None else f'chown {account.pw_uid} "$(tty)"; {run_as(account, f"exec {LOGIN_SHELL}")}',
        rows=rows,
        columns=columns,
        cwd=cwd,
        env=env,
    )
    PTYS.setdefault(space, {})[number] = Pty(terminal, trio.current_time() + seconds)
    return json_response({"pid": number}, 201)


def read_size(body: Fields) -> tuple[int, int]:
    size = Fields(body.object("size"))
    return size.count("rows", 1, LARGEST) or 24, size.count("cols", 1, LARGEST) or 80


def read_number(call: Call) -> int:
    text = call.ids["pid"]
    if not text.isdecimal() or len(text) > 12:
        raise NotFound(f"there is no terminal {text!r}")
    return int(text)


def find_pty(call: Call) -> Pty:
    number = read_number(call)
    found = ptys_of(call.space).get(number)
    if found is None:
        raise NotFound(f"sandbox {call.space.id} has no terminal {number} that runs")
    return found


async def find_ended(call: Call) -> Command:
    """One that has ended a while ago. `NotFound` if there never was one of this number."""
    labels = {"space": call.space.id, "terminal": str(read_number(call))}
    for command in await call.spaces.engine.list_commands(labels=labels, limit=1):
        return command
    raise NotFound(f"sandbox {call.space.id} has no terminal {labels['terminal']}")


async def follow(call: Call) -> ASGIApp:
    pty = ptys_of(call.space).get(read_number(call))
    if pty is None:
        ended = await find_ended(call)
        return EventAnswer(call.streams, ended, Screens(), after=ended.info.last_seq)
    after = pty.terminal.info.last_seq if pty.seen else None
    pty.seen = True
    return EventAnswer(call.streams, pty.terminal, Screens(), after=after)


async def send_input(call: Call) -> ASGIApp:
    await call.space_in_use()
    pty, data = find_pty(call), call.body.needed_text("data")
    try:
        await pty.terminal.send_input(data)
    except Closed as error:
        raise Refusal(409, "process_ended", str(error)) from None
    return Response(status_code=204)


async def resize(call: Call) -> ASGIApp:
    pty, body = find_pty(call), call.body
    if not body.has("size"):
        raise Invalid("size is missing")
    await pty.terminal.resize(*read_size(body))
    return Response(status_code=204)


async def kill_terminal(call: Call) -> ASGIApp:
    await call.space_in_use()
    pty = ptys_of(call.space).get(read_number(call))
    if pty is None:
        await find_ended(call)
    if pty is None or pty.terminal.state == "finished":
        return json_response({"killed": False})
    with trio.CancelScope(shield=True):
        await pty.terminal.kill(grace=0)
    return json_response({"killed": pty.terminal.reason == "killed"})


ROWS: Final = [
    Row("POST", "/{sandbox}/pty", create),
    Row("PATCH", "/{sandbox}/pty/{pid}", resize),
    Row("DELETE", "/{sandbox}/pty/{pid}", kill_terminal),
    Row("GET", "/{sandbox}/pty/{pid}/stream", follow),
    Row("POST", "/{sandbox}/pty/{pid}/stdin", send_input, waits=True),
]
