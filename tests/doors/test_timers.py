"""Sandboxes whose time is over: each door ends them in its own way, and none that has been wanted in the meantime."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

import attrs
import pytest
import trio

import sessions
from sessions.doors.declaw import lifetimes
from sessions.doors.nullspace import machines
from sessions.doors.superserve import sandboxes
from sessions.doors.superserve.views import PAUSE_AFTER
from sessions.spaces import Space, open_spaces


@attrs.frozen
class Timer:
    """One of a door, which ends a sandbox of these facts."""

    look: Callable[[Space], Awaitable[None]]
    facts: Mapping[str, Any]
    ended: str
    later: Callable[[], Mapping[str, Any]] | None = None
    """What its client may say just in time; None if it has to use it."""


LEASE: Final = {"inactivity_timeout_ms": None, **machines.lease(0, "hibernate")}
TIMERS: Final = {
    "superserve": Timer(sandboxes.look, {PAUSE_AFTER: 0.01}, "paused"),
    "nullspace, idle": Timer(
        machines.look, {"inactivity_timeout_ms": 10, **machines.lease(10**9, "destroy")}, "destroyed"
    ),
    "nullspace": Timer(machines.look, LEASE, "paused", partial(machines.lease, 600_000, "hibernate")),
    "declaw": Timer(lifetimes.look, lifetimes.lifetime(0), "destroyed", partial(lifetimes.lifetime, 600)),
    "declaw, paused": Timer(
        lifetimes.look,
        {**lifetimes.lifetime(0), lifetimes.ON_TIMEOUT: "pause"},
        "paused",
        partial(lifetimes.lifetime, 600),
    ),
}


@pytest.mark.parametrize("name", TIMERS)
async def test_a_timer_that_somebody_is_faster_than(engine: sessions.Engine, name: str) -> None:
    """It has seen that the time is over, and waits for who holds the sandbox: what begins meanwhile goes on."""
    timer = TIMERS[name]
    async with open_spaces(engine) as spaces:
        space = await spaces.create("door", "one", facts=timer.facts)
        await be_idle(space)
        with ExitStack() as use:
            async with trio.open_nursery() as nursery, space._lock:
                nursery.start_soon(timer.look, space)
                await trio.testing.wait_all_tasks_blocked(0.01)
                if timer.later is None:
                    use.enter_context(space.use())
                else:
                    space.change(facts=timer.later())
            assert space.state == "started"
        space.change(facts=timer.facts)
        await be_idle(space)
        await timer.look(space)
        assert space.state == timer.ended


async def be_idle(space: Space) -> None:
    while space.idle_seconds < 0.01:
        await trio.sleep(0.001)
