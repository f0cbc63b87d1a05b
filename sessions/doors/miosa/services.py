"""Services of the Miosa dialect: background processes of a computer that have a name, and can be stopped and started again.

What a service is outlives the server, as a fact of its computer; its process does not. When the computer is started, so are
those that nobody had stopped. A service that is to be restarted is restarted by a shell around it, so it is one process in all
its lives, with one log.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias
from weakref import WeakKeyDictionary

import trio
from starlette.responses import Response
from starlette.types import ASGIApp

from ...command import Command
from ...errors import Conflict, Invalid, NotFound
from ...spaces import Space
from ..outcomes import told_exit_code
from ..own_shells import after_dash_c, in_own_shell
from ..rendering import rfc3339
from ..requests import json_response
from .events import SERVICE, EventAnswer
from .launch import Launch, launch, read_command
from .routing import Answer, Call, Row

Facts: TypeAlias = dict[str, Any]
Status: TypeAlias = Literal["pending", "running", "stopped", "failed"]

FACT: Final = "services"
LABEL: Final = "service"
RESTARTS: Final = {
    "no": None,
    "never": None,
    "on-failure": "until {}; do sleep 1; done",
    "on_failure": "until {}; do sleep 1; done",
    "always": "while :; do {}; sleep 1; done",
    "unless-stopped": "while :; do {}; sleep 1; done",
}
"""What is run around the service for each policy."""


CHANGING: Final[WeakKeyDictionary[Space, trio.Lock]] = WeakKeyDictionary()
"""Held while the services of a computer are changed: two starts at once would lose a process."""


def changing(answer: Answer) -> Answer:
    async def answer_alone(call: Call) -> ASGIApp:
        async with CHANGING.setdefault(call.space, trio.Lock()):
            return await answer(call)

    return answer_alone


def services_of(space: Space) -> dict[str, Facts]:
    found: dict[str, Facts] = space.info.facts.get(FACT, {})
    return found


def keep(space: Space, service: Facts) -> Facts:
    """Store it as it is now."""
    kept = {**service, "updated_at": time.time()}
    space.change(facts={FACT: {**services_of(space), service["id"]: kept}})
    return kept


def find(call: Call) -> Facts:
    service = services_of(call.space).get(call.ids["service"])
    if service is None:
        raise NotFound(f"computer {call.space.id} has no service {call.ids['service']!r}")
    return service


async def process_of(space: Space, service: Mapping[str, Any]) -> Command | None:
    """Its last one; None if it never had one."""
    if service.get("pid") is None:
        return None
    try:
        return await (await space.process(service["pid"])).refresh()
    except NotFound:
        return None


def status_of(space: Space, service: Mapping[str, Any], command: Command | None) -> Status:
    if command is None:
        return "pending" if service["wanted"] else "stopped"
    if command.state != "finished":
        return "running"
    # One whose computer runs, and which should run, has ended with an earlier server.
    is_ended_by_us = not service["wanted"] or command.reason == "killed" or space.state == "stopped"
    return "stopped" if is_ended_by_us or told_exit_code(command) == 0 else "failed"


async def view(space: Space, service: Mapping[str, Any]) -> Facts:
    command = await process_of(space, service)
    over = command is not None and command.state == "finished"
    shown = ("id", "name", "command", "working_dir", "env", "restart_policy", "port", "pid")
    return {
        "computer_id": space.id,
        **{name: service.get(name) for name in shown},
        "status": status_of(space, service, command),
        "exit_code": told_exit_code(command) if command is not None and over else None,
        "created_at": rfc3339(service["created_at"]),
        "updated_at": rfc3339(service["updated_at"]),
    }


def to_text(service: Mapping[str, Any]) -> str:
    text, around = service["command"], RESTARTS[service["restart_policy"] or "no"]
    return in_own_shell(text) if around is None else around.format(f'"$BASH" -c {after_dash_c(text)}')


async def begin(space: Space, service: Facts) -> Facts:
    """Start it, unless it runs."""
    command = await process_of(space, service)
    if command is not None and command.state != "finished":
        return keep(space, {**service, "wanted": True})
    order = Launch(
        text=to_text(service),
        cwd=service["working_dir"],
        env=service["env"],
        labels={LABEL: service["id"], "name": service["name"]},
    )
    number, _ = await launch(space, order)
    return keep(space, {**service, "wanted": True, "pid": number})


async def end(space: Space, service: Facts) -> Facts:
    kept = keep(space, {**service, "wanted": False})
    command = await process_of(space, service)
    if command is not None and command.state != "finished":
        with trio.CancelScope(shield=True):
            await command.kill()
    return kept


async def start_wanted(space: Space) -> None:
    """The computer has been started."""
    async with CHANGING.setdefault(space, trio.Lock()):
        for service in list(services_of(space).values()):
            if service["wanted"]:
                await begin(space, service)


async def create(call: Call) -> ASGIApp:
    space, body = call.space, call.body
    name, policy = body.needed_text("name"), body.text("restart_policy")
    if policy is not None and policy not in RESTARTS:
        raise Invalid(f"restart_policy: {policy!r} is not known: {', '.join(RESTARTS)} are")
    if any(service["name"] == name for service in services_of(space).values()):
        raise Conflict(f"computer {space.id} has a service {name!r} already")
    service = {
        "id": f"svc_{uuid.uuid4().hex}",
        "name": name,
        "command": read_command(body),
        "working_dir": body.text("working_dir"),
        "env": body.texts("env"),
        "restart_policy": policy,
        "port": body.count("port", 0, 65535),
        "pid": None,
        "wanted": True,
        "created_at": time.time(),
    }
    return json_response(await view(space, await begin(space, service)), 201)


async def show_all(call: Call) -> ASGIApp:
    return json_response([await view(call.space, service) for service in list(services_of(call.space).values())])


async def show(call: Call) -> ASGIApp:
    return json_response(await view(call.space, find(call)))


async def start(call: Call) -> ASGIApp:
    return json_response(await view(call.space, await begin(call.space, find(call))))


async def stop(call: Call) -> ASGIApp:
    return json_response(await view(call.space, await end(call.space, find(call))))


async def restart(call: Call) -> ASGIApp:
    service = await end(call.space, find(call))
    return json_response(await view(call.space, await begin(call.space, service)))


async def delete(call: Call) -> ASGIApp:
    service = await end(call.space, find(call))
    rest = {key: other for key, other in services_of(call.space).items() if key != service["id"]}
    call.space.change(facts={FACT: rest})
    return json_response({"success": True})


async def logs(call: Call) -> ASGIApp:
    """What its present process has written, or its last one; followed until that ends."""
    command = await process_of(call.space, find(call))
    if command is None:
        return Response(media_type="text/event-stream")
    return EventAnswer(call.streams, command, SERVICE, follow=call.first("follow", "true").lower() != "false")


SERVICES: Final = "/computers/{space}/services"
ONE: Final = f"{SERVICES}/{{service}}"

ROWS: Final = [
    Row("POST", SERVICES, changing(create), runs=True),
    Row("GET", SERVICES, show_all),
    Row("GET", ONE, show),
    Row("DELETE", ONE, changing(delete)),
    Row("POST", f"{ONE}/start", changing(start), runs=True),
    Row("POST", f"{ONE}/stop", changing(stop)),
    Row("POST", f"{ONE}/restart", changing(restart), runs=True),
    Row("GET", f"{ONE}/logs", logs),
]
