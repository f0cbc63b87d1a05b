"""Blocking work beside the event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar, TypeVarTuple

import trio

Answer = TypeVar("Answer")
Arguments = TypeVarTuple("Arguments")

THREADS: Final = 40
"""As many as trio itself has by default."""
_limiter: Final[trio.lowlevel.RunVar[trio.CapacityLimiter]] = trio.lowlevel.RunVar("sessions")


async def run_in_thread(function: Callable[[*Arguments], Answer], *arguments: *Arguments) -> Answer:
    """Call it in a thread of our own. Of those that trio lends to everybody, each may be a caller's that waits for us."""
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = trio.CapacityLimiter(THREADS)
        _limiter.set(limiter)
    return await trio.to_thread.run_sync(function, *arguments, limiter=limiter)
