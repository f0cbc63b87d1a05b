"""Commands of the Declaw dialect: each a program of its own in its sandbox, with a number; waited for, streamed, or left to work.

Whatever has been started is never answered with an error: clients would start it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from starlette.responses import Response
from starlette.types import ASGIApp

from ...arguments import check_text
from ...command import Command
from ...decoding import TextDecoder
from ...errors import Closed, Invalid, NotFound, SessionsError
from ...reading_logs import read_pieces
from ...selection import Selection
from ..accounts import find_other, home_of, run_as
from ..endings import end, finish
from ..kept_alive import KeptAlive
from ..outcomes import told_exit_code
from ..own_shells import SHOWN, in_own_shell, shown_text
from ..requests import json_response
from ..starting import start_process
from .errors import Refusal, killed, status_and_code
from .events import Lines, to_failure
from .routing import Call, Row
from .sandboxes import read_seconds
from .streams import SILENCE_SECONDS, EventAnswer, Slot
from .terminals import LOGIN_SHELL, kill_terminal, terminals_of

QUIET_SECONDS: Final = 0.4
"""An answer that is waited for is silent no longer: clients that were told to wait for a second, and hear nothing, run the command
again."""
BREATH_SECONDS: Final = 0.05
"""A stream is silent for so long at least, however short its command's time is: between two signs of life something gets done."""


async def start(call: Call, text: str, *, stdin: bool, timeout: float | None) -> tuple[int, Command]:
    """`text` in the call's sandbox, as its body says. Where that can't be, a program that says so is what runs."""
    space, body = await call.space_in_use(), call.body
    cwd, env = body.text("cwd") or None, body.texts("envs")
    account = find_other(body.text("user"))
    if account is not None:
        cwd = cwd or home_of(account)
    program, labels = in_own_shell(text) if account is None else run_as(account, text), {SHOWN: text}
    try:
        return await start_process(space, program, cwd=cwd, env=env, timeout=timeout, stdin=stdin, labels=labels)
    except Invalid:
        if space.state == "destroyed":
            raise killed(space.id) from None
        raise


def read_command(call: Call) -> str:
    return check_text(call.body.needed_text("cmd"))


def read_timeout(call: Call) -> float | None:
    """None for no limit, which 0 is, too."""
    return read_seconds(call.body) or None


async def run(call: Call) -> ASGIApp:
    body, text, timeout = call.body, read_command(call), read_timeout(call)
    background, stdin = body.flag("background"), body.flag("stdin")
    number, command = await start(call, text, stdin=stdin, timeout=timeout)
    return json_response({"pid": number}) if background else waited(call, command)


def waited(call: Call, command: Command) -> ASGIApp:
    return KeptAlive(call.streams, partial(finish, command), partial(result_of, command), QUIET_SECONDS)


def result_of(command: Command) -> Iterator[bytes]:
    """A finished command's result as a JSON object, piece by piece."""
    separator = b"{"
    for name in ("stdout", "stderr"):
        yield b'%s"%s":"' % (separator, name.encode())
        decoder = TextDecoder()
        for record in read_pieces(command.archive, command.info, Selection(stream=name)):
            yield json.dumps(decoder.feed(record.data))[1:-1].encode("ascii")
        yield json.dumps(decoder.finish())[1:-1].encode("ascii") + b'"'
        separator = b","
    yield b',"exit_code":%d}' % told_exit_code(command)


async def run_stream(call: Call) -> ASGIApp:
    try:
        return await open_stream(call, read_command(call), read_timeout(call))
    except SessionsError as error:
        if not ignores_status(call):
            raise
        return Response(to_failure(str(error)), status_and_code(error)[0], media_type="text/event-stream")


async def open_stream(call: Call, text: str, timeout: float | None) -> EventAnswer:
    slot = Slot(call.streams)
    try:
        _, command = await start(call, text, stdin=False, timeout=timeout)
    except BaseException:
        slot.close()
        raise
    # A client's patience with silence is the time that it gives to the command.
    silence = SILENCE_SECONDS if timeout is None else min(SILENCE_SECONDS, max(timeout / 3, BREATH_SECONDS))
    return EventAnswer(call.streams, command, Lines(), silence_seconds=silence, slot=slot)


def ignores_status(call: Call) -> bool:
    """The client in Python reads events whatever the status, and takes a refusal without any for an empty success."""
    agent = dict(call.scope["headers"]).get(b"user-agent", b"")
    return bool(agent.startswith(b"python-httpx/")) and call.body.flag("stream")


async def show_running(call: Call) -> ASGIApp:
    shown: list[dict[str, Any]] = [
        {"pid": number, "cmd": shown_text(command), "is_pty": False, "envs": {}}
        for number, command in call.space.processes.items()
        if command.state != "finished"
    ]
    shown += [
        {"pid": number, "cmd": LOGIN_SHELL, "is_pty": True, "envs": {}}
        for number, terminal in terminals_of(call.space).items()
        if terminal.state != "finished"
    ]
    return json_response(sorted(shown, key=lambda item: int(item["pid"])))


def read_number(call: Call) -> int:
    text = call.ids["pid"]
    if not text.isdecimal() or len(text) > 12:
        raise NotFound(f"there is no process {text!r}")
    return int(text)


async def find(call: Call) -> Command:
    return await (await call.space.process(read_number(call))).refresh()


async def wait(call: Call) -> ASGIApp:
    return waited(call, await find(call))


async def kill(call: Call) -> ASGIApp:
    space = await call.space_in_use()
    if read_number(call) in terminals_of(space):
        return await kill_terminal(call)
    return json_response({"killed": await kill_command(await find(call))})


async def kill_command(command: Command) -> bool:
    """Whether this is how it ended."""
    if command.state == "finished":
        return False
    await end(command)
    return command.reason == "killed"


async def send_input(call: Call) -> ASGIApp:
    await call.space_in_use()
    return await type_to(await find(call), call.body.needed_text("data"))


async def type_to(command: Command, data: str | bytes) -> ASGIApp:
    try:
        await command.send_input(data)
    except Closed as error:
        raise Refusal(409, "process_ended", str(error)) from None
    return Response(status_code=204)


ROWS: Final = [
    Row("POST", "/{sandbox}/commands", run),
    Row("GET", "/{sandbox}/commands", show_running),
    Row("POST", "/{sandbox}/commands/stream", run_stream),
    Row("DELETE", "/{sandbox}/commands/{pid}", kill),
    Row("GET", "/{sandbox}/commands/{pid}/wait", wait),
    Row("POST", "/{sandbox}/commands/{pid}/stdin", send_input, waits=True),
]
