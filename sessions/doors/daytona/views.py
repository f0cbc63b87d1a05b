"""Spaces, sessions, commands and logs as the objects of the Daytona dialect. No I/O.

Clients check types strictly: integers must not be written as ``1.0``, nothing that is required may be null.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...facts import CommandFacts
from ...models import Logs, SpaceInfo
from ..rendering import rfc3339

NEVER_RAN: Final = -1
"""The exit code of a command that ended without one: its shell ended before its turn came."""
SIZES: Final = {"cpu": 1, "gpu": 0, "memory": 1, "disk": 3}
"""What a sandbox that did not ask for a size shows. Nothing is limited to it."""
TARGET: Final = "local"
"""Where a sandbox is that asked for no place."""
KEPT: Final = (
    "snapshot",
    "user",
    "public",
    "target",
    "autoPauseInterval",
    "autoArchiveInterval",
    "ttlMinutes",
    *SIZES,
)
"""Fields of a sandbox that are kept as they were given."""


def view_sandbox(info: SpaceInfo, base_url: str) -> dict[str, Any]:
    facts = info.facts
    return {
        "id": info.id,
        "organizationId": facts.get("organizationId", "local"),
        "name": info.name,
        "user": facts.get("user", "daytona"),
        "env": dict(info.env),
        "labels": dict(info.labels),
        "public": facts.get("public", False),
        # Nothing here keeps a process from the network, and who asked for it should see so.
        "networkBlockAll": False,
        "kvm": False,
        "target": facts.get("target", TARGET),
        **{name: facts.get(name, size) for name, size in SIZES.items()},
        "toolboxProxyUrl": f"{base_url}/toolbox",
        "state": info.state,
        "desiredState": info.state,
        "snapshot": facts.get("snapshot"),
        "createdAt": rfc3339(info.created_at),
        "updatedAt": rfc3339(info.changed_at),
        "autoStopInterval": minutes(info.stop_after, 0),
        "autoPauseInterval": facts.get("autoPauseInterval"),
        "autoArchiveInterval": facts.get("autoArchiveInterval"),
        "autoDeleteInterval": minutes(info.delete_after, -1),
    }


def minutes(seconds: float | None, otherwise: int) -> int:
    return otherwise if seconds is None else round(seconds / 60)


def stop_after(interval: int | None) -> float | None:
    """Seconds, from the minutes of ``autoStopInterval``: 0 is never."""
    return interval * 60.0 if interval is not None and interval > 0 else None


def delete_after(interval: int | None) -> float | None:
    """Seconds, from the minutes of ``autoDeleteInterval``: 0 is at once when it stops, less than 0 is never."""
    return interval * 60.0 if interval is not None and interval >= 0 else None


def exit_code(command: CommandFacts) -> int | None:
    """None while it is not finished."""
    if command.state != "finished":
        return None
    return NEVER_RAN if command.exit_code is None else command.exit_code


def view_command(command: CommandFacts) -> dict[str, Any]:
    view: dict[str, Any] = {"id": command.id, "command": command.text}
    code = exit_code(command)
    return view if code is None else {**view, "exitCode": code}


def streams_of(logs: Logs) -> Mapping[str, bytes]:
    return {"output": logs.output, "stdout": logs.stdout, "stderr": logs.stderr}
