"""Stands before all doors: lets requests in or refuses them, bounds their bodies, and knows how many are under way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, TypeAlias, TypeVar

import trio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..doors.operations import Unexpected
from ..doors.requests import error_response
from ..errors import SessionsError
from .admission import Rules, Voucher, refusal
from .limits import ServerLimits
from .refusals import BodyTooLarge, Closing, TooSlow, Unauthorized

LOGGER: Final = logging.getLogger("sessions.server")
DRAIN_SECONDS: Final = 2.0
"""How long the rest of a refused body is read. A connection closed over unread bytes is reset, and the answer with it."""

NO_SNIFFING: Final = (b"x-content-type-options", b"nosniff")
NO_BUFFERING: Final = (b"x-accel-buffering", b"no")
"""To nginx: pass on each piece at once. Of an answer without a length the pieces are told as they come, if only to show that we live:
kept back, the first one has not come when the client gives up.
"""
NO_BODY: Final = 204

T = TypeVar("T")
Refuser: TypeAlias = Callable[[Scope, SessionsError], ASGIApp]
Admitter: TypeAlias = Callable[[Scope, Callable[[str], bool]], bool]
"""A door's `Voucher`, for a request."""


class Guard:
    """An ASGI application around another. It is told of each connection apart, by its rules."""

    def __init__(
        self,
        app: ASGIApp,
        limits: ServerLimits,
        refusals: Mapping[str, Refuser] | None = None,
        admitters: Mapping[str, Admitter] | None = None,
    ) -> None:
        """`refusals` says how a refusal is put into words below a path, where not in ours; `admitters` who may come in there
        though the token is in none of the headers.
        """
        self._app = app
        self._limits = limits
        self._refusals = dict(refusals or {})
        self._admitters = dict(admitters or {})
        self._closing = False
        self._under_way = 0
        self._bell = trio.Event()

    def close(self) -> None:
        """Let nobody in any more: 503."""
        self._closing = True

    async def drained(self) -> None:
        """Wait until all that were let in have been answered."""
        while self._under_way:
            await self._bell.wait()

    async def answer(
        self, rules: Rules, admitted: Callable[[], None], scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer one request, or serve one WebSocket. `admitted` is called if it is let in."""
        target = scope["raw_path"] + scope["query_string"]
        error = refusal(scope["http_version"], target, scope["headers"], rules, self._find_voucher(scope))
        if error is None:
            admitted()
            if self._closing:
                error = Closing("this server is about to end: ask the next one")
        exchange = Exchange(scope, receive, send, self._limits)
        if error is not None:
            await self._refuse(scope, error)(scope, exchange.receive, exchange.send)
            return
        self._under_way += 1
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except Exception as failure:
            # An answer that has begun is left without its end, so that nobody takes it for a whole one.
            if not isinstance(failure, SessionsError):
                LOGGER.exception("%s failed", scope["path"])
                failure = Unexpected("the server failed; its log says how")
            if not exchange.started:
                await self._refuse(scope, failure)(scope, exchange.receive, exchange.send)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._bell.set()
                self._bell = trio.Event()

    def _refuse(self, scope: Scope, error: SessionsError) -> ASGIApp:
        refuser, below = find_below(self._refusals, scope)
        return refuser(below, error) if refuser is not None else refuse(error)

    def _find_voucher(self, scope: Scope) -> Voucher | None:
        admitter, below = find_below(self._admitters, scope)
        return partial(admitter, below) if admitter is not None else None


def find_below(doors: Mapping[str, T], scope: Scope) -> tuple[T | None, Scope]:
    """What is there for the door that a request is for, and the request as that door would see it."""
    for path, found in doors.items():
        if f"{scope['path']}/".startswith(f"{path}/"):
            return found, {**scope, "root_path": path}
    return None, scope


def refuse(error: SessionsError) -> ASGIApp:
    answer = error_response(error)
    if isinstance(error, Unauthorized):
        answer.headers["www-authenticate"] = "Bearer"
    return answer


class Exchange:
    """One request and its answer, on their way through the guard."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: ServerLimits) -> None:
        self.started = False
        """Whether an answer has begun."""
        self._receive = receive
        self._send = send
        self._limits = limits
        self._deadline = trio.current_time() + limits.body_seconds
        self._size = 0
        names = {name.lower() for name, value in scope["headers"] if value != b"0"}
        self._body_comes = scope["type"] == "http" and bool(names & {b"content-length", b"transfer-encoding"})

    async def receive(self) -> Message:
        if not self._body_comes:
            return await self._receive()
        with trio.move_on_at(self._deadline):
            message = await self._receive()
            self._note(message)
            if self._size > self._limits.body_bytes:
                raise BodyTooLarge(f"the body has more than the {self._limits.body_bytes} bytes that are accepted")
            return message
        raise TooSlow(f"the body did not come within {self._limits.body_seconds:g} s")

    def _note(self, message: Message) -> None:
        self._size += len(message.get("body", b""))
        if not message.get("more_body"):
            self._body_comes = False

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind.endswith("response.start"):
            self.started = True
            added = [NO_SNIFFING]
            if message["status"] != NO_BODY and all(name != b"content-length" for name, _ in message["headers"]):
                added.append(NO_BUFFERING)
            if self._body_comes:
                added.append((b"connection", b"close"))
            message = {**message, "headers": [*message["headers"], *added]}
        elif kind == "websocket.accept":
            self.started = True
        elif kind == "http.response.body" and not message.get("more_body"):
            if self._body_comes:
                await self._send({**message, "more_body": True})
                await self._drain()
                message = {**message, "body": b""}
            # It also tells `receive` that all is over, and who hears that may cancel us; but it is here that Hypercorn closes
            # the connection, or begins to count how long it is idle.
            with trio.CancelScope(shield=True):
                await self._send(message)
            return
        await self._send(message)

    async def _drain(self) -> None:
        with trio.move_on_after(DRAIN_SECONDS):
            while self._body_comes:
                self._note(await self._receive())
