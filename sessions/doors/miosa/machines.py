"""Computers and sandboxes of the Miosa dialect: both are spaces, made, found, stopped, started and deleted."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any, Final
from weakref import WeakKeyDictionary

import trio
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp

from ...errors import NotFound
from ...models import SpaceInfo
from ...spaces import Space, Spaces
from ..fields import Fields
from ..requests import json_response, to_json
from . import services
from .errors import not_here
from .routing import DOOR, Call, Row
from .views import readiness, view_computer, view_sandbox

IDEMPOTENCY: Final = "idempotency-key"
"""A header, which is the same when a client asks again for what it has asked for already."""
CREATING: Final[WeakKeyDictionary[Spaces, trio.Lock]] = WeakKeyDictionary()
"""Held while a sandbox is made: who asks again may do so before the first is there."""
KEPT: Final = ("name", "template_type", "template_id", "size", "workspace_id", "visibility", "slug")
"""Texts that are kept as they were given."""
ABSENT: Final = ("environment", "environment_id", "env_id", "setup_file", "services", "database", "github_repo_url")
"""What would have to be done to a machine while it is made, and is not done here."""

LIMITS: Final = ("timeout_sec", "idle_timeout_sec")
PERSISTENT: Final = "miosa_persistent"
"""Of the metadata of a sandbox that is changed."""


def view(info: SpaceInfo) -> dict[str, Any]:
    return view_computer(info) if info.facts["kind"] == "computer" else view_sandbox(info)


def show(space: Space, status: int = 200) -> ASGIApp:
    return json_response(view(space.info), status)


def is_of(space: Space, kind: str) -> bool:
    return bool(space.info.facts["kind"] == kind)


def check_absent(body: Fields) -> None:
    for name in ABSENT:
        if body.has(name):
            raise not_here(name)


def read_facts(body: Fields) -> dict[str, Any]:
    facts: dict[str, Any] = {name: value for name in KEPT if (value := body.text(name)) is not None}
    if body.has("metadata"):
        facts["metadata"] = body.object("metadata")
    if body.has("tags"):
        facts["tags"] = body.text_list("tags")
    return facts


async def create_computer(call: Call) -> ASGIApp:
    return show(await create(call, "computer", f"cmp_{uuid.uuid4().hex}", call.body.needed_text("name")), 201)


async def create_sandbox(call: Call) -> ASGIApp:
    key = call.headers.get(IDEMPOTENCY)
    async with CREATING.setdefault(call.spaces, trio.Lock()):
        for space in call.spaces.list(DOOR) if key else ():
            if space.info.facts.get(IDEMPOTENCY) == key:
                return show(space, 201)
        space_id = f"sbx_{uuid.uuid4().hex}"
        return show(await create(call, "sandbox", space_id, call.body.text("name") or space_id), 201)


async def create(call: Call, kind: str, space_id: str, name: str) -> Space:
    """Names need not be unique: they are facts of ours, and no names of spaces."""
    body = call.body
    check_absent(body)
    facts = {**read_facts(body), "kind": kind, "name": name}
    if body.flag("persistent"):
        facts["persistent"] = True
    if IDEMPOTENCY in call.headers:
        facts[IDEMPOTENCY] = call.headers[IDEMPOTENCY]
    return await call.spaces.create(DOOR, space_id, env=body.texts("env"), facts=facts)


async def get(call: Call) -> ASGIApp:
    return show(call.space)


async def get_by_name(call: Call) -> ASGIApp:
    for space in reversed(call.spaces.list(DOOR)):
        if is_of(space, "sandbox") and space.info.facts["name"] == call.ids["name"]:
            return show(space)
    raise NotFound(f"there is no sandbox of the name {call.ids['name']!r}")


async def list_computers(call: Call) -> ASGIApp:
    workspace = call.first("workspace_id")
    found = [
        view(space.info)
        for space in call.spaces.list(DOOR)
        if is_of(space, "computer") and workspace in ("", space.info.facts.get("workspace_id"))
    ]
    return json_response({"total": len(found), "computers": found})


async def list_sandboxes(call: Call) -> ASGIApp:
    state, tags = call.first("state"), {tag for tag in call.first("tags").split(",") if tag}
    found = [view(space.info) for space in call.spaces.list(DOOR) if is_of(space, "sandbox")]
    wanted = [item for item in found if state in ("", item["state"]) and tags <= set(item["tags"])]
    return json_response({"data": wanted})


async def change(call: Call) -> ASGIApp:
    space = call.space
    space.change(facts=read_facts(call.body))
    return show(space)


async def change_sandbox(call: Call) -> ASGIApp:
    """What is new in its metadata is added: clients put there whether it is persistent, whatever else there is."""
    for name in LIMITS:
        if call.body.has(name):
            raise not_here(f"{name} for a sandbox that is there already")
    space, facts = call.space, read_facts(call.body)
    if "metadata" in facts:
        facts["metadata"] = {**space.info.facts.get("metadata", {}), **facts["metadata"]}
        if isinstance(facts["metadata"].get(PERSISTENT), bool):
            facts["persistent"] = facts["metadata"][PERSISTENT]
    space.change(facts=facts)
    return show(space)


async def set_tags(call: Call) -> ASGIApp:
    space = call.space
    space.change(facts={"tags": call.body.text_list("tags")})
    return show(space)


async def delete(call: Call) -> ASGIApp:
    """One client reads the answer, and wants an object."""
    space = call.space
    await space.delete()
    return json_response({"success": True, "status": "destroyed"})


async def start(call: Call) -> ASGIApp:
    space = call.space
    check_environment(call)
    await bring_up(space)
    return told(space)


def check_environment(call: Call) -> None:
    check_absent(call.body)
    if call.body.has("env"):
        raise not_here("another environment for a machine that is there already")


async def bring_up(space: Space) -> None:
    if space.state == "paused":
        await space.resume()
    elif space.state != "started":
        await space.start()
        await services.start_wanted(space)


async def stop(call: Call) -> ASGIApp:
    space = call.space
    if space.state != "stopped":
        await space.stop()
    return told(space)


async def restart(call: Call) -> ASGIApp:
    space = call.space
    if space.state != "stopped":
        await space.stop()
    await bring_up(space)
    return told(space)


async def pause(call: Call) -> ASGIApp:
    space = call.space
    if space.state != "paused":
        await space.pause()
    return told(space)


def told(space: Space) -> ASGIApp:
    """Computers want to hear of success, sandboxes of what they are now."""
    if is_of(space, "sandbox"):
        return show(space)
    status = view(space.info)["status"]
    return json_response({"success": True, "status": status, "message": f"the computer is {status}"})


async def show_readiness(call: Call) -> ASGIApp:
    return json_response(readiness(call.space.info))


async def stream_readiness(call: Call) -> ASGIApp:
    """It is known at once: nothing becomes ready here by waiting."""
    found = readiness(call.space.info)

    async def events() -> AsyncIterator[str]:
        yield f"event: {'ready' if found['ready'] else 'timeout'}\ndata: {to_json(found, ascii=True)}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


ROWS: Final = [
    Row("POST", "/computers", create_computer),
    Row("GET", "/computers", list_computers),
    Row("GET", "/computers/{space}", get),
    Row("PATCH", "/computers/{space}", change),
    Row("DELETE", "/computers/{space}", delete),
    Row("POST", "/computers/{space}/start", start),
    Row("POST", "/computers/{space}/stop", stop),
    Row("POST", "/computers/{space}/restart", restart),
    Row("POST", "/computers/{space}/pause", pause),
    Row("POST", "/computers/{space}/resume", start),
    Row("POST", "/sandboxes", create_sandbox),
    Row("GET", "/sandboxes", list_sandboxes),
    Row("GET", "/sandboxes/by-name/{name:path}", get_by_name),
    Row("GET", "/sandboxes/{space}", get),
    Row("PATCH", "/sandboxes/{space}", change_sandbox),
    Row("DELETE", "/sandboxes/{space}", delete),
    Row("POST", "/sandboxes/{space}/start", start),
    Row("POST", "/sandboxes/{space}/stop", stop),
    Row("POST", "/sandboxes/{space}/pause", pause),
    Row("POST", "/sandboxes/{space}/resume", start),
    Row("PATCH", "/sandboxes/{space}/tags", set_tags),
    Row("GET", "/sandboxes/{space}/readiness", show_readiness),
    Row("GET", "/sandboxes/{space}/readiness/stream", stream_readiness),
]
