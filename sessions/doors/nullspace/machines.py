"""Machines of the Nullspace dialect, which are spaces: made, found, paused, resumed and destroyed, on demand and in time.

A machine has a time to live from its creation on, which its client can prolong; then it is destroyed, or paused if that was asked
for. The same is done when it was idle for too long, if it was made so.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from starlette.responses import Response
from starlette.types import ASGIApp

from ...errors import Conflict, Invalid, NotFound
from ...models import SpaceInfo
from ...spaces import Space
from ..fields import Fields, read_fields
from ..pages import cut_page
from ..rendering import rfc3339
from ..requests import json_response
from .errors import Refusal, not_here
from .routing import AUTO_RESUME, DOOR, Call, Row, wake

TIMEOUT_MS: Final = 300_000
"""The time to live of a machine whose client says nothing of it."""
ACTIONS: Final = ("destroy", "hibernate")
ON_TIMEOUT: Final = {"destroy": "destroy", "pause": "hibernate", "hibernate": "hibernate"}
"""The other way of saying it. A word that is not known must not destroy a machine."""
PAGE: Final = 100
MOST: Final = 1000
"""Machines on one page of a list."""
LONGEST_MS: Final = 10 * 366 * 86_400_000
PROOF: Final = "X-Nullspace-Dispatch-Proof"
"""What comes with this header in the answer to a create comes back with each command of the client that got it. It tells these
clients, who wait for two minutes, from those that do for half a minute."""
KEPT: Final = "kept"
"""Of a machine's facts: what its client said of it, shown as it was given."""


async def create(call: Call) -> ASGIApp:
    """A second one with the same key is the first one again."""
    fields, key = call.body, call.headers.get("idempotency-key")
    for name in ("volumes", "snapshot_id"):
        if fields.has(name):
            raise not_here("volumes" if name == "volumes" else "snapshots")
    facts = read_facts(fields)
    machine_id = f"mch_{uuid.uuid4().hex[:16]}"
    delete_after_ms = 0 if fields.flag("ephemeral") else fields.count("auto_delete_after_ms", most=LONGEST_MS)
    try:
        machine = await call.spaces.create(
            DOOR,
            machine_id,
            name=f"key:{key}" if key else None,
            env=fields.texts("envs"),
            facts=facts,
            delete_after=delete_after_ms / 1000 if delete_after_ms is not None else None,
        )
    except Conflict:
        try:
            machine = call.spaces.get(DOOR, f"key:{key}")
        except NotFound:
            raise Refusal(409, "transition_in_progress", "it is being made at this moment: ask again") from None
    return json_response(view(machine.info), 201, {PROOF: machine.id})


def read_facts(fields: Fields) -> dict[str, Any]:
    """What a machine's door has to remember of it."""
    on_timeout = Fields(fields.object("lifecycle")).text("on_timeout") or "destroy"
    if on_timeout not in ON_TIMEOUT:
        raise Invalid(f"lifecycle.on_timeout: expected {' or '.join(ON_TIMEOUT)}, not {on_timeout!r}")
    action = "destroy" if fields.flag("ephemeral") else fields.text("timeout_action")
    cwd = fields.text("cwd")
    if cwd and not cwd.startswith("/"):
        raise Invalid(f"cwd: expected an absolute path, not {cwd!r}")
    timeout_ms = fields.count("timeout_ms", 1, LONGEST_MS) or TIMEOUT_MS
    return {
        "template": fields.text("template") or "base",
        "vcpus": fields.count("vcpus", 1) or 1,
        "memory_mb": fields.count("memory_mb", 1) or 256,
        "metadata": fields.object("metadata"),
        "cwd": cwd,
        "inactivity_timeout_ms": fields.count("inactivity_timeout_ms", 1, LONGEST_MS),
        AUTO_RESUME: fields.flag(AUTO_RESUME),
        KEPT: {name: fields.values[name] for name in ("auto_delete_after_ms", "ephemeral") if fields.has(name)},
        **lease(timeout_ms, read_action(action or ON_TIMEOUT[on_timeout])),
    }


def read_action(text: str) -> str:
    if text not in ACTIONS:
        raise Invalid(f"timeout_action: expected {' or '.join(ACTIONS)}, not {text!r}")
    return text


def lease(timeout_ms: int, action: str) -> dict[str, Any]:
    """How long a machine lives from now on, and what is done with it then, as facts."""
    return {"timeout_ms": timeout_ms, "timeout_action": action, "timeout_at": time.time() + timeout_ms / 1000}


def status(info: SpaceInfo) -> str:
    return "running" if info.state == "started" else "paused"


def view(info: SpaceInfo) -> dict[str, Any]:
    """As clients read it: nothing that is optional may be null."""
    facts = info.facts
    shown = {
        "id": info.id,
        "status": status(info),
        "config": {"vcpus": facts["vcpus"], "memory_mb": facts["memory_mb"]},
        "template": facts["template"],
        "created_at": rfc3339(info.created_at),
        "metadata": facts["metadata"],
        "timeout_ms": facts["timeout_ms"],
        "timeout_action": facts["timeout_action"],
        AUTO_RESUME: facts[AUTO_RESUME],
        **facts[KEPT],
    }
    shown |= {name: facts[name] for name in ("cwd", "inactivity_timeout_ms") if facts[name] is not None}
    if info.state == "started":
        shown |= {"started_at": rfc3339(info.changed_at), **view_lease(info)}
    return shown


def view_lease(info: SpaceInfo) -> dict[str, Any]:
    ends_at = info.facts["timeout_at"]
    remaining_ms = max(0, round((ends_at - time.time()) * 1000))
    return {"timeout_at": rfc3339(ends_at), "expires_at": rfc3339(ends_at), "remaining_ms": remaining_ms}


async def show(call: Call) -> ASGIApp:
    return json_response(only(view(call.machine.info), call))


def only(shown: dict[str, Any], call: Call) -> dict[str, Any]:
    """Those of its fields that were asked for."""
    names = [name for name in call.first("fields").split(",") if name]
    return {name: shown[name] for name in names if name in shown} if names else shown


async def show_page(call: Call) -> ASGIApp:
    metadata = read_metadata(call.first("metadata") or "{}")
    found = [space.info for space in call.spaces.list(DOOR) if is_wanted(space.info, call, metadata)]
    text = call.first("limit") or str(PAGE)
    if not text.isdecimal() or not 1 <= int(text[:9]) <= MOST:
        raise Invalid(f"limit: expected a whole number from 1 to {MOST}, not {text!r}")
    page, token = cut_page(found, call.first("next_token"), int(text))
    items = [only(view(info), call) for info in page]
    return json_response({"items": items, "next_token": token, "has_next": token is not None})


def read_metadata(text: str) -> Mapping[str, Any]:
    try:
        return read_fields(text.encode()).values
    except Invalid:
        raise Invalid(f"metadata: expected a JSON object, not {text!r}") from None


def is_wanted(info: SpaceInfo, call: Call, metadata: Mapping[str, Any]) -> bool:
    states = [name for name in call.first("state").split(",") if name]
    has = info.facts["metadata"]
    return (
        (not states or status(info) in states)
        and call.first("template") in ("", info.facts["template"])
        and all(name in has and has[name] == value for name, value in metadata.items())
    )


async def destroy(call: Call) -> ASGIApp:
    await call.machine.delete()
    return Response(status_code=204)


async def hibernate(call: Call) -> ASGIApp:
    """What is told is a snapshot there; here its processes just stand still."""
    machine = call.machine
    if machine.state == "started":
        await machine.pause()
    snapshot = {"id": f"snap_{machine.id}", "machine_id": machine.id, "size_bytes": 0}
    return json_response({**snapshot, "created_at": rfc3339(machine.info.changed_at), "metadata": {}})


async def resume(call: Call) -> ASGIApp:
    machine = call.machine
    if machine.state != "started":
        await wake(machine)
    return json_response(view(machine.info))


async def set_timeout(call: Call) -> ASGIApp:
    machine, fields = call.machine, call.body
    timeout_ms = fields.needed_count("timeout_ms", 1, LONGEST_MS)
    action = read_action(fields.text("timeout_action") or machine.info.facts["timeout_action"])
    machine.change(facts=lease(timeout_ms, action))
    facts = machine.info.facts
    told = {"timeout_ms": facts["timeout_ms"], "timeout_action": facts["timeout_action"]}
    return json_response({**told, **view_lease(machine.info)})


async def look(machine: Space) -> None:
    """Destroy or pause it if its time is over, or it was idle for too long."""
    if is_over(machine):
        end = machine.pause if machine.info.facts["timeout_action"] == "hibernate" else machine.delete
        await end(only_if=partial(is_over, machine))


def is_over(machine: Space) -> bool:
    facts = machine.info.facts
    idle_ms = facts["inactivity_timeout_ms"]
    is_idle = idle_ms is not None and machine.idle_seconds * 1000 >= idle_ms
    return machine.state == "started" and (is_idle or time.time() >= facts["timeout_at"])


ROWS: Final = [
    Row("GET", "/v1/machines", show_page),
    Row("POST", "/v1/machines", create),
    Row("GET", "/v1/machines/{machine}", show),
    Row("DELETE", "/v1/machines/{machine}", destroy),
    Row("POST", "/v1/machines/{machine}/hibernate", hibernate),
    Row("POST", "/v1/machines/{machine}/resume", resume),
    Row("POST", "/v1/machines/{machine}/timeout", set_timeout),
]
