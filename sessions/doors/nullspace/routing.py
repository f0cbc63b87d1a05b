"""Requests of the Nullspace dialect, and whose machine they are for."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from functools import cached_property, partial
from typing import Final, TypeAlias

from starlette.types import Scope

from ...errors import Invalid, NotFound
from ...spaces import Space, Spaces
from .. import dialects
from ..dialects import Dialect
from ..open_streams import Streams
from .errors import Refusal, error_answer, not_here

DOOR: Final = "nullspace"
"""The name of this door, on the spaces that are made through it."""
AUTO_RESUME: Final = "auto_resume"
"""Of a machine's facts: it is resumed when something is to run in it."""

ABSENT: Final = {
    "files?|uploads": "files",
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


class Call(dialects.Call):
    """One request."""

    @cached_property
    def _uses(self) -> ExitStack:
        return ExitStack()

    @cached_property
    def machine(self) -> Space:
        return find_machine(self.spaces, self.ids["machine"])

    @property
    def pid(self) -> int:
        text = self.ids["pid"]
        if not text.isdecimal() or len(text) > 12:
            raise Invalid(f"pid: expected a whole number, not {text!r}")
        return int(text)

    async def awake(self) -> Space:
        """Its machine, which runs. One that pauses is resumed first, if that is its way; else it is refused. For rows that run."""
        machine = self.machine
        if machine.state != "started" and machine.info.facts.get(AUTO_RESUME):
            await wake(machine)
            self._uses.enter_context(machine.use())  # which could not begin before
        if machine.state != "started":
            raise Refusal(409, "machine_not_ready", f"machine {machine.id} is paused: resume it first")
        return machine

    @asynccontextmanager
    async def in_use(self) -> AsyncIterator[None]:
        with self._uses:
            if self.machine.state == "started":
                self._uses.enter_context(self.machine.use())
            yield

    def leave(self) -> None:
        """Its client has gone: whatever is left to do, its machine is not in use for that."""
        self._uses.close()


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


Row: TypeAlias = dialects.Row[Call]


def dialect(spaces: Spaces, streams: Streams) -> Dialect[Call]:
    return Dialect(partial(Call, spaces, streams), error_answer, partial(nothing_at, spaces), exact=True)


def nothing_at(spaces: Spaces, scope: Scope) -> Refusal:
    """What is said where no row of the table is."""
    below = scope["path"].removeprefix(scope.get("root_path", ""))
    match = re.fullmatch(r"/+v1/(?:machines/([^/]+)/)?([^/]+).*", below)
    for names, what in ABSENT.items():
        if match is not None and re.fullmatch(names, match[2]):
            if match[1] is not None:
                find_machine(spaces, match[1])
            return not_here(what)
    return Refusal(404, "not_found", f"there is nothing at {below!r}")
