"""Spaces and commands as the objects of the Miosa dialect. No I/O.

Clients check a computer's fields strictly: a state or a size that is not one of theirs fails. An object is never wrapped, since
not all of them unwrap it; a list is.
"""

from __future__ import annotations

from typing import Any, Final

from ...facts import CommandFacts
from ...lifecycle import SpaceState
from ...models import SpaceInfo
from ..outcomes import told_exit_code
from ..rendering import rfc3339

STATES: Final[dict[SpaceState, str]] = {
    "started": "running",
    "paused": "paused",
    "stopped": "stopped",
    "destroyed": "destroyed",
}
COMPUTER_SIZES: Final = ("small", "medium", "large", "xl")


def view_computer(info: SpaceInfo) -> dict[str, Any]:
    facts = info.facts
    return {
        "id": info.id,
        "name": facts["name"],
        "status": STATES[info.state],
        "template_type": facts.get("template_type"),
        "size": facts["size"] if facts.get("size") in COMPUTER_SIZES else "small",
        "workspace_id": facts.get("workspace_id"),
        "metadata": facts.get("metadata", {}),
        "created_at": rfc3339(info.created_at),
        "updated_at": rfc3339(info.changed_at),
    }


def view_sandbox(info: SpaceInfo) -> dict[str, Any]:
    facts = info.facts
    return {
        "id": info.id,
        "name": facts.get("name"),
        "slug": facts.get("slug"),
        "state": STATES[info.state],
        "template_id": facts.get("template_id"),
        "size": facts.get("size"),
        "workspace_id": facts.get("workspace_id"),
        "persistent": facts.get("persistent", False),
        "tags": facts.get("tags", []),
        "metadata": facts.get("metadata", {}),
        "env": dict(info.env),
        "checkpoint_pending": False,
        **readiness(info),
        "created_at": rfc3339(info.created_at),
        "updated_at": rfc3339(info.changed_at),
    }


def readiness(info: SpaceInfo) -> dict[str, Any]:
    ready = info.state == "started"
    return {"ready": ready, "status": "ready" if ready else STATES[info.state]}


def milliseconds(command: CommandFacts) -> int:
    """How long it ran."""
    return round((command.duration_seconds or 0.0) * 1000)


def view_process(number: int, command: CommandFacts) -> dict[str, Any]:
    """A background process. Both names of its state are in use."""
    over = command.state == "finished"
    state = "running" if not over else "exited" if command.reason == "exit" else "killed"
    return {
        "pid": number,
        "name": command.labels.get("name"),
        "command": command.labels.get("command", command.text),
        "state": state,
        "status": state,
        "exit_code": told_exit_code(command) if over else None,
        "started_at": rfc3339(command.started_at or command.queued_at),
        "finished_at": rfc3339(command.finished_at) if command.finished_at is not None else None,
    }
