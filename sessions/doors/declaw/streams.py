"""A command's log as an answer of server-sent events: from a place on, then live, until the command ends.

It tells its end with its last event. Nothing is sent before the stream is sure to come about, and a client that leaves ends
nothing; one that reads slowly holds up itself alone, and a piece of the log is in memory for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import ExitStack, closing, suppress
from functools import partial
from typing import Final, TypeVar

from starlette.types import Receive, Scope, Send

from ...command import Command
from ...models import Record
from ..endings import finish
from ..kept_alive import wait_or_say
from ..open_streams import OpenStream, ServerCloses, Streams
from ..operations import Disconnected, while_connected
from ..outcomes import told_exit_code
from ..passing_on import pass_on
from ..streaming import HEADERS
from .events import SILENCE, Events, Lines, to_failure

T = TypeVar("T")

SILENCE_SECONDS: Final = 15.0


class Slot:
    """A place among the open streams of a server. `Busy` if there is none."""

    def __init__(self, streams: Streams) -> None:
        self._stack = ExitStack()
        self.stream: OpenStream = self._stack.enter_context(streams.one_more())

    def close(self) -> None:
        self._stack.close()


class EventAnswer:
    """One client that follows one command."""

    def __init__(
        self,
        streams: Streams,
        command: Command,
        events: Events,
        *,
        after: int | None = None,
        silence_seconds: float = SILENCE_SECONDS,
        slot: Slot | None = None,
    ) -> None:
        """`slot` is one that was taken before the command was started, so that it is not started in vain."""
        self._streams = streams
        self._command = command
        self._events = events
        self._after = after
        self._silence_seconds = silence_seconds
        self._slot = slot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with closing(self._slot or Slot(self._streams)) as slot, suppress(Disconnected):
            await while_connected(receive, partial(self._tell, slot.stream, send))

    async def _tell(self, stream: OpenStream, send: Send) -> None:
        async def say(data: bytes = SILENCE, more: bool = True) -> None:
            with stream.waiting():
                await send({"type": "http.response.body", "body": data, "more_body": more})

        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await say()  # so that proxies pass on that it has begun

        async def take(records: list[Record]) -> None:
            if data := self._events.tell(records):
                await say(data)

        def wait(read: Callable[[], Awaitable[T]]) -> Awaitable[T]:
            return wait_or_say(self._streams, read, say, self._silence_seconds)

        try:
            await pass_on(self._command, self._after, wait, take)
            # Its outcome may come later than its last output: with a full disk, or if it was made to end and left something.
            await wait(partial(finish, self._command))
            last = self._events.end(told_exit_code(self._command))
        except ServerCloses as error:
            # Others than a command's know a stream without an end for what it is.
            last = to_failure(str(error)) if isinstance(self._events, Lines) else b""
        await say(last, more=False)
