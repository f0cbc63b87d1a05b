"""The native door's feed: what happens in the root, as server-sent events. It goes on until the server ends."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

import trio

from ...models import Event
from ...streams import EventStream
from ..open_streams import Streams
from ..operations import Call, Operation
from ..requests import count, to_json
from ..streaming import Source, events
from ..telling import Message
from .follow import EVENTS, read_position

PIECE_EVENTS: Final = 512


class Feed:
    """The events of a root as messages."""

    def __init__(self, streams: Streams, stream: EventStream, placed: bool) -> None:
        self._streams = streams
        self._stream = stream
        self._placed = placed
        """Whether the reader knows where it begins."""

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stream.__aexit__(kind, error, traceback)

    async def read(self) -> Sequence[Message]:
        if not self._placed:
            # First of all: whose connection dies before the first event knows where to go on.
            self._placed = True
            return [Message("", str(self._stream.position), "")]
        with self._streams.feed():
            found = [await anext(self._stream)]
        with trio.move_on_at(float("-inf")):  # what is there already comes without a wait
            while len(found) < PIECE_EVENTS:
                found.append(await anext(self._stream))
        return [to_message(event) for event in found]


def to_message(event: Event) -> Message:
    return Message(event.type, str(event.seq), to_json(event, ascii=True))


async def open_feed(call: Call) -> Source:
    after = read_position(call)
    return Feed(call.streams, call.engine.watch(after), after is not None)


OPERATIONS: Final = [
    Operation(
        method="GET",
        path="/events",
        summary="What happens in this root from now on, or after an event.",
        answer=events(open_feed),
        query={"after": count("The seq behind which to begin, as the header Last-Event-ID, which goes before it.")},
        media=EVENTS,
        streams=True,
    )
]
