"""Answers that may be long in coming, kept alive through proxies and for clients that take silence for a broken connection.

What is done before the first sign of life is due is answered as any other request is. Else it has to be a 200: white space while it
goes on, then the result as JSON, or the error that can no longer be told by a status.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import trio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ...errors import SessionsError
from ..open_streams import ServerCloses, Streams
from ..operations import Disconnected, while_connected
from ..requests import error_json, to_bytes, to_json

JSON_HEADERS: Final = [(b"content-type", b"application/json")]


class SlowAnswer:
    """Does something, and answers what has come of it."""

    def __init__(
        self,
        streams: Streams,
        work: Callable[[], Awaitable[object]],
        result: Callable[[], Any],
        *,
        until: float = float("inf"),
        empty: bool = False,
        insist: bool = False,
    ) -> None:
        """`work` is done once, and left at `until` (on trio's clock). With `empty`, what is done at once is answered with a 204. With
        `insist`, it is done even if the client goes; else it is cancelled then.
        """
        self._streams = streams
        self._work = work
        self._result = result
        self._until = until
        self._empty = empty
        self._insist = insist
        self._started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        finish = partial(self._finish, partial(self._say, send))
        try:
            await (finish() if self._insist else while_connected(receive, finish))
        except Disconnected:
            return
        except SessionsError as error:
            if not self._started:
                raise
            text = error_json(error)
        else:
            text = to_json(self._result())
        body = to_bytes(text + "\n")
        if self._started:
            await send({"type": "http.response.body", "body": body, "more_body": False})
        elif self._empty:
            await Response(status_code=204)(scope, receive, send)
        else:
            await Response(body, media_type="application/json")(scope, receive, send)

    async def _say(self, send: Send) -> None:
        if not self._started:
            self._started = True
            await send({"type": "http.response.start", "status": 200, "headers": JSON_HEADERS})
        await send({"type": "http.response.body", "body": b" ", "more_body": True})

    async def _finish(self, say: Callable[[], Awaitable[None]]) -> None:
        """Until it is done or `until`. It is waited for beside it, as signs of life may not interrupt it."""
        done = trio.Event()
        failure: list[Exception] = []

        async def work() -> None:
            try:
                await self._work()
            except Exception as error:
                failure.append(error)  # not through the nursery, which would wrap it
            done.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            try:
                await self._streams.wait_aloud(done.wait, say, self._until)
            except ServerCloses as error:
                if self._insist:
                    await done.wait()
                else:
                    failure.append(error)
            nursery.cancel_scope.cancel()
        if failure:
            raise failure[0]
