"""One epoll set for all pipes of an engine, read by one task.

A task for each pipe would cost a thousand commands two thousand tasks, and each byte two switches. Here the kernel says
which pipes are ready, and a plain function is called for each.
"""

from __future__ import annotations

import contextlib
import select
from collections.abc import Callable
from typing import Final

import trio

READABLE: Final = select.EPOLLIN
WRITABLE: Final = select.EPOLLOUT
ROUND: Final = 32
"""How many are served before others get their turn: when a thousand commands end at once, each end costs 150 µs."""


class Poller:
    """Calls a function whenever a descriptor is ready. `run` is the task that does it."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._resting_epoll = select.epoll()
        self._resting: set[int] = set()
        self._callbacks: dict[int, Callable[[], object]] = {}
        self._forgotten: set[int] = set()
        """In this round. What is still reported for them is not meant for a new pipe that has got the same number."""
        self._round: list[int] = []
        """Whose turn is still to come in this round."""

    def watch(self, descriptor: int, callback: Callable[[], object], events: int = READABLE) -> None:
        """Call `callback` each time that `descriptor` is ready, until `forget`. It must not block."""
        if descriptor in self._resting:
            self._resting.discard(descriptor)
            with contextlib.suppress(FileNotFoundError):  # that one was closed, and this is another
                self._resting_epoll.unregister(descriptor)
        self._epoll.register(descriptor, events)
        self._callbacks[descriptor] = callback

    def forget(self, descriptor: int) -> None:
        """Call before closing `descriptor`."""
        self._epoll.unregister(descriptor)
        del self._callbacks[descriptor]
        self._forgotten.add(descriptor)

    def rest(self, descriptor: int) -> None:
        """Like `forget`, but for a while: should `descriptor` become ready until it is watched again, `ready` tells its place."""
        self.forget(descriptor)
        self._resting_epoll.register(descriptor, READABLE)
        self._resting.add(descriptor)

    async def run(self) -> None:
        descriptor = self._epoll.fileno()
        while True:
            await trio.lowlevel.wait_readable(descriptor)
            self.serve()

    def serve(self) -> None:
        """Call the functions of those that are ready now, in the order in which they became so."""
        self._forgotten.clear()
        self._round = [descriptor for descriptor, _ in self._epoll.poll(0, ROUND)]
        while self._round:
            ready = self._round.pop(0)
            if ready not in self._forgotten:
                self._callbacks[ready]()

    def ready(self) -> list[int]:
        """Who is ready now, in the order in which they became so; those that rest for themselves."""
        events = self._epoll.poll(0, max(1, len(self._callbacks)))
        if self._resting:
            events += self._resting_epoll.poll(0, len(self._resting))
        # Those of this round came first, but were put behind the others when epoll told of them.
        return sorted((descriptor for descriptor, _ in events), key=lambda descriptor: descriptor not in self._round)

    def close(self) -> None:
        self._epoll.close()
        self._resting_epoll.close()
