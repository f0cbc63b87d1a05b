"""The control plane of the Superserve dialect: sandboxes, which are spaces, made, found, paused, resumed and deleted."""

from __future__ import annotations

import time
import uuid
from functools import partial
from typing import Any, Final

from starlette.responses import Response
from starlette.types import ASGIApp

from ...errors import Invalid
from ...spaces import Space
from ..dialects import refusing
from ..fields import Fields
from ..requests import json_response
from .errors import not_here
from .routing import Call, Row, wake
from .tokens import DOOR, FACT, make_token
from .views import NAME, PAUSE_AFTER, STATES, view_sandbox, view_with_token

METADATA: Final = "metadata."
"""Before a key, in the query of a list."""
LONGEST_SECONDS: Final = 10**9


def find(call: Call) -> Space:
    return call.spaces.get(DOOR, call.ids["sandbox"])


async def create(call: Call) -> ASGIApp:
    body = call.body
    for field, what in (("secrets", "secrets"), ("from_snapshot", "snapshots")):
        if body.has(field):
            raise not_here(what)
    space_id = str(uuid.uuid4())
    facts: dict[str, Any] = {FACT: make_token(space_id), NAME: body.text("name") or space_id}
    pause_after = read_seconds(body, "timeout_seconds", 1)
    if pause_after is not None:
        facts[PAUSE_AFTER] = pause_after
    space = await call.spaces.create(
        DOOR,
        space_id,
        env=body.texts("env_vars"),
        labels=body.texts("metadata"),
        facts=facts,
        delete_after=read_seconds(body, "auto_delete_seconds"),
    )
    return json_response(view_with_token(space.info), 201)


def read_seconds(body: Fields, name: str, least: int = 0) -> int | None:
    return body.count(name, least, LONGEST_SECONDS)


async def show(call: Call) -> ASGIApp:
    return json_response(view_sandbox(find(call).info))


async def show_all(call: Call) -> ASGIApp:
    """Oldest first. An array, nothing around it."""
    wanted = {key.removeprefix(METADATA): call.first(key) for key in call.query if key.startswith(METADATA)}
    states = [state for state in call.first("status").split(",") if state]
    found = [space.info for space in call.spaces.list(DOOR, wanted)]
    found = [info for info in found if not states or STATES[info.state] in states]
    begin = read_count(call, "offset", 0)
    return json_response([view_sandbox(info) for info in found[begin : begin + read_count(call, "limit", len(found))]])


def read_count(call: Call, name: str, otherwise: int) -> int:
    text = call.first(name)
    if text and not (text.isdecimal() and len(text) < 10):
        raise Invalid(f"{name}: expected a whole number from 0, not {text!r}")
    return int(text) if text else otherwise


async def update(call: Call) -> ASGIApp:
    """What is left out stays; null takes a time away."""
    space, body = find(call), call.body
    changes: dict[str, Any] = {}
    if body.values.get("metadata") is not None:
        changes["labels"] = body.texts("metadata")
    if "timeout_seconds" in body.values:
        changes["facts"] = {PAUSE_AFTER: read_seconds(body, "timeout_seconds", 1)}
    if "auto_delete_seconds" in body.values:
        changes["delete_after"] = read_seconds(body, "auto_delete_seconds")
        changes["changed_at"] = time.time()  # of one that is paused already, it counts from now on
    space.change(**changes)
    return json_response(view_sandbox(space.info))


async def delete(call: Call) -> ASGIApp:
    await find(call).delete()
    return Response(status_code=204)


async def activate(call: Call) -> ASGIApp:
    space = find(call)
    await wake(space)
    return json_response(view_with_token(space.info))


async def pause(call: Call) -> ASGIApp:
    """It is paused when this is answered, whether or not somebody waits for that."""
    space = find(call)
    if space.state == "started":
        await space.pause()
    return json_response({"status": STATES[space.state]})


async def look(space: Space) -> None:
    """Pause a sandbox that nobody has used for as long as it wanted to wait."""
    if is_unused(space):
        await space.pause(only_if=partial(is_unused, space))


def is_unused(space: Space) -> bool:
    pause_after = space.info.facts.get(PAUSE_AFTER)
    return space.state == "started" and pause_after is not None and space.idle_seconds >= pause_after


ABSENT: Final = {
    "/sandboxes/{sandbox}/snapshot": "snapshots",
    "/sandboxes/{sandbox}/snapshots": "snapshots",
    "/sandboxes/{sandbox}/preview-ports": "previews of ports",
    "/sandboxes/{sandbox}/preview-ports/{rest:path}": "previews of ports",
    "/sandboxes/{sandbox}/network": "network logs",
    "/sandboxes/{sandbox}/secrets": "secrets",
    "/sandboxes/{sandbox}/secrets/{rest:path}": "secrets",
    "/snapshots": "snapshots",
    "/snapshots/{rest:path}": "snapshots",
    "/templates": "templates",
    "/templates/{rest:path}": "templates",
    "/secrets": "secrets",
    "/secrets/{rest:path}": "secrets",
    "/providers": "secrets",
}
"""What this server does not have, and what it is called."""
ROWS: Final = [
    Row("POST", "/sandboxes", create),
    Row("GET", "/sandboxes", show_all),
    Row("GET", "/sandboxes/{sandbox}", show),
    Row("PATCH", "/sandboxes/{sandbox}", update),
    Row("DELETE", "/sandboxes/{sandbox}", delete),
    Row("POST", "/sandboxes/{sandbox}/activate", activate),
    Row("POST", "/sandboxes/{sandbox}/resume", activate),
    Row("POST", "/sandboxes/{sandbox}/pause", pause),
    *refusing(ABSENT, not_here, find),
]
