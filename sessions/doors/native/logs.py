"""The native door's logs: what is there now, as JSON, text, raw bytes or events.

``?format=`` chooses, else the header Accept. Logs are read and sent piece by piece, so all but JSON may be larger than memory;
other requests get their turn between two pieces.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from functools import partial
from types import TracebackType
from typing import Final, Self, TypeAlias

import attrs
import trio
from starlette.types import ASGIApp, Receive, Scope, Send

from ...archive import Archive
from ...errors import Broken
from ...models import CommandInfo, Record
from ...reading_logs import PIECE_BYTES, read_before, read_pieces
from ...selection import Selection
from ...wire import WrongField, view_command
from ..operations import Call, Disconnected, Media, Operation, while_connected
from ..rendering import PlainText, Raw, Rendering, StampedText, to_object
from ..requests import Parameter, TooLarge, choice, count, flag, number, to_json
from ..streaming import EventStream
from ..telling import Message, Teller
from .commands import PREFIXES, STREAM_ENCODING, find_command
from .follow import STREAM
from .ranges import NotSatisfiable, read_range
from .sessions import find_session

JSON_BYTES: Final = 64 << 20
"""The most that one JSON object carries."""
PIECE_RECORDS: Final = 1024
BYTES: Final = (b"content-type", b"application/octet-stream")
TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")
MEDIA: Final = {
    "json": "application/json",
    "text": "text/plain",
    "raw": "application/octet-stream",
    "events": "text/event-stream",
}


@attrs.frozen
class Target:
    """Whose log."""

    archive: Archive
    info: CommandInfo | str
    """A command, or a session's id."""
    end: str
    """What to say of it at the end, as JSON in ASCII."""


class Pieces:
    """The records that are there now, a piece at a time."""

    def __init__(self, target: Target, asked: Selection) -> None:
        self._records = read_pieces(target.archive, target.info, asked)

    async def next(self) -> list[Record]:
        """Empty at the end."""
        await trio.lowlevel.checkpoint()
        found: list[Record] = []
        size = 0
        for record in self._records:
            found.append(record)
            size += len(record.data)
            if size >= PIECE_BYTES or len(found) >= PIECE_RECORDS:
                break
        return found

    def close(self) -> None:
        self._records.close()


def choose_format(asked: str | None, accept: str) -> str:
    """``format``, or what the header likes best of what there is: JSON if it does not say."""
    if asked is not None:
        return asked
    best, best_weight = "json", 0.0
    for item in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in item.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                with suppress(ValueError):
                    weight = float(parameter[2:])
        for name, media in MEDIA.items():
            if kind == media and weight > best_weight:
                best, best_weight = name, weight
    return best


async def command_logs(call: Call) -> ASGIApp:
    command = await find_command(call)
    await command.refresh()
    target = Target(command.archive, command.info, to_json(view_command(command.info), ascii=True))
    return answer_logs(call, target)


async def session_logs(call: Call) -> ASGIApp:
    session = await find_session(call)
    return answer_logs(call, Target(session.archive, session.id, to_json(session.info, ascii=True)))


def answer_logs(call: Call, target: Target) -> ASGIApp:
    query = call.query
    asked = Selection(**{field.name: query[field.name] for field in attrs.fields(Selection)})
    kind = choose_format(query["format"], call.headers.get("accept", ""))
    if query["timestamps"] and kind != "text":
        raise WrongField("goes with format=text", "?timestamps")
    if query["encoding"] == "base64" and kind not in ("json", "events"):
        raise WrongField("goes with format=json and format=events", "?encoding")
    if query["encoding"] == "auto" and kind != "events":
        raise WrongField("auto goes with format=events", "?encoding")
    as_base64 = query["encoding"] == "base64"
    before = partial(read_before, target.archive) if asked.after is not None or asked.since is not None else None
    match kind:
        case "json":
            return while_there(partial(tell_object, target, asked, as_base64))
        case "text":
            rendering = StampedText(before) if query["timestamps"] else PlainText(before)
            return while_there(partial(tell_pieces, target, asked, rendering, [TEXT]))
        case "raw":
            return while_there(partial(tell_bytes, target, asked, wanted_range(call)))
        case _:
            return EventStream(
                LogEvents(target, asked, Teller(query["encoding"] or "text", before=before)), call.streams
            )


def wanted_range(call: Call) -> str | None:
    """The header Range, which says something to GET alone. With If-Range it is for a version that is known by its tag: ours have none."""
    return call.headers.get("range") if call.scope["method"] == "GET" and "if-range" not in call.headers else None


Tell: TypeAlias = Callable[[Scope, Send], Awaitable[None]]


def while_there(tell: Tell) -> ASGIApp:
    """An answer that is given up when the client goes."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(Disconnected):
            await while_connected(receive, partial(tell, scope, send))

    return answer


async def start(send: Send, headers: Sequence[tuple[bytes, bytes]], status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


async def say(send: Send, body: bytes, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def tell_object(target: Target, asked: Selection, as_base64: bool, scope: Scope, send: Send) -> None:
    """All of it as one JSON object."""
    records: list[Record] = []
    size = 0
    with closing(Pieces(target, asked)) as pieces:
        while piece := await pieces.next():
            records += piece
            size += sum(len(record.data) for record in piece)
            if size > JSON_BYTES:
                raise TooLarge(
                    f"more than {JSON_BYTES >> 20} MiB do not go into one JSON object:"
                    " ask for a part of it, or with format=text, raw or events"
                )
    await start(send, [(b"content-type", b"application/json")])
    for part in to_object(records, as_base64):
        await say(send, part)
    await say(send, b"", more=False)


async def tell_pieces(
    target: Target,
    asked: Selection,
    rendering: Rendering,
    headers: Sequence[tuple[bytes, bytes]],
    scope: Scope,
    send: Send,
) -> None:
    """All of it, as a body that is made piece by piece."""
    with closing(Pieces(target, asked)) as pieces:
        piece = await pieces.next()  # what goes wrong with it can still be told by a status
        await start(send, headers)
        while piece and scope["method"] != "HEAD":
            await say(send, rendering.feed(piece))
            piece = await pieces.next()
    await say(send, rendering.finish(), more=False)


async def tell_bytes(target: Target, asked: Selection, header: str | None, scope: Scope, send: Send) -> None:
    """The bytes as they were written, or a range of them. Positions count what is no longer kept, too: they never move."""
    headers = [BYTES]
    if asked != Selection(stream=asked.stream):
        await tell_pieces(target, asked, Raw(), headers, scope, send)
        return
    size, dropped = await measure(target, asked)
    chosen = read_range(header, size)
    headers.append((b"accept-ranges", b"bytes"))
    if chosen is None and dropped:
        headers.append((b"sessions-dropped-bytes", b"%d" % dropped))
        await tell_pieces(target, asked, Raw(), headers, scope, send)
        return
    first, stop = chosen or (0, size)
    headers.append((b"content-length", b"%d" % (stop - first)))
    if chosen is not None:
        headers.append((b"content-range", b"bytes %d-%d/%d" % (first, stop - 1, size)))
    with closing(Pieces(target, attrs.evolve(asked, start=first, stop=stop))) as pieces:
        piece = await pieces.next()
        if any(record.stream == "dropped" for record in piece):
            raise NotSatisfiable(f"some of bytes {first} to {stop - 1} are no longer kept: ask without a range", size)
        await start(send, headers, 206 if chosen is not None else 200)
        while piece and scope["method"] != "HEAD":
            if any(record.stream == "dropped" for record in piece):
                raise Broken("bytes were given up while they were being sent")  # the body stays short of its length
            await say(send, b"".join([record.data for record in piece]))
            piece = await pieces.next()
    await say(send, b"", more=False)


async def measure(target: Target, asked: Selection) -> tuple[int, int]:
    """How many bytes were written there, and how many of them are no longer kept."""
    info = target.info
    if isinstance(info, CommandInfo) and not info.dropped_bytes:
        by_stream = {"stdout": info.stdout_bytes, "stderr": info.stderr_bytes}
        return (by_stream[asked.stream] if asked.stream else sum(by_stream.values())), 0
    size = dropped = 0
    with closing(Pieces(target, asked)) as pieces:
        while piece := await pieces.next():
            size += sum(len(record.data) + record.dropped_bytes for record in piece)
            dropped += sum(record.dropped_bytes for record in piece)
    return size, dropped


class LogEvents:
    """What is there now, as the messages of a follow, and then its end."""

    def __init__(self, target: Target, asked: Selection, teller: Teller) -> None:
        self._target = target
        self._asked = asked
        self._teller = teller
        self._last = Record(0, 0.0, "stdout", b"", "")
        self._over = False

    async def __aenter__(self) -> Self:
        self._pieces = Pieces(self._target, self._asked)
        self._piece = await self._pieces.next()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pieces.close()

    async def read(self) -> Sequence[Message]:
        while not self._over:
            piece, self._piece = self._piece or await self._pieces.next(), []
            if not piece:
                self._over = True
                rest = self._teller.rest_of_all(self._last.seq, self._last.time)
                return [*rest, Message("end", None, self._target.end)]
            self._last = piece[-1]
            messages = self._teller.tell(piece)
            if messages:
                return messages
        return []


LOGS_SCHEMA: Final = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in ("stdout", "stderr", "output")},
        "dropped_bytes": {"type": "integer"},
    },
    "required": ["stdout", "stderr", "output", "dropped_bytes"],
    "additionalProperties": False,
}

LOGS_QUERY: Final[dict[str, Parameter]] = {
    "format": choice("The form of the answer; goes before the header Accept.", *MEDIA),
    "tail": count("Only the last so many lines. Does not go with `start` and `stop`.", 0, 1_000_000),
    "since": number("Only what was read at this time or later (Unix seconds)."),
    "until": number("Only what was read at this time or earlier."),
    "after": count("Only what comes behind the record with this seq.", -1),
    "stream": STREAM,
    "start": count("Only from this byte of the output on."),
    "stop": count("Only up to this byte."),
    "timestamps": flag("With format=text: a time and the name of the stream in front of each line."),
    "encoding": STREAM_ENCODING,
}

OPERATIONS: Final = [
    *(
        Operation(
            method="GET",
            path=prefix + "/logs",
            summary="What a command has written so far.",
            answer=command_logs,
            query=LOGS_QUERY,
            result=LOGS_SCHEMA,
            also={206: Media("application/octet-stream")},
            media=tuple(MEDIA.values()),
        )
        for prefix in PREFIXES
    ),
    Operation(
        method="GET",
        path="/sessions/{session}/logs",
        summary="What all commands of a session have written so far.",
        answer=session_logs,
        query=LOGS_QUERY,
        result=LOGS_SCHEMA,
        also={206: Media("application/octet-stream")},
        media=tuple(MEDIA.values()),
    ),
]
