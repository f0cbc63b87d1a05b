"""Spaces as the objects of the Superserve dialect. No I/O.

Clients refuse null where a text or an object is expected, and states that they don't know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...lifecycle import SpaceState
from ...models import SpaceInfo
from ..rendering import rfc3339
from .tokens import FACT, token_of

STATES: Final[Mapping[SpaceState, str]] = {
    "started": "active",
    "paused": "paused",
    "stopped": "paused",
    "destroyed": "deleted",
}
NAME: Final = "name"
"""Of a sandbox's facts: two may have the same, which spaces may not."""
PAUSE_AFTER: Final = "timeout_seconds"
"""Of a sandbox's facts: seconds without use after which it is paused."""


def view_sandbox(info: SpaceInfo) -> dict[str, Any]:
    view: dict[str, Any] = {
        "id": info.id,
        "name": info.facts.get(NAME, info.name),
        "status": STATES[info.state],
        "created_at": rfc3339(info.created_at),
        "metadata": dict(info.labels),
    }
    if info.facts.get(PAUSE_AFTER) is not None:
        view["timeout_seconds"] = info.facts[PAUSE_AFTER]
    if info.delete_after is not None:
        view["auto_delete_seconds"] = round(info.delete_after)
        if info.state in ("paused", "stopped"):
            view["auto_delete_at"] = rfc3339(info.changed_at + info.delete_after)
    return view


def view_with_token(info: SpaceInfo) -> dict[str, Any]:
    return {**view_sandbox(info), FACT: token_of(info)}
