"""Commands over HTTP: waited for (``/exec``), and followed as server-sent events (``/exec/stream``)."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import trio
from starlette.types import ASGIApp, Receive, Scope, Send

from ...models import Record, StreamName
from ...reading_logs import read_logs
from ...selection import Selection
from ...texts import Texts
from ..open_streams import ServerCloses
from ..operations import Disconnected, while_connected
from ..outcomes import KILLED
from ..passing_on import pass_on
from ..rendering import rfc3339
from ..requests import to_bytes, to_json
from ..streaming import HEADERS
from .errors import CLOSING, EXEC_FAILED
from .routing import Call, Row
from .runs import LAST_WORDS, Asked, CannotStart, Run, ended, read_asked, space_in_use, start

STREAM_SECONDS: Final = 30.0
"""The time limit of a command for which none was asked."""
WAITED_SECONDS: Final = 29.0
"""The same where a client hears nothing before the end: some leave after thirty seconds in all."""
RESULT_BYTES: Final = 9 << 20
"""The largest answer, about. Clients refuse one of more than 10 MiB."""
CUT: Final = "\n[there was more output than an answer carries: stream the command, or write to a file]\n"
KEEPALIVE: Final = b": keepalive\n\n"


class Exec:
    """One command, over one request: what both ways have in common."""

    default_seconds: float

    def __init__(self, call: Call) -> None:
        self._space = space_in_use(call)
        self._streams = call.streams
        self._asked: Asked = read_asked(call.body, self.default_seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with start(self._streams, self._space, self._asked) as run:
                with suppress(Disconnected):
                    await while_connected(receive, partial(self.tell, run, send))
        except CannotStart as error:
            await self.tell_failure(error, send)

    async def tell(self, run: Run, send: Send) -> None:
        raise NotImplementedError

    async def tell_failure(self, error: CannotStart, send: Send) -> None:
        raise NotImplementedError


class WaitedExec(Exec):
    """The whole outcome as one JSON object; white space comes before it while there is nothing to tell."""

    default_seconds = WAITED_SECONDS

    async def tell(self, run: Run, send: Send) -> None:
        begun = False

        async def say() -> None:
            nonlocal begun
            if not begun:
                await send({"type": "http.response.start", "status": 200, "headers": JSON_HEADERS})
            begun = True
            await send({"type": "http.response.body", "body": b" ", "more_body": True})

        try:
            await run.wait_until_over(say)
            body = result(run, run.exit_code, "")
        except ServerCloses:
            body = result(run, KILLED, LAST_WORDS + "\n")
        if begun:
            await send({"type": "http.response.body", "body": body})
        else:
            await send_whole(send, body)

    async def tell_failure(self, error: CannotStart, send: Send) -> None:
        await send_whole(send, to_result("", f"{error}\n", error.exit_code, False))


JSON_HEADERS: Final = [(b"content-type", b"application/json")]


async def send_whole(send: Send, body: bytes) -> None:
    headers = [*JSON_HEADERS, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def to_result(stdout: str, stderr: str, exit_code: int, truncated: bool) -> bytes:
    found = {"stdout": stdout, "stderr": stderr, "exit_code": exit_code, "truncated": truncated}
    return to_bytes(to_json(found) + "\n")


def result(run: Run, exit_code: int, notice: str) -> bytes:
    """What a command has written, from its beginning, as far as an answer may be long."""
    info = run.command.info
    # Of the stream that is shorter, all; of the other, what is left of the room.
    stderr, stderr_is_cut = read_text(run, "stderr", max(RESULT_BYTES // 2, RESULT_BYTES - info.stdout_bytes))
    stdout, stdout_is_cut = read_text(run, "stdout", RESULT_BYTES - json_size(stderr))
    truncated = stderr_is_cut or stdout_is_cut or bool(info.dropped_bytes)
    return to_result(stdout, stderr + (CUT if truncated else "") + notice, exit_code, truncated)


def read_text(run: Run, stream: StreamName, room: int) -> tuple[str, bool]:
    """As much of a stream as takes no more than `room` bytes of an answer, and whether that is less than all."""
    info = run.command.info
    logs = read_logs(run.command.archive, info, Selection(stream=stream, stop=room))
    text = logs.output.decode("utf-8", "replace")
    fitting = fit(text, room)
    size = info.stdout_bytes if stream == "stdout" else info.stderr_bytes
    return fitting, size > room or len(fitting) < len(text)


def json_size(text: str) -> int:
    return len(to_json(text).encode())


def fit(text: str, room: int) -> str:
    """As much of its beginning as takes no more than `room` bytes as JSON, which writes some characters as six."""
    while (size := json_size(text)) > room:
        text = text[: len(text) * room // size]
    return text


class StreamedExec(Exec):
    """Output as it comes, then how it ended. Error statuses come before the first event alone."""

    default_seconds = STREAM_SECONDS

    async def tell(self, run: Run, send: Send) -> None:
        async def say(data: bytes = KEEPALIVE, more: bool = True) -> None:
            with run.stream.waiting():
                await send({"type": "http.response.body", "body": data, "more_body": more})

        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await say()  # so that proxies pass on that it has begun
        texts = Texts()

        async def take(records: list[Record]) -> None:
            if records:
                await say(to_events(records, texts))

        try:
            await pass_on(run.command, None, lambda read: run.wait(read, say), take)
            await run.wait_until_over(say)
            last = ended(run.exit_code)
        except ServerCloses:
            last = ended(KILLED, LAST_WORDS, CLOSING)
        rest = [to_event(time.time(), {name: text}) for name, text in texts.end_all()]
        await say(b"".join([*rest, to_event(time.time(), last)]), more=False)

    async def tell_failure(self, error: CannotStart, send: Send) -> None:
        last = ended(error.exit_code, str(error), EXEC_FAILED)
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": to_event(time.time(), last)})


def to_events(records: Sequence[Record], texts: Texts) -> bytes:
    """Neighbours of one stream share an event, which has the time of the first one."""
    parts: list[bytes] = []
    pieces: list[str] = []
    name, begun = "", 0.0
    for record in records:
        if record.stream != name:
            parts.append(to_event(begun, {name: "".join(pieces)}) if any(pieces) else b"")
            name, begun, pieces = record.stream, record.time, []
        if record.stream == "dropped":
            name, pieces = "stderr", [f"[{record.dropped_bytes} bytes of output are no longer kept]\n"]
        else:
            pieces.append(texts.feed(record))
    return b"".join([*parts, to_event(begun, {name: "".join(pieces)}) if any(pieces) else b""])


def to_event(moment: float, fields: dict[str, Any]) -> bytes:
    # In ASCII: clients take some other characters for the ends of lines.
    return f"data: {json.dumps({'timestamp': rfc3339(moment), **fields})}\n\n".encode("ascii")


async def run_waited(call: Call) -> ASGIApp:
    await trio.lowlevel.checkpoint()
    return WaitedExec(call)


async def run_streamed(call: Call) -> ASGIApp:
    await trio.lowlevel.checkpoint()
    return StreamedExec(call)


ROWS: Final = [Row("POST", "/exec", run_waited), Row("POST", "/exec/stream", run_streamed)]
