"""Programs of the Miosa dialect that are streamed over HTTP: in a sandbox by one request, on a computer by two.

The first of the two starts the program and hands out a ticket; the second reads what it writes, with the ticket as its only
credential: a browser's EventSource can send no other. A ticket is good for one computer, for one minute and for one use. The
program does not wait for the second request, and nothing that it wrote before is lost.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Final

import attrs
from starlette.types import ASGIApp, Scope

from ...command import Command
from ..requests import json_response
from .errors import Refusal
from .events import SANDBOX, EventAnswer, TicketWords, check_room
from .launch import launch
from .routing import Call, Row, below
from .run import DEFAULT_SECONDS, MOST_SECONDS, read_order

TICKET_SECONDS: Final = 60
BEARER: Final = "bearer."
"""The beginning of a WebSocket subprotocol that carries the token of those who can't send headers."""


@attrs.frozen
class Ticket:
    """The right to read one program's output."""

    computer: str
    command: Command
    timeout: float
    expires_at: float
    """Unix seconds."""


class Tickets:
    """Those that have been handed out and not used. They are found by their digest: how long that takes tells nothing of them."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._open: dict[bytes, Ticket] = {}

    def issue(self, computer: str, command: Command, timeout: float) -> tuple[str, Ticket]:
        now = self._clock()
        self._open = {key: ticket for key, ticket in self._open.items() if ticket.expires_at > now}
        text = f"exec_{secrets.token_urlsafe(32)}"
        ticket = self._open[digest(text)] = Ticket(computer, command, timeout, now + TICKET_SECONDS)
        return text, ticket

    def is_good(self, text: str, computer: str) -> bool:
        ticket = self._open.get(digest(text))
        return ticket is not None and ticket.computer == computer and ticket.expires_at > self._clock()

    def take(self, text: str, computer: str) -> Ticket | None:
        """None if it is not good, or has been taken already."""
        return self._open.pop(digest(text)) if self.is_good(text, computer) else None


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


TICKETS: Final = Tickets()
"""Of all servers of this process: tickets are random, so none is another's."""


async def start(call: Call) -> ASGIApp:
    order = read_order(call, DEFAULT_SECONDS, MOST_SECONDS)
    _, command = await launch(call.space, order)
    text, ticket = TICKETS.issue(call.space.id, command, order.timeout or DEFAULT_SECONDS)
    facts = {
        "ticket": text,
        "expires_at": int(ticket.expires_at),
        "stream_url": f"{call.path}/events?ticket={text}",
    }
    return json_response(facts, 202)


def bad_ticket() -> Refusal:
    return Refusal(401, "INVALID_TICKET", "this ticket is not good, has been used or has expired: start again")


async def read(call: Call) -> ASGIApp:
    check_room(call.streams)  # before the ticket is used up
    ticket = TICKETS.take(call.first("ticket"), call.ids["space"])
    if ticket is None:
        raise bad_ticket()
    return EventAnswer(call.streams, ticket.command, TicketWords(ticket.timeout))


def admit(scope: Scope, is_token: Callable[[str], bool]) -> bool:
    """Whether a request may come in that has the server's token in no header: with a ticket, or with the token elsewhere."""
    if scope["type"] == "websocket":
        offered: Sequence[str] = scope.get("subprotocols") or ()
        return any(is_token(text.removeprefix(BEARER)) for text in offered if text.startswith(BEARER))
    computer = computer_of(scope)
    return computer is not None and TICKETS.is_good(ticket_of(scope), computer)


def computer_of(scope: Scope) -> str | None:
    """Whose program's output a request would like to read with a ticket. None if it is for something else."""
    match below(scope):
        case ["computers", computer, "exec", "stream", "events"] if scope.get("method") == "GET":
            return str(computer)
    return None


def ticket_of(scope: Scope) -> str:
    return Call(None, None, scope, b"").first("ticket")  # type: ignore[arg-type]


async def stream_in_sandbox(call: Call) -> ASGIApp:
    order = read_order(call)
    check_room(call.streams)
    _, command = await launch(call.space, order)
    return EventAnswer(call.streams, command, SANDBOX, kill=True)


ROWS: Final = [
    Row("POST", "/computers/{space}/exec/stream", start, runs=True),
    Row("GET", "/computers/{space}/exec/stream/events", read),
    Row("POST", "/sandboxes/{space}/exec/stream", stream_in_sandbox, runs=True),
]
