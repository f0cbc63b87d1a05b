"""A program's output as server-sent events, line by line and live, then how it ended. Each surface names its events differently.

All JSON is ASCII: clients take any line end of Unicode for the end of an event's line. A stream that can't go on says so where
its surface has a word for that, and breaks off where not: an end without the last event is no end.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from starlette.types import Receive, Scope, Send

from ...command import Command
from ...errors import Busy
from ...models import Record
from ...reading_logs import read_pieces
from ...selection import Selection
from ..endings import end, finish
from ..following_logs import PIECE_BYTES
from ..kept_alive import wait_or_say
from ..open_streams import OpenStream, ServerCloses, Streams
from ..operations import Disconnected, while_connected
from ..outcomes import told_exit_code
from ..passing_on import pass_on
from ..requests import to_json
from ..streaming import HEADERS, SILENCE
from .lines import Lines
from .views import milliseconds

T = TypeVar("T")

SILENCE_SECONDS: Final = 1.0
"""The longest silence, in answers that may be many and long: clients may have been told to wait for a few seconds only."""


def check_room(streams: Streams) -> None:
    """`Busy` if there are too many streams for another one: to be asked before a program is started for it."""
    with streams.one_more():
        pass


def event(name: str, **facts: Any) -> str:
    return f"event: {name}\ndata: {to_json(facts, ascii=True)}\n\n"


class Words:
    """How a surface tells of a program. This is that of sandboxes."""

    def line(self, stream: str, text: str) -> str:
        return f'event: {stream}\ndata: {{"line":{json.dumps(text)}}}\n\n'

    def end(self, command: Command) -> str:
        return event("exit", exit_code=told_exit_code(command), duration_ms=milliseconds(command))

    def failure(self, error: ServerCloses) -> str | None:
        """None if it can't be told."""
        return None


class ProcessWords(Words):
    """Clients are not told the names of events, so the data say all."""

    def line(self, stream: str, text: str) -> str:
        return f'event: {stream}\ndata: {{"line":{json.dumps(text)},"stream":"{stream}"}}\n\n'

    def end(self, command: Command) -> str:
        return event("exit", exit_code=told_exit_code(command), line="", duration_ms=milliseconds(command))


class ServiceWords(ProcessWords):
    """Every event is a line of the log, so the end of the stream is all that tells the end."""

    def end(self, command: Command) -> str:
        return ""


class TicketWords(Words):
    """That of a stream that was started by one request and is read by another."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout

    def line(self, stream: str, text: str) -> str:
        return f'event: output\ndata: {{"line":{json.dumps(text)},"stream":"{stream}"}}\n\n'

    def end(self, command: Command) -> str:
        if command.reason == "timeout":
            whole = self._timeout == int(self._timeout)
            return event("timeout", timeout_seconds=int(self._timeout) if whole else self._timeout)
        return super().end(command)

    def failure(self, error: ServerCloses) -> str | None:
        return event("error", message=str(error))


class EventAnswer:
    """One client that reads one program's output, from its beginning."""

    def __init__(
        self, streams: Streams, command: Command, words: Words, *, follow: bool = True, kill: bool = False
    ) -> None:
        """Without `follow`, what is there now. With `kill`, the program is ended if the client leaves before the end."""
        self._streams = streams
        self._command = command
        self._words = words
        self._follow = follow
        self._kill = kill
        self._lines = Lines()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def say(data: bytes = SILENCE, more: bool = True) -> None:
            with stream.waiting():
                await send({"type": "http.response.body", "body": data, "more_body": more})

        async def tell() -> None:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            await say()  # so that proxies pass on that it has begun
            await (self._tell(say) if self._follow else self._replay(say))
            await say(b"", more=False)

        stream: OpenStream
        try:
            with self._streams.one_more() as stream:
                await while_connected(receive, tell)
        except (Busy, Disconnected) as error:
            if self._kill and self._command.state != "finished":
                await end(self._command)
            if isinstance(error, Busy):
                raise

    async def _tell(self, say: Any) -> None:
        async def take(records: list[Record]) -> None:
            await self._say_lines(say, self._lines.feed_all(records))

        def wait(read: Callable[[], Awaitable[T]]) -> Awaitable[T]:
            return wait_or_say(self._streams, read, say, SILENCE_SECONDS)

        try:
            await pass_on(self._command, None, wait, take)
            # With a full disk the outcome may come later than its mark in the log.
            await wait(partial(finish, self._command))
            await self._say_lines(say, self._lines.end(), self._words.end(self._command))
        except ServerCloses as error:
            told = self._words.failure(error)
            if told is None:
                raise
            await say(told.encode("ascii"))

    async def _replay(self, say: Any) -> None:
        batch: list[Record] = []
        size = 0
        for record in read_pieces(self._command.archive, self._command.info, Selection()):
            batch.append(record)
            size += len(record.data)
            if size >= PIECE_BYTES:
                await self._say_lines(say, self._lines.feed_all(batch))
                batch, size = [], 0
        await self._say_lines(say, [*self._lines.feed_all(batch), *self._lines.end()])

    async def _say_lines(self, say: Any, lines: Sequence[tuple[str, str]], end: str = "") -> None:
        text = "".join([self._words.line(stream, line) for stream, line in lines]) + end
        if text:
            await say(text.encode("ascii"))


SANDBOX: Final = Words()
PROCESS: Final = ProcessWords()
SERVICE: Final = ServiceWords()
