"""The list of sandboxes: filters, order and pages.

A filter that can't be answered is refused: what a program does with a list, such as deleting all on it, must not hit others.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from starlette.types import ASGIApp

from ...models import SpaceInfo
from ..requests import json_response
from .errors import Refusal, not_here
from .routing import DOOR, Call, Row
from .views import SIZES, TARGET, view_sandbox

PAGE: Final = 100
MOST: Final = 200
"""Sandboxes on one page."""
ABSENT: Final = ("lastEventAfter", "lastEventBefore", "autoDestroyAtAfter", "autoDestroyAtBefore")
SORTED_BY_SIZE: Final = {"cpu": "cpu", "memoryGib": "memory", "diskGib": "disk"}
SORTED: Final = ("createdAt", "name", *SORTED_BY_SIZE)

Mark: TypeAlias = tuple[str | float, str]
"""The place of a sandbox in a list."""


async def show_page(call: Call) -> ASGIApp:
    for name in ABSENT:
        if call.first(name):
            raise not_here(f"lists by {name}")
    sort, is_descending = call.first("sort", "createdAt"), call.first("order").lower() == "desc"
    if sort not in SORTED:
        raise not_here(f"lists in order of {sort}")
    spaces = call.spaces.list(DOOR, read_labels(call.first("labels")))
    wanted = [space.info for space in spaces if is_wanted(call, space.info)]
    found = sorted(wanted, key=lambda info: mark(info, sort), reverse=is_descending)
    if call.first("cursor"):
        last = read_mark(call.first("cursor"), sort)
        found = [info for info in found if (mark(info, sort) < last if is_descending else mark(info, sort) > last)]
    page = found[: min(read_count(call, "limit", PAGE), MOST)]
    more = len(page) < len(found)
    items = [view_sandbox(info, call.base_url) for info in page]
    return json_response({"items": items, "nextCursor": json.dumps(mark(page[-1], sort)) if more else None})


def mark(info: SpaceInfo, sort: str) -> Mark:
    if sort == "createdAt":
        return info.created_at, info.id
    return (info.name if sort == "name" else size_of(info, SORTED_BY_SIZE[sort])), info.id


def size_of(info: SpaceInfo, name: str) -> int:
    size: int = info.facts.get(name, SIZES[name])
    return size


def read_mark(text: str, sort: str) -> Mark:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    match found:
        case [str() | float() | int() as place, str(id)] if isinstance(place, str) == (sort == "name"):
            return place, id
    raise Refusal(400, "BAD_REQUEST", f"cursor {text!r} is from no list of this order")


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


def read_time(call: Call, name: str, otherwise: float) -> float:
    """Unix seconds."""
    text = call.first(name)
    if not text:
        return otherwise
    try:
        # A plus sign that was not encoded arrives as a space.
        time = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        raise Refusal(400, "BAD_REQUEST", f"{name}: expected a time as in RFC 3339, not {text!r}") from None
    return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp()


def is_wanted(call: Call, info: SpaceInfo) -> bool:
    """Whether it is what the query asks for. `name` and `id` are beginnings."""
    if not info.name.lower().startswith(call.first("name").lower()):
        return False
    if not info.id.startswith(call.first("id").lower()):
        return False
    return is_in_time(call, info) and is_of_size(call, info) and is_of_kind(call, info)


def is_in_time(call: Call, info: SpaceInfo) -> bool:
    after, before = (read_time(call, f"createdAt{which}", end) for which, end in (("After", 0.0), ("Before", 1e12)))
    return after <= info.created_at <= before


def is_of_size(call: Call, info: SpaceInfo) -> bool:
    for name, parameter in (("cpu", "Cpu"), ("memory", "MemoryGiB"), ("disk", "DiskGiB")):
        size = size_of(info, name)
        if not read_count(call, f"min{parameter}", size) <= size <= read_count(call, f"max{parameter}", size):
            return False
    return True


def is_of_kind(call: Call, info: SpaceInfo) -> bool:
    one_of: dict[str, Any] = {
        "states": info.state,
        "snapshots": info.facts.get("snapshot"),
        "regionIds": info.facts.get("target", TARGET),
    }
    if any(call.query.get(name) and value not in call.query[name] for name, value in one_of.items()):
        return False
    flags = {"isPublic": info.facts.get("public", False), "isRecoverable": False}
    return all(call.first(name).lower() in ("", str(value).lower()) for name, value in flags.items())


ROWS: Final = [Row("GET", "sandbox", show_page)]
