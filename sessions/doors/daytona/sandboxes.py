"""The control API of the Daytona dialect: sandboxes, which are spaces, made, found, stopped, started and deleted."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any, Final

from starlette.responses import Response
from starlette.types import ASGIApp

from ...models import SpaceInfo
from ...spaces import Space
from ..requests import json_response
from .errors import Refusal, not_here
from .routing import DOOR, Body, Call, Row, Table
from .views import KEPT, SIZES, delete_after, stop_after, view_sandbox

PAGE: Final = 100
MOST: Final = 200
"""Sandboxes on one page of a list."""
INTEGERS: Final = ("autoPauseInterval", "autoArchiveInterval", "ttlMinutes", *SIZES)


def find(call: Call) -> Space:
    return call.spaces.get(DOOR, call.ids[0])


def show(call: Call, info: SpaceInfo) -> ASGIApp:
    return json_response(view_sandbox(info, call.base_url))


async def create(call: Call) -> ASGIApp:
    body = call.body
    for name in ("volumes", "secrets"):
        if body.has_items(name):
            raise not_here(name)
    facts: dict[str, Any] = {name: value for name in KEPT if (value := read_fact(body, name)) is not None}
    organization = call.headers.get("x-daytona-organization-id")
    if organization:
        facts["organizationId"] = organization
    space = await call.spaces.create(
        DOOR,
        str(uuid.uuid4()),
        name=body.text("name") or None,
        env=body.texts("env"),
        labels=body.texts("labels"),
        facts=facts,
        stop_after=stop_after(body.integer("autoStopInterval")),
        delete_after=delete_after(body.integer("autoDeleteInterval")),
    )
    return show(call, space.info)


def read_fact(body: Body, name: str) -> str | int | None:
    if name in INTEGERS:
        return body.integer(name)
    return body.flag(name) or None if name == "public" else body.text(name)


async def get(call: Call) -> ASGIApp:
    return show(call, find(call).info)


async def show_page(call: Call) -> ASGIApp:
    wanted = read_labels(call.first("labels"))
    found = [space.info for space in call.spaces.list(DOOR, wanted) if is_wanted(call, space.info)]
    limit = read_count(call, "limit", PAGE)
    begin = next((place for place, info in enumerate(found) if mark(info) > call.first("cursor")), len(found))
    page = found[begin : begin + min(limit, MOST)]
    more = begin + len(page) < len(found)
    items = [view_sandbox(info, call.base_url) for info in page]
    return json_response({"items": items, "nextCursor": mark(page[-1]) if more and page else None})


def mark(info: SpaceInfo) -> str:
    """Its place in the list, which is ordered by age."""
    return f"{info.created_at:020.6f}-{info.id}"


def read_count(call: Call, name: str, otherwise: int) -> int:
    text = call.first(name)
    if not text:
        return otherwise
    if not text.isdecimal() or len(text) > 9 or int(text) < 1:
        raise Refusal(400, "BAD_REQUEST", f"{name}: expected a whole number from 1, not {text!r}")
    return int(text)


def read_labels(text: str) -> dict[str, str]:
    try:
        labels = json.loads(text) if text else {}
    except ValueError:
        labels = None
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise Refusal(400, "BAD_REQUEST", "labels: expected a JSON object of texts")
    return labels


def is_wanted(call: Call, info: SpaceInfo) -> bool:
    """Whether it is what the query asks for. `name` is the beginning of one."""
    states = call.query.get("states")
    if states and info.state not in states:
        return False
    if not info.name.lower().startswith(call.first("name").lower()) or not info.id.startswith(call.first("id")):
        return False
    for name, parameter in (("cpu", "Cpu"), ("memory", "MemoryGiB"), ("disk", "DiskGiB")):
        size = info.facts.get(name, SIZES[name])
        if size < read_count(call, f"min{parameter}", 1) and call.first(f"min{parameter}"):
            return False
        if call.first(f"max{parameter}") and size > read_count(call, f"max{parameter}", 1):
            return False
    return True


async def delete(call: Call) -> ASGIApp:
    space = find(call)
    await space.delete()
    return show(call, space.info)


async def start(call: Call) -> ASGIApp:
    space = find(call)
    if space.state == "paused":
        await space.resume()
    elif space.state != "started":
        await space.start()
    return show(call, space.info)


async def stop(call: Call) -> ASGIApp:
    space = find(call)
    if space.state != "stopped":
        await space.stop()
    return show(call, space.info)


async def pause(call: Call) -> ASGIApp:
    space = find(call)
    if space.state != "paused":
        await space.pause()
    return show(call, space.info)


async def set_labels(call: Call) -> ASGIApp:
    space = find(call)
    space.change(labels=call.body.texts("labels"))
    return json_response({"labels": space.info.labels})


async def toolbox_url(call: Call) -> ASGIApp:
    find(call)
    return json_response({"url": f"{call.base_url}/toolbox"})


async def touch(call: Call) -> ASGIApp:
    """It was in use just now."""
    with find(call).use():
        return Response(status_code=201)


def setter(change: Callable[[Space, int], None]) -> Callable[[Call], Any]:
    """The answer of a path that ends with the number to set."""

    async def answer(call: Call) -> ASGIApp:
        space, text = find(call), call.ids[1]
        if not text.removeprefix("-").isdecimal() or len(text) > 9:
            raise Refusal(400, "BAD_REQUEST", f"expected a whole number, not {text!r}")
        change(space, int(text))
        return show(call, space.info)

    return answer


def keep(name: str) -> Callable[[Space, int], None]:
    return lambda space, value: space.change(facts={name: value})


async def set_public(call: Call) -> ASGIApp:
    space = find(call)
    space.change(facts={"public": call.ids[1].lower() == "true"})
    return show(call, space.info)


CONTROL: Final = Table(
    rows=[
        Row("POST", "sandbox", create),
        Row("GET", "sandbox", show_page),
        Row("GET", "sandbox/*", get),
        Row("DELETE", "sandbox/*", delete),
        Row("POST", "sandbox/*/start", start),
        Row("POST", "sandbox/*/stop", stop),
        Row("POST", "sandbox/*/pause", pause),
        Row("PUT", "sandbox/*/labels", set_labels),
        Row("GET", "sandbox/*/toolbox-proxy-url", toolbox_url),
        Row("POST", "sandbox/*/last-activity", touch),
        Row("POST", "sandbox/*/autostop/*", setter(lambda space, value: space.change(stop_after=stop_after(value)))),
        Row(
            "POST",
            "sandbox/*/autodelete/*",
            setter(lambda space, value: space.change(delete_after=delete_after(value))),
        ),
        Row("POST", "sandbox/*/autopause/*", setter(keep("autoPauseInterval"))),
        Row("POST", "sandbox/*/autoarchive/*", setter(keep("autoArchiveInterval"))),
        Row("POST", "sandbox/*/ttl/*", setter(keep("ttlMinutes"))),
        Row("POST", "sandbox/*/public/*", set_public),
    ],
    absent={
        "snapshots": "snapshots",
        "volumes": "volumes",
        "secret": "secrets",
        "docker-registry": "registries",
        "object-storage": "uploads to object storage",
        "sandbox/*/snapshot": "snapshots",
        "sandbox/*/backup": "backups",
        "sandbox/*/archive": "archives",
        "sandbox/*/fork": "forks",
        "sandbox/*/resize": "changes of size",
        "sandbox/*/ports": "previews of ports",
        "sandbox/*/ssh-access": "SSH accesses",
        "sandbox/*/network-settings": "network settings",
        "sandbox/*/telemetry": "telemetry",
        "sandbox/*/secrets": "secrets",
    },
)
