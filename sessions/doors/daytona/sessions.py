"""Sessions of the Daytona dialect: one shell each, in which commands run one after the other; their input and their logs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import trio
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp

from ...arguments import check_input
from ...command import Command
from ...echoing import send_and_echo
from ...errors import Closed, NotFound
from ...models import Logs
from ...reading_logs import read_logs_beside, read_pieces
from ...selection import Selection
from ...session import Session
from ...spaces import BASE
from ..rendering import to_string
from ..requests import json_response, to_json
from .errors import Refusal, session_ended
from .frames import mark
from .routing import DOOR, Call, Row
from .versions import Form
from .views import exit_code, streams_of, view_command

ENTRYPOINT: Final = "entrypoint"
"""The id of the session of a sandbox's first program, which ours have none of."""
NO_ENTRYPOINT: Final = "this sandbox has no entrypoint: it runs nothing by itself"
NO_SEGMENTS: Final = (".", "..")
"""What clients take out of a path before they send it: nobody could ask for a session of this id."""
SILENT: Final = "suppressInputEcho"
"""A label of commands whose input does not show in their log."""
REPORT_SECONDS: Final = 0.2
"""Between the end of a command's program, which shuts its stdin, and the shell's report that the command has ended."""
MOST_BYTES: Final = 64 << 20
"""The most of a log that one answer carries."""


def session_of(call: Call) -> Session:
    name = call.ids["session"]
    if name == ENTRYPOINT and call.scope.get("method", "GET") == "GET":
        raise NotFound(NO_ENTRYPOINT)
    if name == ENTRYPOINT:
        raise Refusal(400, "BAD_REQUEST", f"the session {ENTRYPOINT!r} is the sandbox's own")
    if name == BASE:
        raise NotFound("session not found")
    forget_deleted(call, name)
    return call.space.session(name)


def forget_deleted(call: Call, name: str) -> None:
    """What our own API has deleted is unknown here, too."""
    archive, session = call.spaces.engine.archive, call.space.sessions.get(name)
    if session is None or session.id in archive.live or archive.catalog.find_session(session.id) is not None:
        return
    del call.space.sessions[name]


async def command_of(call: Call) -> Command:
    session, command_id = session_of(call), call.ids["command"]
    if command_id.partition("-")[0] != session.id:
        raise NotFound(f"session {call.ids['session']!r} has no command {command_id!r}")
    return await (await call.spaces.engine.get_command(command_id)).refresh()


# Sessions


async def create(call: Call) -> ASGIApp:
    name = call.body.needed_text("sessionId")
    if name in (ENTRYPOINT, BASE, *NO_SEGMENTS):
        raise Refusal(400, "BAD_REQUEST", f"no session can be called {name!r}")
    forget_deleted(call, name)
    await call.space.create_session(name)
    return Response(status_code=201)


async def view(name: str, session: Session) -> dict[str, Any]:
    return {"sessionId": name, "commands": [view_command(command) for command in await session.list_commands()]}


async def show(call: Call) -> ASGIApp:
    return json_response(await view(call.ids["session"], session_of(call)))


async def show_all(call: Call) -> ASGIApp:
    for name in list(call.space.sessions):
        forget_deleted(call, name)
    return json_response(
        [await view(name, session) for name, session in list(call.space.sessions.items()) if name != BASE]
    )


async def delete(call: Call) -> ASGIApp:
    session_of(call)
    with trio.CancelScope(shield=True):  # half closed is no state to be left in
        await call.space.close_session(call.ids["session"])
    return Response(status_code=204)


async def no_entrypoint(call: Call) -> ASGIApp:
    raise NotFound(NO_ENTRYPOINT)


# Commands


async def execute(call: Call) -> ASGIApp:
    session, body = session_of(call), call.body
    text = body.needed_text("command")
    run_async = body.flag("runAsync") or body.flag("async")
    labels = {"space": call.space.id, "door": DOOR, "session": call.ids["session"]}
    if body.flag(SILENT):
        labels[SILENT] = "true"
    try:
        command = await session.run_async(text, in_shell=True, stdin=run_async, labels=labels)
    except Closed:
        raise session_ended(f"session {call.ids['session']!r} has ended with its shell: create another one") from None
    if run_async:
        return json_response({"cmdId": command.id}, 202)
    # Nothing can be sent before the status is known, however long that takes.
    await call.streams.wait_aloud(command.wait, trio.lowlevel.checkpoint)
    check_end(call, command)
    return await answer_end(command, call.form)


def check_end(call: Call, command: Command) -> None:
    """An error where a command did not come to an end of its own."""
    name, state = call.ids["session"], call.space.state
    during = f"while command {command.id} ran or waited"
    if command.reason == "session_closed":
        if state != "started":
            raise Refusal(400, "BAD_REQUEST", f"session cancelled: its sandbox was {state} {during}")
        session = call.space.sessions.get(name)
        if session is None or session.id != command.session_id:
            raise Refusal(400, "BAD_REQUEST", f"session cancelled: it was deleted {during}")
        # With our own tools, or because the server ends.
        raise session_ended(f"session {name!r} was closed {during}")
    if command.exit_code is None:
        raise session_ended(f"the session's shell ended before command {command.id} could run")


async def answer_end(command: Command, form: Form) -> ASGIApp:
    facts = {"cmdId": command.id, "exitCode": exit_code(command)}
    check_size(command)
    if form == "json":
        return text_object(facts, streams_of(await read(command)))
    output = mark(whole(command)) if form == "marked" else (await read(command)).output
    return text_object({**facts, "stdout": None, "stderr": None}, {"output": output})


async def read(command: Command) -> Logs:
    return await read_logs_beside(command.archive, command.info, Selection())


def whole(command: Command) -> Any:
    return read_pieces(command.archive, command.info, Selection())


def check_size(command: Command) -> None:
    kept = command.size_bytes - command.dropped_bytes
    if kept > MOST_BYTES:
        raise Refusal(
            413,
            "PAYLOAD_TOO_LARGE",
            f"command {command.id} wrote {kept} bytes, more than the {MOST_BYTES} that one answer carries: "
            f"stream its log (get_session_command_logs_async), or read it with `sessions logs {command.id}`",
        )


def text_object(facts: Mapping[str, Any], texts: Mapping[str, bytes]) -> ASGIApp:
    """A JSON object of facts and of texts, which may be large."""
    head = to_json(facts)[:-1].encode()

    async def pieces() -> AsyncIterator[bytes]:
        separator = b"," if facts else b""
        yield head
        for name, data in texts.items():
            yield separator + b'"%s":' % name.encode()
            for piece in to_string(data, False):
                await trio.lowlevel.checkpoint()
                yield piece
            separator = b","
        yield b"}\n"

    if sum(map(len, texts.values())) > 1 << 18:
        return StreamingResponse(pieces(), media_type="application/json")
    values = [b'"%s":%s' % (name.encode(), b"".join(to_string(data, False))) for name, data in texts.items()]
    return Response(
        b",".join([head, *values] if facts else [head + values[0], *values[1:]]) + b"}\n", media_type="application/json"
    )


async def show_command(call: Call) -> ASGIApp:
    return json_response(view_command(await command_of(call)))


async def send_input(call: Call) -> ASGIApp:
    command = await command_of(call)
    text = call.body.needed_text("data")
    data = check_input(text if text.endswith("\n") else text + "\n")
    session = session_of(call)
    if session.state not in ("open", "stalled"):
        raise session_ended(f"session {call.ids['session']!r} has ended, and command {command.id} with it")
    if command.state == "finished":
        raise completed(command)
    running = command.archive.running(command.id)
    if running is not None and not running.request.stdin:
        raise Refusal(409, "CONFLICT", f"command {command.id} was started without runAsync: its stdin is at the end")
    try:
        await (command.send_input(data) if SILENT in command.labels else send_and_echo(command, data))
    except Closed as error:
        with trio.move_on_after(REPORT_SECONDS):
            await command.wait()
            raise completed(command) from None
        raise error from None
    return Response(status_code=204)


def completed(command: Command) -> Refusal:
    return Refusal(410, "COMMAND_ALREADY_COMPLETED", f"command {command.id} is finished: it reads no more input")


async def show_logs(call: Call) -> ASGIApp:
    command, form = await command_of(call), call.form
    check_size(command)
    if form == "json":
        return text_object({}, streams_of(await read(command)))
    logs = mark(whole(command)) if form == "marked" else (await read(command)).output
    return Response(logs, media_type="text/plain")


COMMAND: Final = "process/session/{session}/command/{command}"

ROWS: Final = [
    Row("GET", "process/session/entrypoint", no_entrypoint),
    Row("GET", "process/session/entrypoint/logs", no_entrypoint),
    Row("POST", "process/session", create),
    Row("GET", "process/session", show_all),
    Row("GET", "process/session/{session}", show),
    Row("DELETE", "process/session/{session}", delete),
    Row("POST", "process/session/{session}/exec", execute, waits=True),
    Row("GET", COMMAND, show_command),
    Row("GET", f"{COMMAND}/logs", show_logs),
    Row("POST", f"{COMMAND}/input", send_input, waits=True),
]
