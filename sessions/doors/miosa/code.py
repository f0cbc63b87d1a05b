"""``run_code`` of the Miosa dialect: cells of code in interpreters that keep their names, one for each context."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from typing import Any, Final
from weakref import WeakKeyDictionary

import trio
from starlette.types import ASGIApp

from ...errors import Invalid
from ...spaces import Space
from ..kept_alive import KeptAlive
from ..outcomes import TIMED_OUT
from ..rendering import to_string
from ..requests import json_response, to_json
from .interpreters import OTHER_NAMES, PROGRAMS, Interpreter, Outcome
from .launch import read_seconds
from .routing import Call, Row
from .run import SILENCE_SECONDS

LOGGER: Final = logging.getLogger("sessions.server")
DEFAULT: Final = "default"

INTERPRETERS: Final[WeakKeyDictionary[Space, dict[tuple[str, str], Interpreter]]] = WeakKeyDictionary()
"""Those of each space, by language and context. One that has ended is there until somebody looks."""
OPENING: Final[WeakKeyDictionary[Space, trio.Lock]] = WeakKeyDictionary()


def interpreters_of(space: Space) -> dict[tuple[str, str], Interpreter]:
    found = INTERPRETERS.setdefault(space, {})
    for key, interpreter in list(found.items()):
        if not interpreter.lives:
            del found[key]
    return found


def read_language(text: str | None) -> str:
    name = (text or "python").lower()
    name = OTHER_NAMES.get(name, name)
    if name not in PROGRAMS:
        raise Invalid(f"language {text!r} is not known: {', '.join(PROGRAMS)} are")
    return name


class Cell:
    """One piece of code on its way. It goes on without its client."""

    def __init__(self, code: str, timeout: float | None) -> None:
        self.outcome = Outcome()
        self._done = trio.Event()
        self._code = code
        self._timeout = timeout

    async def run(self, interpreter: Interpreter) -> None:
        try:
            self.outcome = await interpreter.run(self._code, self._timeout)
        except Exception:
            LOGGER.exception("a cell failed")
            self.outcome.stderr = b"the server failed; its log says how\n"
        finally:
            self._done.set()

    async def wait(self) -> Cell:
        await self._done.wait()
        return self

    def tell(self, language: str, context: str) -> Iterator[bytes]:
        found = self.outcome
        code = TIMED_OUT if found.timed_out else found.exit_code
        facts: dict[str, Any] = {
            "ok": found.ok,
            "result": found.result,
            "language": language,
            "context": context,
            "timed_out": found.timed_out,
        }
        yield to_json(facts if code is None else {**facts, "exit_code": code}, ascii=True)[:-1].encode()
        for name, data in (("stdout", found.stdout), ("stderr", found.stderr)):
            yield b',"%s":' % name.encode()
            yield from to_string(data, False)
        yield b"}"


async def run(call: Call) -> ASGIApp:
    body, space = call.body, call.space
    code, language, context = body.needed_text("code"), read_language(body.text("language")), body.text("context")
    cell = Cell(code, read_seconds(body, "timeout", None))
    key = language, context or DEFAULT
    async with OPENING.setdefault(space, trio.Lock()):
        interpreter = interpreters_of(space).get(key)
        if interpreter is None:
            interpreter = interpreters_of(space)[key] = await Interpreter.open(space, language)
    call.spaces.engine.workshop.nursery.start_soon(cell.run, interpreter)
    return KeptAlive(call.streams, cell.wait, partial(cell.tell, *key), SILENCE_SECONDS)


async def show_contexts(call: Call) -> ASGIApp:
    language = read_language(call.first("language"))
    return json_response({"contexts": [context for found, context in interpreters_of(call.space) if found == language]})


async def reset(call: Call) -> ASGIApp:
    """One context, or all of a language, or all."""
    language = read_language(call.first("language")) if call.first("language") else None
    context = call.ids.get("context")
    for key, interpreter in list(interpreters_of(call.space).items()):
        if language in (None, key[0]) and context in (None, key[1]):
            interpreters_of(call.space).pop(key, None)
            await interpreter.close()
    return json_response({"success": True})


ROWS: Final = [
    Row("POST", "/sandboxes/{space}/code/run", run, runs=True),
    Row("GET", "/sandboxes/{space}/code/contexts", show_contexts),
    Row("DELETE", "/sandboxes/{space}/code/contexts/{context:path}", reset),
    Row("DELETE", "/sandboxes/{space}/code", reset),
]
