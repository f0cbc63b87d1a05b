"""Requests of the Nullspace dialect: what they carry, whose machine they are for, and the rim around all answers."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Final, TypeAlias
from urllib.parse import parse_qsl

import attrs
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from ...errors import Invalid, NotFound
from ...spaces import Space, Spaces
from ..fields import Fields, read_fields
from ..open_streams import Streams
from ..operations import answer_or_refuse, is_devious
from .errors import Refusal, error_answer, not_here

DOOR: Final = "nullspace"
"""The name of this door, on the spaces that are made through it."""
AUTO_RESUME: Final = "auto_resume"
"""Of a machine's facts: it is resumed when something is to run in it."""

ABSENT: Final = {
    "files": "files",
    "git": "git operations",
    "code": "code interpreters",
    "desktop": "desktops",
    "recordings?": "recordings",
    "snapshots?": "snapshots",
    "fork": "forks",
    "volumes?": "volumes",
    "templates?": "templates",
    "functions?": "functions",
    "host|ports|preview-urls?|ssh-access|egress": "ways in and out of a machine's network",
    "metrics|telemetry": "metrics",
    "lifecycle": "lifecycle events",
    "account|admin|api-keys|auth": "accounts",
}
"""What this server does not have: the first part of a path, below a machine or not, and what it is called."""


@attrs.define(slots=False)
class Call:
    """One request."""

    spaces: Spaces
    streams: Streams
    scope: Scope
    data: bytes

    @property
    def path(self) -> Mapping[str, str]:
        """The parts of the path that vary, by name."""
        found: Mapping[str, str] = self.scope["path_params"]
        return found

    @cached_property
    def fields(self) -> Fields:
        return read_fields(self.data)

    @cached_property
    def headers(self) -> Mapping[str, str]:
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self.scope["headers"]}

    @cached_property
    def query(self) -> Mapping[str, str]:
        return dict(parse_qsl(self.scope["query_string"].decode("latin-1")))

    @cached_property
    def machine(self) -> Space:
        return find_machine(self.spaces, self.path["machine"])

    @property
    def pid(self) -> int:
        text = self.path["pid"]
        if not text.isdecimal() or len(text) > 12:
            raise Invalid(f"pid: expected a whole number, not {text!r}")
        return int(text)

    async def awake(self) -> Space:
        """Its machine, which runs. One that pauses is resumed first, if that is its way; else it is refused."""
        machine = self.machine
        if machine.state != "started" and machine.info.facts.get(AUTO_RESUME):
            await wake(machine)
        if machine.state != "started":
            raise Refusal(409, "machine_not_ready", f"machine {machine.id} is paused: resume it first")
        return machine

    def in_use(self) -> AbstractContextManager[None]:
        """While this lasts, its machine does not count as idle."""
        return self.machine.use() if self.machine.state == "started" else nullcontext()


Answer: TypeAlias = Callable[[Call], Awaitable[ASGIApp]]
SocketAnswer: TypeAlias = Callable[[Call, WebSocket], Awaitable[None]]


def find_machine(spaces: Spaces, machine_id: str) -> Space:
    try:
        machine = spaces.get(DOOR, machine_id)
    except NotFound:
        machine = None
    if machine is None or machine.id != machine_id:
        raise Refusal(404, "machine_not_found", f"there is no machine {machine_id!r}")
    return machine


async def wake(machine: Space) -> None:
    """Let a machine that pauses run again. Its time begins anew."""
    await machine.resume()
    machine.change(facts={"timeout_at": time.time() + machine.info.facts["timeout_ms"] / 1000})


class Endpoint:
    """All methods of one path, as an ASGI application for HTTP and WebSocket."""

    def __init__(
        self,
        spaces: Spaces,
        streams: Streams,
        answers: Mapping[str, Answer],
        socket: SocketAnswer | None = None,
        uses_machine: bool = False,
    ) -> None:
        self._spaces = spaces
        self._streams = streams
        self._answers = answers
        self._socket = socket
        self._uses_machine = uses_machine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        serve = self._serve_socket if scope["type"] == "websocket" else self._serve
        await answer_or_refuse(serve, error_answer, scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Before anything is refused: what stays unread would hold up the connection's reader.
        data = await Request(scope, receive).body()
        if not self._answers or is_devious(scope):
            raise nothing_at(scope)
        answer = self._answers.get(scope["method"])
        if answer is None:
            allowed = ", ".join(sorted(self._answers))
            raise Refusal(405, "method_not_allowed", f"{scope['method']} is not possible here: {allowed} is")
        call = Call(self._spaces, self._streams, scope, data)
        with call.in_use() if self._uses_machine else nullcontext():
            await (await answer(call))(scope, receive, send)

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        socket = WebSocket(scope, receive, send)
        await socket.receive()  # that it would like to connect
        if self._socket is None or is_devious(scope):
            raise nothing_at(scope)
        call = Call(self._spaces, self._streams, scope, b"")
        await call.awake()
        with call.in_use():
            await self._socket(call, socket)


def nothing_at(scope: Scope) -> Refusal:
    """What is said where no row of the table is."""
    below = scope["path"].removeprefix(scope.get("root_path", ""))
    match = re.fullmatch(r"/+v1/(?:machines/[^/]+/)?([^/]+).*", below)
    for names, what in ABSENT.items():
        if match is not None and re.fullmatch(names, match[1]):
            return not_here(what)
    return Refusal(404, "not_found", f"there is nothing at {below!r}")
