"""How long to go on trying when a server does not answer. Plain; no I/O."""

from __future__ import annotations

import random
from typing import Final

DELAYS_SECONDS: Final = (0.0, 0.02, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Before each try: at once where a connection was cut, half a minute in all where a server is being replaced."""
FRUITLESS_TRIES: Final = 100
"""A server that answers is not gone, even if each answer is cut before there is anything whole in it; but not for ever."""
LONG_SECONDS: Final = 30.0
"""A connection that lasted so long was one: who closes it each minute stands between us and a server that works."""
UNEVENNESS: Final = 0.2
"""The part of a delay that is left to chance, so that a thousand followers don't come back at the same moment."""


class Patience:
    """Counts tries without progress."""

    def __init__(self) -> None:
        self._silent = 0
        self._fruitless = 0

    def progress(self) -> None:
        """Something whole came: begin anew with the next failure."""
        self._silent = self._fruitless = 0

    def heard(self) -> None:
        """At least the server is there."""
        self._silent = min(self._silent, 1)

    def lasted(self, seconds: float) -> None:
        """So long the connection stood that has now broken."""
        if seconds >= LONG_SECONDS:
            self.progress()

    def next_delay(self) -> float | None:
        """How long to wait before the next try; None when there have been enough."""
        if self._silent == len(DELAYS_SECONDS) or self._fruitless == FRUITLESS_TRIES:
            return None
        delay = DELAYS_SECONDS[self._silent]
        self._silent += 1
        self._fruitless += 1
        return delay * random.uniform(1 - UNEVENNESS, 1)
