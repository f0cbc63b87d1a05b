"""What all live sessions of an engine share."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import attrs
import trio

from .models import Limits
from .shell.keeper import Keeper
from .shell.poller import Poller
from .stopping import Census
from .store.catalog import Catalog

READ_BYTES: Final = 1 << 19
"""The most that one read takes: half of what a pipe holds, so that its writer goes on meanwhile. With 256 KiB, whose records
and turns of the loop are twice as many, 1.5 GB took an eighth longer."""


class Bell:
    """Wakes who looks after commands, seldom while there are none."""

    def __init__(self) -> None:
        self._rung = trio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def wait(self) -> None:
        """Until it is rung the next time."""
        self._rung = trio.Event()
        await self._rung.wait()


@attrs.frozen
class Workshop:
    """The tools of an engine."""

    catalog: Catalog
    poller: Poller
    keeper: Keeper
    census: Census
    limits: Limits
    nursery: trio.Nursery
    run_directory: Path
    open_files: int
    """The soft limit of descriptors that shells get."""
    buffer: bytearray = attrs.field(factory=lambda: bytearray(READ_BYTES))
    """All pipes are read into this one: fresh memory for each read would cost more than the read."""
    bell: Bell = attrs.field(factory=Bell)
    """Rung for each command that is new."""
