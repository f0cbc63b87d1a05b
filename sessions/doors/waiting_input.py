"""Input that a program has not read yet: in memory, and what is more in a file.

So a connection is read on while a program is not: what comes behind its input is heard at once, a signal or that the client has
gone. Only one that is ahead of its program by more than a disk should hold is made to wait.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import IO, Final, Self

import trio

from ..command import Command
from ..errors import SessionsError

MEMORY_BYTES: Final = 1 << 20
FILE_BYTES: Final = 1 << 30
PIECE_BYTES: Final = 1 << 16


class WaitingInput:
    """That of one program, for the length of a block."""

    def __init__(self, memory_bytes: int = MEMORY_BYTES, file_bytes: int = FILE_BYTES) -> None:
        self._memory_bytes = memory_bytes
        self._file_bytes = file_bytes
        self._pieces: deque[bytes] = deque()
        self._size = 0
        """Of the pieces, in bytes."""
        self._file: IO[bytes] | None = None
        self._begin = self._end = 0
        """Of what waits in the file, all of which comes behind the pieces."""
        self._is_complete = False
        self._was_added = trio.Event()
        self._was_taken = trio.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    async def add(self, data: bytes) -> None:
        """Returns when there is room for it."""
        while data and not self._keep(data):
            self._was_taken = trio.Event()
            await self._was_taken.wait()
        self._was_added.set()

    def complete(self) -> None:
        """There will be no more."""
        self._is_complete = True
        self._was_added.set()

    def _keep(self, data: bytes) -> bool:
        if self._begin == self._end and (not self._pieces or self._size + len(data) <= self._memory_bytes):
            self._pieces.append(data)
            self._size += len(data)
            return True
        return self._end + len(data) <= self._file_bytes and self._write(data)

    def _write(self, data: bytes) -> bool:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  closed with the block
            # With a full disk it is written once more, over what has been written of it.
            if os.pwrite(self._file.fileno(), data, self._end) < len(data):
                return False
        except OSError:
            return False
        self._end += len(data)
        return True

    def _take(self) -> bytes:
        """The next of it; nothing if there is none."""
        data = b""
        if self._pieces:
            data = self._pieces.popleft()
            self._size -= len(data)
        elif self._file is not None and self._begin < self._end:
            data = os.pread(self._file.fileno(), min(PIECE_BYTES, self._end - self._begin), self._begin)
            self._begin += len(data)
            if self._begin == self._end:
                self._begin = self._end = 0
                os.ftruncate(self._file.fileno(), 0)
        self._was_taken.set()
        return data

    async def feed(self, command: Command) -> None:
        """Write it to a program, and then its end, if that comes. What the program does not want is thrown away."""
        while True:
            while data := self._take():
                try:
                    await command.send_input(data)
                except SessionsError:
                    await trio.lowlevel.checkpoint()  # there may be much of it
            if self._is_complete:
                break
            self._was_added = trio.Event()
            await self._was_added.wait()
        with suppress(SessionsError):
            await command.close_input()
