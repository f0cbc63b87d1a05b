"""The control API of the Daytona dialect: sandboxes, which are spaces, made, found, stopped, started and deleted."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Final

from starlette.responses import Response
from starlette.types import ASGIApp

from ...models import SpaceInfo
from ...spaces import Space
from ..fields import Fields
from ..requests import json_response
from .errors import Refusal, not_here
from .listing import ROWS as LISTING
from .routing import DOOR, Call, Row, Table
from .views import KEPT, SIZES, delete_after, stop_after, view_sandbox

INTEGERS: Final = ("autoPauseInterval", "autoArchiveInterval", "ttlMinutes", *SIZES)


def find(call: Call) -> Space:
    return call.spaces.get(DOOR, call.ids["sandbox"])


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


def read_fact(body: Fields, name: str) -> str | int | None:
    if name in INTEGERS:
        return body.integer(name)
    return body.flag(name) or None if name == "public" else body.text(name)


async def get(call: Call) -> ASGIApp:
    return show(call, find(call).info)


async def delete(call: Call) -> ASGIApp:
    space = find(call)
    await space.delete()
    return show(call, space.info)


async def start(call: Call) -> ASGIApp:
    space = find(call)
    await (space.resume() if space.state == "paused" else space.start())
    return show(call, space.info)


async def stop(call: Call) -> ASGIApp:
    space = find(call)
    await space.stop()
    return show(call, space.info)


async def pause(call: Call) -> ASGIApp:
    space = find(call)
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
        space, text = find(call), call.ids["value"]
        if not text.removeprefix("-").isdecimal() or len(text) > 9:
            raise Refusal(400, "BAD_REQUEST", f"expected a whole number, not {text!r}")
        change(space, int(text))
        return show(call, space.info)

    return answer


def keep(name: str) -> Callable[[Space, int], None]:
    return lambda space, value: space.change(facts={name: value})


async def set_public(call: Call) -> ASGIApp:
    space = find(call)
    space.change(facts={"public": call.ids["value"].lower() == "true"})
    return show(call, space.info)


CONTROL: Final = Table(
    rows=[
        Row("POST", "sandbox", create),
        *LISTING,
        Row("GET", "sandbox/{sandbox}", get),
        Row("DELETE", "sandbox/{sandbox}", delete),
        Row("POST", "sandbox/{sandbox}/start", start),
        Row("POST", "sandbox/{sandbox}/stop", stop),
        Row("POST", "sandbox/{sandbox}/pause", pause),
        Row("PUT", "sandbox/{sandbox}/labels", set_labels),
        Row("GET", "sandbox/{sandbox}/toolbox-proxy-url", toolbox_url),
        Row("POST", "sandbox/{sandbox}/last-activity", touch),
        Row(
            "POST",
            "sandbox/{sandbox}/autostop/{value}",
            setter(lambda space, value: space.change(stop_after=stop_after(value))),
        ),
        Row(
            "POST",
            "sandbox/{sandbox}/autodelete/{value}",
            setter(lambda space, value: space.change(delete_after=delete_after(value))),
        ),
        Row("POST", "sandbox/{sandbox}/autopause/{value}", setter(keep("autoPauseInterval"))),
        Row("POST", "sandbox/{sandbox}/autoarchive/{value}", setter(keep("autoArchiveInterval"))),
        Row("POST", "sandbox/{sandbox}/ttl/{value}", setter(keep("ttlMinutes"))),
        Row("POST", "sandbox/{sandbox}/public/{value}", set_public),
    ],
    absent={
        "config": "metrics, and what else a server's own settings are asked for,",
        "snapshots": "snapshots",
        "volumes": "volumes",
        "secret": "secrets",
        "docker-registry": "registries",
        "object-storage": "uploads to object storage",
        "sandbox/ssh-access/validate": "SSH accesses",
        "sandbox/{sandbox}/snapshot": "snapshots",
        "sandbox/{sandbox}/backup": "backups",
        "sandbox/{sandbox}/archive": "archives",
        "sandbox/{sandbox}/fork": "forks",
        "sandbox/{sandbox}/resize": "changes of size",
        "sandbox/{sandbox}/ports": "previews of ports",
        "sandbox/{sandbox}/ssh-access": "SSH accesses",
        "sandbox/{sandbox}/network-settings": "network settings",
        "sandbox/{sandbox}/telemetry": "telemetry",
        "sandbox/{sandbox}/secrets": "secrets",
        "sandbox/{sandbox}/recover": "sandboxes that have failed, and their recovery,",
        "sandbox/{sandbox}/signing-key": "signed URLs of files",
        "sandbox/{sandbox}/{call}": "other calls of a sandbox",
    },
)
