"""How long a sandbox of the Declaw dialect lives: so many seconds from when that was said last, then it is killed or paused."""

from __future__ import annotations

import time
from functools import partial
from typing import Final

from ...spaces import Space

# Of a sandbox's facts.
TIMEOUT: Final = "timeout"
"""Seconds, as they were given last."""
ENDS_AT: Final = "ends_at"
"""Unix seconds, UTC."""
ON_TIMEOUT: Final = "on_timeout"
"""``"pause"``, or else it is killed."""


def lifetime(seconds: float | None) -> dict[str, float]:
    """Facts of a sandbox that lives for so long from now; for ever without a number."""
    return {} if seconds is None else {TIMEOUT: seconds, ENDS_AT: time.time() + seconds}


def renew(space: Space) -> None:
    """It has all of its time again."""
    space.change(facts=lifetime(space.info.facts.get(TIMEOUT)))


async def look(space: Space) -> None:
    """End it if its time is over."""
    if not is_over(space):
        return
    if space.info.facts.get(ON_TIMEOUT) != "pause":
        await space.delete(only_if=partial(is_over, space))
    elif space.state == "started":
        await space.pause(only_if=partial(is_over, space))


def is_over(space: Space) -> bool:
    ends_at = space.info.facts.get(ENDS_AT)
    return ends_at is not None and time.time() >= ends_at
