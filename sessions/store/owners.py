"""Which engine owns what: one lock file an engine, held for as long as it lives.

``engines/<engine id>`` holds the run directory, for whoever cleans up, and the pid, for who looks; that it is locked is the only
sign of life that counts, since a pid may be another's by now.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

import attrs


@attrs.frozen
class Owner:
    """A locked owner file: our own, or one that a dead engine left and that we now hold."""

    engine_id: str
    run_directory: Path
    _path: Path
    _descriptor: int

    def release(self) -> None:
        """Remove the file and the lock with it."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        os.close(self._descriptor)

    def drop(self) -> None:
        """Let go of the lock and leave the file for others to try."""
        os.close(self._descriptor)


def claim(root: Path, engine_id: str, run_directory: Path) -> Owner:
    """Become the owner called `engine_id`."""
    directory = root / "engines"
    directory.mkdir(mode=0o700, exist_ok=True)
    path = directory / engine_id
    hidden = directory / f".{engine_id}"
    descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, json.dumps({"pid": os.getpid(), "run_directory": str(run_directory)}).encode())
        # Only now can others see it, and it is locked already.
        os.rename(hidden, path)
    except OSError:
        hidden.unlink(missing_ok=True)
        os.close(descriptor)
        raise
    return Owner(engine_id, run_directory, path, descriptor)


def take_over(root: Path, engine_id: str) -> Owner | None:
    """The lock of a dead engine; None if it lives, or if someone else has taken it over.

    An engine makes its file before anything that it owns, so one whose file is missing is dead, too.
    """
    path = root / "engines" / engine_id
    path.parent.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    with contextlib.suppress(OSError):
        os.fchmod(descriptor, 0o700)  # see `is_being_recovered`
    facts = {}
    with contextlib.suppress(ValueError):
        facts = json.loads(os.pread(descriptor, 65536, 0))
    # Who knows what a bad disk has made of it: without the facts, the lock still counts.
    facts = facts if isinstance(facts, dict) else {}
    run_directory = facts.get("run_directory")
    if not isinstance(run_directory, str) or "\0" in run_directory:
        run_directory = ""
    if not path.exists():  # the one who held it before has just cleaned up
        os.close(descriptor)
        return None
    return Owner(engine_id, Path(run_directory), path, descriptor)


def is_being_recovered(root: Path, engine_id: str) -> bool:
    """Whether an engine is dead, and whoever holds its lock is cleaning up after it. The execute bit of its file says so."""
    try:
        return bool((root / "engines" / engine_id).stat().st_mode & 0o100)
    except FileNotFoundError:
        return False


def dead_owners(root: Path) -> Iterator[Owner]:
    """The locks of all dead engines, taken over one by one."""
    with contextlib.suppress(FileNotFoundError):
        for name in sorted(os.listdir(root / "engines")):
            if not name.startswith(".") and (owner := take_over(root, name)) is not None:
                yield owner
