"""Commands by number: all that go on, and the newest of those that are finished. Older ones are found in the catalog."""

from __future__ import annotations

from typing import Final

from .command import Command

KEPT: Final = 1000
"""Finished ones."""
SWEEP: Final = 100
"""So many more may be there between two looks at all of them."""


class RecentCommands(dict[int, Command]):
    """Add them in the order of their numbers."""

    def __init__(self) -> None:
        super().__init__()
        self._unseen = 0

    def __setitem__(self, number: int, command: Command) -> None:
        super().__setitem__(number, command)
        self._unseen += 1
        if self._unseen >= SWEEP:
            self._unseen = 0
            finished = [number for number, command in self.items() if command.state == "finished"]
            for old in finished[:-KEPT]:
                del self[old]
