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

READ_BYTES: Final = 1 << 18
"""The most that one read takes: it stays in a core's cache on its way to the log, which a megabyte doesn't."""


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
