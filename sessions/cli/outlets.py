"""Our own stdout and stderr, as bytes: never buffered, and slow readers don't keep a Ctrl-C from being heard."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..models import Record

SMALL_BYTES: Final = 4096
"""So much goes into a pipe at once if it is writable at all (PIPE_BUF)."""


def write_all(descriptor: int, data: bytes) -> None:
    """Blocks until all is written; `BrokenPipeError` if nobody reads any more."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:  # whoever started us has left it so
            select.select([], [descriptor], [])


class Outlet:
    """One of our streams, for async verbs."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    async def write(self, data: bytes) -> None:
        if len(data) <= SMALL_BYTES and self._poll.poll(0):
            write_all(self._descriptor, data)
        elif data:
            import trio

            await trio.to_thread.run_sync(write_all, self._descriptor, data)


def say(text: str) -> None:
    """A line on stdout."""
    write_all(1, text.encode("utf-8", "surrogateescape") + b"\n")


def notice(text: str) -> None:
    """A line on stderr, for people. Nobody may be reading."""
    with contextlib.suppress(OSError):
        write_all(2, text.encode("utf-8", "surrogateescape") + b"\n")


def tell_loss(record: Record) -> None:
    notice(f"{record.dropped_bytes} bytes of {record.command_id} are no longer kept")


def is_terminal(descriptor: int) -> bool:
    return os.isatty(descriptor)


def has_colour(descriptor: int) -> bool:
    """Only a terminal, and never with ``$NO_COLOR`` (https://no-color.org)."""
    return is_terminal(descriptor) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def terminal_width() -> int | None:
    """How wide stdout is; None if it is no terminal."""
    if not is_terminal(1):
        return None
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


def forget_stdout() -> None:
    """Nobody reads it any more: what Python would still flush into it at the end goes nowhere."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.__stdout__.fileno() if sys.__stdout__ else 1)
        os.close(nowhere)
