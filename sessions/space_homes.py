"""The home of a space: who is in it, and its removal."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress

from .shell.processes import Seen, with_descendants


def strays(seen: Sequence[Seen], keeper: int | None, home: str) -> list[Seen]:
    """Those that have left their parents and emptied their environment, but still are in their space's home.

    Whatever is orphaned below an engine becomes its keeper's child. One that has changed its directory, too, is found no more,
    and ends with the engine.
    """
    home = os.path.realpath(home)

    def is_in_home(one: Seen) -> bool:
        try:
            directory = os.readlink(f"/proc/{one.pid}/cwd")
        except OSError:
            return False
        return directory == home or directory.startswith(f"{home}/")

    return with_descendants(seen, lambda one: one.parent == keeper and one.session_id is None and is_in_home(one))


def remove_home(home: str) -> None:
    """All of it, also what is below directories that are read-only, as caches of packages are. What is another user's stays."""
    if os.path.islink(home):  # made by what ran in it: where it leads is nothing of ours
        with suppress(OSError):
            os.unlink(home)
        return
    shutil.rmtree(home, ignore_errors=True)
    if os.path.isdir(home):
        open_up(home)
        for directory, names, _ in os.walk(home):
            for name in names:
                open_up(os.path.join(directory, name))
        shutil.rmtree(home, ignore_errors=True)


def open_up(directory: str) -> None:
    with suppress(OSError):
        if not os.path.islink(directory):
            os.chmod(directory, 0o700)
