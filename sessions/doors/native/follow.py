"""The native door's follow: of a command, of a session, of many at once. Server-sent events, or a WebSocket on the same path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ...arguments import check_count
from ...command import Command
from ...models import StreamName
from ...wire import FollowMany, WrongField
from ..following_logs import FollowedCommands, FollowedSession
from ..operations import Call, Operation
from ..requests import Parameter, choice, count, flag, pairs, text
from ..streaming import Source, events, socket
from .commands import PREFIXES, STREAM_ENCODING, find_command
from .sessions import LABEL, find_session, label_filter

AFTER: Final = count("The seq behind which to begin, as the header Last-Event-ID, which goes before it.", -1)
STREAM: Final = choice("Only this stream.", "stdout", "stderr")
LATE: Final = flag("Also wait for what processes that a command left behind still write.")
POSITIONS: Final = pairs(
    "Where to begin in a session's commands: SESSION_ID:SEQ, behind that record.", ":", AFTER.parse
)


def read_position(call: Call) -> int | None:
    """Behind which record to begin: the header is what an EventSource sends by itself, so it is the newer one."""
    header = call.headers.get("last-event-id")
    if not header:
        after: int | None = call.query["after"]
        return after
    return int(read_header(AFTER, header))


def read_header(parameter: Parameter, value: str) -> Any:
    try:
        return parameter.parse(value)
    except ValueError as error:
        raise WrongField(f"{error}, not {value!r}", "Last-Event-ID") from None


def read_positions(call: Call, given: Mapping[str, int]) -> Mapping[str, int]:
    """By session id."""
    for session_id, seq in given.items():
        check_count(f"after[{session_id!r}]", seq, -1)
    header = call.headers.get("last-event-id")
    return dict([*given.items(), read_header(POSITIONS, header)]) if header else given


def is_for_socket(call: Call) -> bool:
    return bool(call.scope["type"] == "websocket")


async def open_command(call: Call) -> Source:
    command, after, query = await find_command(call), read_position(call), call.query
    positions = {} if after is None else {command.session_id: after}
    late = query["late"] or False
    return FollowedCommands(
        [command], positions, query["stream"], query["encoding"], late, for_socket=is_for_socket(call)
    )


async def open_session(call: Call) -> Source:
    session, after = await find_session(call), read_position(call)
    return FollowedSession(session, after, call.query["stream"], call.query["encoding"], is_for_socket(call))


async def open_chosen(call: Call) -> Source:
    """What a query chooses: commands by their ids, and all of a session or with a label that are there now."""
    query = call.query
    if not query["command"] and query["session"] is None and not query["label"]:
        raise WrongField("say what to follow: command, session or label", "?command")
    chosen = [await call.engine.get_command(command_id) for command_id in query["command"]]
    if query["session"] is not None or query["label"]:
        labels = label_filter(query["label"])
        chosen += await call.engine.list_commands(session=query["session"], labels=labels)
    positions = dict(query["after"])
    return many(call, chosen, positions, query["stream"], query["encoding"], query["late"] or False)


async def open_listed(call: Call) -> Source:
    asked: FollowMany = call.body
    chosen = [await call.engine.get_command(command_id) for command_id in asked.commands]
    return many(call, chosen, asked.after, asked.stream, asked.encoding, asked.late)


def many(
    call: Call,
    chosen: Sequence[Command],
    after: Mapping[str, int],
    stream: StreamName | None,
    encoding: str | None,
    late: bool,
) -> Source:
    positions = read_positions(call, after)
    return FollowedCommands(chosen, positions, stream, encoding, late, many=True, for_socket=is_for_socket(call))


FOLLOW_QUERY: Final[dict[str, Parameter]] = {"after": AFTER, "stream": STREAM, "encoding": STREAM_ENCODING}
EVENTS: Final = ("text/event-stream",)

OPERATIONS: Final = [
    *(
        Operation(
            method="GET",
            path=prefix + "/follow",
            summary="A command's log from the first byte on, then live, until the command ends.",
            answer=events(open_command),
            websocket=socket(open_command),
            query={**FOLLOW_QUERY, "late": LATE},
            media=EVENTS,
            streams=True,
        )
        for prefix in PREFIXES
    ),
    Operation(
        method="GET",
        path="/sessions/{session}/follow",
        summary="The log of all commands of a session, then live, until the session is closed.",
        answer=events(open_session),
        websocket=socket(open_session),
        query=FOLLOW_QUERY,
        media=EVENTS,
        streams=True,
    ),
    Operation(
        method="GET",
        path="/follow",
        summary="Many commands at once, each from its first byte to its end.",
        answer=events(open_chosen),
        websocket=socket(open_chosen),
        query={
            "command": text("A command's id.", repeated=True),
            "session": text("All commands of this session that are there now: a name or an id."),
            "label": LABEL,
            "after": POSITIONS,
            "stream": STREAM,
            "encoding": STREAM_ENCODING,
            "late": LATE,
        },
        media=EVENTS,
        streams=True,
    ),
    Operation(
        method="POST",
        path="/follow",
        summary="The same, for more ids than a URL can carry.",
        answer=events(open_listed),
        body=FollowMany,
        media=EVENTS,
        streams=True,
    ),
]
