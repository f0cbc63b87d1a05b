"""Sandboxes of the Declaw dialect, which are spaces: made, found, paused, resumed and killed."""

from __future__ import annotations

import ast
import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

import trio
from starlette.responses import Response
from starlette.types import ASGIApp

from ...arguments import check_encodable, check_labels
from ...errors import Invalid, SessionsError
from ...models import SpaceInfo
from ...spaces import Space, Spaces
from ..fields import Fields
from ..pages import cut_page
from ..rendering import rfc3339
from ..requests import json_response
from .errors import Refusal, making, not_here
from .lifetimes import ENDS_AT, ON_TIMEOUT, lifetime, renew
from .routing import AUTO_RESUME, DOOR, PREFIX, Call, Row, find_space

STATES: Final = {"started": "running", "paused": "paused", "stopped": "paused", "destroyed": "killed"}
"""As clients know them; any other state is an error there."""
SAME: Final = {"live": "running"}
TEMPLATE: Final = "template"
KEY: Final = "idempotency_key"
KEY_HEADER: Final = b"idempotency-key"
MAKING: Final[WeakKeyDictionary[Spaces, set[str]]] = WeakKeyDictionary()
"""The keys of requests whose sandboxes are just being made."""
MOST: Final = 1000
"""Sandboxes on one page of a list."""


def view(info: SpaceInfo) -> dict[str, Any]:
    shown = {
        "sandbox_id": info.id,
        "template_id": info.facts.get(TEMPLATE, "base"),
        "name": info.name,
        "state": STATES[info.state],
        "metadata": dict(info.labels),
        "started_at": rfc3339(info.created_at),
    }
    ends_at = info.facts.get(ENDS_AT)
    return shown if ends_at is None else {**shown, "end_at": rfc3339(ends_at)}


async def create(call: Call) -> ASGIApp:
    body = call.body
    for name in ("volumes", "vault_refs"):
        if body.has(name):
            raise not_here(name)
    key = dict(call.scope["headers"]).get(KEY_HEADER, b"").decode("latin-1")
    with just_once(call.spaces, key) as known:
        space = known or await make(call, key)
    return json_response(view(space.info), 201)


@contextmanager
def just_once(spaces: Spaces, key: str) -> Iterator[Space | None]:
    """What the same request has made before, when its answer got lost. Refused while that is just being made."""
    keys = MAKING.setdefault(spaces, set())
    if key in keys:
        raise making()
    wanted = {key} - {""}
    keys |= wanted
    try:
        yield next((space for space in spaces.list(DOOR) if space.info.facts.get(KEY) in wanted), None)
    finally:
        keys -= wanted


async def make(call: Call, key: str) -> Space:
    body = call.body
    lifecycle = Fields(body.object("lifecycle"))
    facts: dict[str, Any] = {TEMPLATE: body.text("template") or "base", **lifetime(read_seconds(body))}
    if key:
        facts[KEY] = key
    if lifecycle.text("on_timeout") == "pause":
        facts[ON_TIMEOUT] = "pause"
    if lifecycle.flag("auto_resume"):
        facts[AUTO_RESUME] = True
    space_id = f"{PREFIX}{secrets.token_hex(4)}"
    return await call.spaces.create(DOOR, space_id, env=body.texts("envs"), labels=body.texts("metadata"), facts=facts)


def read_seconds(fields: Fields, name: str = "timeout") -> float | None:
    value = fields.values.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e9:
        raise Invalid(f"{name}: expected a number of seconds")
    return float(value)


async def get(call: Call) -> ASGIApp:
    space, text = call.space, call.first("timeout")
    if text:
        if not text.isdecimal() or len(text) > 9:
            raise Invalid(f"?timeout: expected a whole number of seconds, not {text!r}")
        space.change(facts=lifetime(float(text)))
    return json_response(view(space.info))


async def show_page(call: Call) -> ASGIApp:
    states = {SAME.get(state, state) for text in call.query.get("state", []) for state in text.split(",") if state}
    found = [space.info for space in call.spaces.list(DOOR, read_metadata(call.first("metadata")))]
    if states:
        found = [info for info in found if STATES[info.state] in states]
    page, token = cut_page(found, call.first("next_token"), read_limit(call.first("limit")))
    return json_response({"sandboxes": [view(info) for info in page], "next_token": token or ""})


def read_limit(text: str) -> int:
    if not text:
        return MOST
    if not text.isdecimal() or len(text) > 9 or int(text) < 1:
        raise Invalid(f"?limit: expected a whole number from 1, not {text!r}")
    return min(int(text), MOST)


def read_metadata(text: str) -> Mapping[str, str]:
    """An object of texts in JSON, or as Python writes it, which the client in Python sends."""
    found: Any = {}
    for parse in (json.loads, ast.literal_eval):
        try:
            found = parse(text) if text else {}
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            found = None
        if found is not None:
            break
    if not isinstance(found, dict) or not all(isinstance(word, str) for pair in found.items() for word in pair):
        raise Invalid("?metadata: expected an object of texts")
    return check_labels(found)


async def show_status(call: Call) -> ASGIApp:
    try:
        running = call.space.state == "started"
    except Refusal:
        running = False  # killed
    return json_response({"is_running": running})


async def set_timeout(call: Call) -> ASGIApp:
    seconds = read_seconds(call.body)
    if seconds is None:
        raise Invalid("timeout is missing")
    call.space.change(facts=lifetime(seconds))
    return json_response(view(call.space.info))


async def pause(call: Call) -> ASGIApp:
    space = call.space
    if space.state == "started":
        await space.pause()
    return Response(status_code=204)


async def resume(call: Call) -> ASGIApp:
    space = call.space
    if space.state == "paused":
        await space.resume()
    elif space.state == "stopped":
        await space.start()
    renew(space)
    return Response(status_code=204)


# Killing. It has happened when the answer comes, also for those who would not wait for it.


async def kill_one(call: Call, sandbox_id: str) -> bool:
    """False if it was killed before. `NotFound` if it never was."""
    try:
        space = find_space(call.spaces, sandbox_id)
    except Refusal:
        return False
    with trio.CancelScope(shield=True):  # half killed is no state to be left in
        await space.delete()
    return True


def is_patient(call: Call) -> bool:
    return call.first("async").lower() != "true"


async def kill(call: Call) -> ASGIApp:
    done = await kill_one(call, call.ids["sandbox"])
    return json_response({"killed": done}) if is_patient(call) else json_response({"queued": done}, 202)


async def kill_many(call: Call) -> ASGIApp:
    ids = [check_encodable("sandbox_ids: an id", id) for id in call.body.text_list("sandbox_ids")]
    results: dict[str, dict[str, Any]] = {}

    async def kill_and_note(sandbox_id: str) -> None:
        try:
            results[sandbox_id] = {"killed" if is_patient(call) else "queued": await kill_one(call, sandbox_id)}
        except SessionsError as error:
            results[sandbox_id] = {"error": str(error)}

    async with trio.open_nursery() as nursery:
        for sandbox_id in dict.fromkeys(ids):
            nursery.start_soon(kill_and_note, sandbox_id)
    return json_response({"results": results}, 200 if is_patient(call) else 202)


ROWS: Final = [
    Row("POST", "", create),
    Row("GET", "", show_page),
    Row("POST", "/kill-many", kill_many),
    Row("GET", "/{sandbox}", get),
    Row("DELETE", "/{sandbox}", kill),
    Row("GET", "/{sandbox}/status", show_status),
    Row("PATCH", "/{sandbox}/timeout", set_timeout),
    Row("POST", "/{sandbox}/pause", pause),
    Row("POST", "/{sandbox}/resume", resume),
]
