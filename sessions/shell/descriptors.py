"""How many descriptors this program may open while it has engines: two for each running command. And what if there are no more."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import threading
from collections.abc import Callable
from typing import Final, TypeVar

Answer = TypeVar("Answer")

NONE_LEFT: Final = (errno.EMFILE, errno.ENFILE)
"""This program may open no more, or the whole machine has none."""
SPARE: Final = 2
"""To look at processes takes one at a time, two while what it needs is loaded."""

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


class Spare:
    """Descriptors that are kept for when this program has used up all others: then who has used them up can still be ended."""

    def __init__(self) -> None:
        self._kept: list[int] = []
        self._keep()

    def call(self, function: Callable[[], Answer]) -> Answer:
        """Call `function`; if it finds no descriptor left, once more when these are free."""
        try:
            return function()
        except OSError as error:
            if error.errno not in NONE_LEFT:
                raise
        self.close()
        try:
            return function()
        finally:
            self._keep()

    def _keep(self) -> None:
        with contextlib.suppress(OSError):  # somebody else was faster: there is a next time
            while len(self._kept) < SPARE:
                self._kept.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def close(self) -> None:
        while self._kept:
            os.close(self._kept.pop())
