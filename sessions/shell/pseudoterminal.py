"""A pseudo-terminal: what a program takes for a person's screen and keyboard. We hold its other side."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios

import trio

from ..errors import Closed


class Screen:
    """What is written to the terminal, as it would be shown."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def read_into(self, buffer: bytearray) -> int | None:
        """How many bytes came; 0 at the end; None if there is nothing now."""
        try:
            return os.readv(self.descriptor, [buffer])
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno != errno.EIO:  # the last program that had it open has gone
                raise
            return 0

    def close(self) -> None:
        os.close(self.descriptor)


class Keyboard:
    """What is typed into the terminal."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = trio.Lock()
        self.closed = False

    async def send(self, data: bytes, what: str) -> None:
        """Type all of `data`; waits while nobody reads it. `Closed` once the program has ended."""
        view = memoryview(data)
        async with self._lock:
            while view:
                if self.closed:
                    raise Closed(f"{what} has ended: it reads no more input")
                try:
                    view = view[os.write(self._descriptor, view) :]
                except BlockingIOError:
                    try:
                        await trio.lowlevel.wait_writable(self._descriptor)
                    except trio.ClosedResourceError:
                        continue
                except OSError as error:
                    if error.errno != errno.EIO:
                        raise
                    raise Closed(f"{what} has closed its terminal") from None
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            trio.lowlevel.notify_closing(self._descriptor)
            os.close(self._descriptor)


def open_pseudoterminal(rows: int, columns: int) -> tuple[Screen, Keyboard, int]:
    """Our side of a new one, and the descriptor for the program that shall have it: close that once the program runs."""
    ours, theirs = os.openpty()
    try:
        os.set_blocking(ours, False)
        set_size(theirs, rows, columns)
        return Screen(ours), Keyboard(os.dup(ours)), theirs
    except BaseException:
        os.close(ours)
        os.close(theirs)
        raise


def set_size(descriptor: int, rows: int, columns: int) -> None:
    """Tell the programs in a terminal how large it is; they get SIGWINCH."""
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
