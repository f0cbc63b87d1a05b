"""Processes of the Declaw dialect whose input and output are bytes, and whose stdin can be closed."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response
from starlette.types import ASGIApp

from ...command import Command
from ...errors import Invalid, NotFound
from ..requests import json_response
from .commands import kill_command, read_command, start, type_to
from .events import Entries, seq_of
from .routing import Call, Row
from .streams import EventAnswer


async def begin(call: Call) -> ASGIApp:
    number, _ = await start(call, read_command(call), stdin=True, timeout=None)
    return json_response({"cmd_id": str(number)}, 201)


async def find(call: Call) -> Command:
    text = call.ids["cmd"]
    if not text.isdecimal() or len(text) > 12:
        raise NotFound(f"there is no process {text!r}")
    return await (await call.space.process(int(text))).refresh()


async def follow(call: Call) -> ASGIApp:
    command, text = await find(call), call.first("last_entry_id", "0")
    if not text.isdecimal() or len(text) > 18:
        raise Invalid(f"?last_entry_id: expected a whole number, not {text!r}")
    return EventAnswer(call.streams, command, Entries(), after=seq_of(int(text)) if int(text) else None)


async def send_input(call: Call) -> ASGIApp:
    await call.space_in_use()
    data = call.body.data("data")
    if data is None:
        raise Invalid("data is missing")
    return await type_to(await find(call), data)


async def close_input(call: Call) -> ASGIApp:
    await call.space_in_use()
    await (await find(call)).close_input()
    return Response(status_code=204)


async def kill(call: Call) -> ASGIApp:
    await call.space_in_use()
    return json_response({"killed": await kill_command(await find(call))})


ROWS: Final = [
    Row("POST", "/{sandbox}/stdio", begin),
    Row("DELETE", "/{sandbox}/stdio/{cmd}", kill),
    Row("GET", "/{sandbox}/stdio/{cmd}/stream", follow),
    Row("POST", "/{sandbox}/stdio/{cmd}/stdin", send_input, waits=True),
    Row("POST", "/{sandbox}/stdio/{cmd}/stdin/close", close_input),
]
