"""The native door's commands: list, get, wait, input, signals, and an excerpt of the log. They are run in `run`."""

from __future__ import annotations

import binascii
from functools import partial
from typing import Any, Final

import trio
from starlette.responses import Response
from starlette.types import ASGIApp

from ...command import Command
from ...errors import NotFound
from ...wire import CommandList, CommandView, Grace, SendInput, SendSignal, WrongField, to_wire, view_command
from ..operations import Call, Operation
from ..requests import Parameter, choice, count, json_response, number, read_base64, text
from .sessions import LABEL, Nothing, find_session, label_filter
from .slow_answers import SlowAnswer

PAGE: Final = 100
LARGEST_PAGE: Final = 1000

PREFIXES: Final = ("/commands/{command}", "/sessions/{session}/commands/{command}")
"""A command is found by its id alone, or in its session."""

ENCODING: Final = choice(
    "How bytes are written: text as UTF-8, what is not UTF-8 as U+FFFD; or base64.", "text", "base64"
)
STREAM_ENCODING: Final = choice(
    "How bytes are written: text as UTF-8, what is not UTF-8 as U+FFFD; base64; or auto: exactly, as text where all is ASCII.",
    "text",
    "base64",
    "auto",
)


def view(command: Command) -> CommandView:
    return view_command(command.info)


async def find_command(call: Call) -> Command:
    if "session" in call.path:
        session = await find_session(call)
        command = await call.engine.get_command(call.path["command"])
        if command.session_id != session.id:
            raise NotFound(f"command {command.id} is none of session {session.name!r}")
        return command
    return await call.engine.get_command(call.path["command"])


async def show_all(call: Call) -> ASGIApp:
    query = call.query
    limit = query["limit"] or PAGE
    found = await call.engine.list_commands(
        session=call.path.get("session") or query["session"],
        state=query["state"],
        labels=label_filter(query["label"]),
        limit=limit + 1,
        before=query["before"],
    )
    page = found[-limit:]
    return json_response(
        CommandList(commands=[view(command) for command in page], next=page[0].id if len(found) > limit else None)
    )


async def show(call: Call) -> ASGIApp:
    return json_response(view(await find_command(call)))


async def wait(call: Call) -> ASGIApp:
    """The command when it is finished, or as it is when the time is over."""
    command = await find_command(call)
    timeout = call.query["timeout"]
    until = float("inf") if timeout is None else trio.current_time() + timeout
    return SlowAnswer(call.streams, command.wait, lambda: view(command), until=until)


async def send_input(call: Call) -> ASGIApp:
    """It may have to wait until the command reads; who asked for that may go before."""
    asked: SendInput = call.body
    if asked.text is not None and asked.base64 is not None:
        raise WrongField("give text or base64, not both", "$.base64")
    if asked.text is None and asked.base64 is None and not asked.close:
        raise WrongField("give text, base64 or close: true", "$")
    data = read_base64(asked.base64, "$.base64") if asked.base64 is not None else asked.text
    command = await find_command(call)

    async def send() -> None:
        if data is not None:
            await command.send_input(data)
        if asked.close:
            await command.close_input()

    return SlowAnswer(call.streams, send, lambda: view(command), empty=True)


async def send_signal(call: Call) -> ASGIApp:
    await (await find_command(call)).send_signal(call.body.signal)
    return Response(status_code=204)


async def interrupt(call: Call) -> ASGIApp:
    command = await find_command(call)
    await command.interrupt()
    return json_response(view(command))


async def kill(call: Call) -> ASGIApp:
    command = await find_command(call)
    return SlowAnswer(call.streams, partial(command.kill, call.body.grace), lambda: view(command), insist=True)


def encode(data: bytes, encoding: str | None) -> str:
    return (
        binascii.b2a_base64(data, newline=False).decode() if encoding == "base64" else data.decode("utf-8", "replace")
    )


async def excerpt(call: Call) -> ASGIApp:
    command = await find_command(call)
    asked = call.query["max_bytes"]
    found = await (command.excerpt(asked) if asked is not None else command.excerpt())
    parts: dict[str, Any] = to_wire(found)
    for name in ("head", "tail", "stderr_tail"):
        parts[name] = encode(getattr(found, name), call.query["encoding"])
    return json_response(parts)


EXCERPT_SCHEMA: Final = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in ("head", "tail", "stderr_tail")},
        **{name: {"type": "integer"} for name in ("omitted_bytes", "omitted_start", "omitted_stop")},
    },
    "required": ["head", "tail", "stderr_tail", "omitted_bytes", "omitted_start", "omitted_stop"],
    "additionalProperties": False,
}

LIST_QUERY: Final[dict[str, Parameter]] = {
    "state": choice("Only those in this state.", "queued", "running", "finished"),
    "label": LABEL,
    "limit": count(f"How many at most: the newest, {PAGE} if left out.", 1, LARGEST_PAGE),
    "before": text("A command's id: only those that were submitted before it. See `next` in the answer."),
}


def operations_on(path: str) -> list[Operation]:
    """What can be asked of the command at `path`."""
    return [
        Operation(method="GET", path=path, summary="One command.", answer=show, result=CommandView),
        Operation(
            method="GET",
            path=path + "/wait",
            summary="The command when it is finished, or as it is after `timeout`.",
            answer=wait,
            query={"timeout": number("Seconds to wait; for as long as it takes if left out.", 0)},
            result=CommandView,
        ),
        Operation(
            method="POST",
            path=path + "/input",
            summary="Write to its stdin. Answers once it has taken all.",
            answer=send_input,
            body=SendInput,
            status=204,
            also={200: CommandView},
        ),
        Operation(
            method="POST",
            path=path + "/signal",
            summary="Send a signal to its processes.",
            answer=send_signal,
            body=SendSignal,
            status=204,
        ),
        Operation(
            method="POST",
            path=path + "/interrupt",
            summary="What Ctrl-C does.",
            answer=interrupt,
            body=Nothing,
            body_optional=True,
            result=CommandView,
        ),
        Operation(
            method="POST",
            path=path + "/kill",
            summary="End it and all that it started.",
            answer=kill,
            body=Grace,
            body_optional=True,
            result=CommandView,
        ),
        Operation(
            method="GET",
            path=path + "/excerpt",
            summary="Its output cut down to a size.",
            answer=excerpt,
            query={"max_bytes": count("About how much; 30,000 if left out.", 1), "encoding": ENCODING},
            result=EXCERPT_SCHEMA,
        ),
    ]


OPERATIONS: Final = [
    Operation(
        method="GET",
        path="/commands",
        summary="Commands of all sessions, oldest first; of more than `limit` the newest.",
        answer=show_all,
        query={"session": text("Only those of this session: a name or an id."), **LIST_QUERY},
        result=CommandList,
    ),
    Operation(
        method="GET",
        path="/sessions/{session}/commands",
        summary="Commands of one session, oldest first; of more than `limit` the newest.",
        answer=show_all,
        query=LIST_QUERY,
        result=CommandList,
    ),
    *(operation for prefix in PREFIXES for operation in operations_on(prefix)),
]
