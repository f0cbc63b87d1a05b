"""One server a root: ``serve.lock`` is locked for as long as one serves, and says who.

That it is locked is the only sign of life that counts. The file stays when the server has gone, empty: who unlinked it might
take it from one who has just locked it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from ..errors import Broken, Conflict

FILE: Final = "serve.lock"
LARGEST: Final = 1 << 16
TRIES: Final = 10
PAUSE_SECONDS: Final = 0.01
"""Who only looks whether a root is served holds its lock for a moment, too."""


@attrs.frozen
class Lock:
    """The lock on a root, held."""

    _descriptor: int

    def tell(self, **facts: object) -> None:
        """Write down who holds it, for those who come later."""
        text = json.dumps({"pid": os.getpid(), "started_at": time.time(), **facts}).encode()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text, 0)


@contextlib.contextmanager
def locked(root: Path) -> Iterator[Lock]:
    """Be the one server of `root` for the block. `Conflict` if there is one, which says who."""
    path = root / FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Broken(f"the lock file {path} can't be opened: {error}") from error
    try:
        if not any(try_lock(descriptor) for _ in range(TRIES)):
            raise Conflict(f"{root} is served already {whom(descriptor)}: use that server, or end it first")
        lock = Lock(descriptor)
        lock.tell()
        try:
            yield lock
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(PAUSE_SECONDS)
        return False
    return True


def read_server(root: Path) -> Mapping[str, Any] | None:
    """What the server of `root` says of itself; None if there is none, or it has not said anything yet."""
    return read_holder(root / FILE) or None


def read_holder(path: Path) -> Mapping[str, Any] | None:
    """What he who holds the lock on this file says of himself, which may be nothing; None if nobody does."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return read_facts(descriptor)
    finally:
        os.close(descriptor)
    return None


def read_facts(descriptor: int) -> Mapping[str, Any]:
    with contextlib.suppress(ValueError):
        facts = json.loads(os.pread(descriptor, LARGEST, 0))
        if isinstance(facts, dict):
            return facts
    return {}


def whom(descriptor: int) -> str:
    """Who holds it, in words."""
    facts = read_facts(descriptor)
    if "pid" not in facts:
        return "by a process that has just started"
    addresses = [str(address) for address in [*(facts.get("urls") or []), facts.get("unix")] if address]
    return f"by process {facts['pid']}" + (f" at {', '.join(addresses)}" if addresses else "")
