"""How many descriptors this program may open while it has engines: two for each running command."""

from __future__ import annotations

import contextlib
import resource
import threading

_lock = threading.Lock()
_engines = 0
_before: tuple[int, int] = (0, 0)


def raise_limit() -> int:
    """Let this process have as many as it may. Returns the soft limit from before the first engine, which is for the shells."""
    global _engines, _before
    with _lock:
        if not _engines:
            _before = resource.getrlimit(resource.RLIMIT_NOFILE)
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (_before[1], _before[1]))
        _engines += 1
        return _before[0]


def restore_limit() -> None:
    """To be called once for each `raise_limit`: after the last one the limit is as it was."""
    global _engines
    with _lock:
        _engines -= 1
        if not _engines and resource.getrlimit(resource.RLIMIT_NOFILE) == (_before[1], _before[1]):
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, _before)
