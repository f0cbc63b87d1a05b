"""Answers that are waited for: a 200 at once, white space while there is nothing to tell, then one JSON object.

Clients that hear nothing for too long send their request again, and so do those that get a 5xx: then a command would run
twice. So nothing that comes behind the first byte is an error; if the server has to end before, the answer breaks off.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

import trio
from starlette.types import Receive, Scope, Send

from .open_streams import Streams
from .operations import Disconnected, while_connected

T = TypeVar("T")

PIECE_BYTES: Final = 1 << 16
"""Pieces are put together up to here."""
SILENCE: Final = b" "


class KeptAlive:
    """One such answer. A client that leaves ends nothing."""

    def __init__(
        self,
        streams: Streams,
        wait: Callable[[], Awaitable[object]],
        pieces: Callable[[], Iterable[bytes]],
        silence_seconds: float,
    ) -> None:
        """`pieces` are those of the object, asked for when `wait` has returned."""
        self._streams = streams
        self._wait = wait
        self._pieces = pieces
        self._silence_seconds = silence_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(Disconnected):
            await while_connected(receive, partial(self._tell, send))

    async def _tell(self, send: Send) -> None:
        async def say(data: bytes, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": more})

        headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await wait_or_say(self._streams, self._wait, partial(say, SILENCE), self._silence_seconds)
        batch = bytearray()
        for piece in self._pieces():
            batch += piece
            if len(batch) >= PIECE_BYTES:
                await say(bytes(batch))
                batch.clear()
        await say(bytes(batch) + b"\n", more=False)


async def wait_or_say(
    streams: Streams, wait: Callable[[], Awaitable[T]], say: Callable[[], Awaitable[None]], silence_seconds: float
) -> T:
    """What `wait` returns, which is never None. Says something as often as `silence_seconds` are over."""
    while (found := await streams.wait_aloud(wait, say, trio.current_time() + silence_seconds)) is None:
        await say()
    return found
