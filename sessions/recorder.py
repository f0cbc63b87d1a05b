"""What happens to commands is written down here: first in the transcript, then in the catalog, then told to who waits.

A write that fails, because the disk is full or broken, is kept and tried again each second, and so is every write after
it, in their order. Meanwhile the session is *stalled*: nobody reads its commands' pipes, so they wait, and nothing is lost.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from .lifecycle import Outcome, finish
from .models import Limits
from .running import RunningCommand
from .store.catalog import Catalog
from .store.records import STDOUT
from .store.transcript import Transcript

RETRY_SECONDS: Final = 1.0


class Recorder:
    """Writes for one live session."""

    def __init__(
        self,
        transcript: Transcript,
        catalog: Catalog,
        limits: Limits,
        nursery: trio.Nursery,
        on_trouble: Callable[[str | None], None],
    ) -> None:
        self.transcript = transcript
        self._catalog = catalog
        self._limits = limits
        self._nursery = nursery
        self._on_trouble = on_trouble
        self._waiting: deque[Callable[[], None]] = deque()
        self._given_up = False
        self.caught_up = trio.Event()
        """Set while no write waits."""
        self.caught_up.set()

    @property
    def stalled(self) -> bool:
        return bool(self._waiting)

    def log(self, command: RunningCommand, kind: int, data: memoryview) -> None:
        """Append to a command's log. `data` is the caller's again afterwards."""
        # What is given up is given up by records: none may be a large part of what is to be kept.
        most = max(4096, self._limits.log_bytes // 16)
        for begin in range(0, len(data), most):
            self._log(command, kind, data[begin : begin + most])

    def _log(self, command: RunningCommand, kind: int, data: memoryview) -> None:
        if self._waiting:
            kept = bytes(data)
            self._waiting.append(lambda: self._append(command, kind, kept))
            return
        try:
            self._append(command, kind, data)
        except OSError as error:
            kept = bytes(data)
            self._stall(lambda: self._append(command, kind, kept), error)

    def _append(self, command: RunningCommand, kind: int, data: bytes | memoryview) -> None:
        command.last_seq = self.transcript.append(command.number, kind, data)
        if kind == STDOUT:
            command.stdout_bytes += len(data)
        else:
            command.stderr_bytes += len(data)
        if command.kept_bytes > self._limits.log_bytes:
            # The output itself is stored; a failure here is made up for by the next record.
            with contextlib.suppress(OSError):
                self._shorten(command)

    def _shorten(self, command: RunningCommand) -> None:
        # A sixteenth more than needed, so that it isn't done for each record.
        excess = command.kept_bytes - self._limits.log_bytes + self._limits.log_bytes // 16
        given_up, command.oldest_kept_seq = self.transcript.give_up(command.number, command.oldest_kept_seq, excess)
        command.dropped_bytes += given_up
        command.last_seq = self.transcript.records - 1

    def started(self, command: RunningCommand) -> None:
        """The command runs now; it is already in the catalog as queued."""
        command.begin()
        self.mark_started(command)
        self._write(lambda: self._catalog.start_command(command.info))

    def mark_started(self, command: RunningCommand) -> None:
        """Mark the start of a command that is in the catalog as running."""

        def mark() -> None:
            command.last_seq = self.transcript.mark_started(command.number)

        self._write(mark)

    def finished(self, command: RunningCommand, outcome: Outcome, then: Callable[[], None]) -> None:
        """The command is over and all its output is logged. Calls `then` when this is written."""

        def mark() -> None:
            command.last_seq = command.stored_seq = self.transcript.mark_finished(command.number, outcome)

        def tell() -> None:
            info = command.info
            over = finish(command.state, time.time(), outcome, f"command {command.id}")
            # The followers that the mark has woken run only after this function, and find it finished.
            command.state = over
            try:
                self._catalog.finish_command(command.info)
            except BaseException:
                command.state = info.state
                raise
            command.started.set()
            command.finished.set()
            then()

        self._write(mark)
        self._write(tell)

    def tell(self, write: Callable[[], None]) -> None:
        """Write something else, in its turn."""
        self._write(write)

    def give_up(self) -> None:
        """What waits is never written: its transcript is closed, or what it tells is not true any more."""
        self._given_up = True

    def close(self) -> None:
        """Nothing is written any more."""
        self.give_up()
        self.transcript.close()

    def _write(self, write: Callable[[], None]) -> None:
        if self._waiting:
            self._waiting.append(write)
            return
        try:
            write()
        except (OSError, sqlite3.DatabaseError) as error:
            self._stall(write, error)

    def _stall(self, write: Callable[[], None], error: Exception) -> None:
        if self._given_up:
            return  # nobody is left who could try it again
        self._waiting.append(write)
        self.caught_up = trio.Event()
        self._on_trouble(f"the log can't be written ({error}); tried again each second")
        self._nursery.start_soon(self._retry)

    async def _retry(self) -> None:
        while self._waiting:
            await trio.sleep(RETRY_SECONDS)
            if self._given_up:
                return
            try:
                while self._waiting:
                    self._waiting[0]()
                    self._waiting.popleft()
            except (OSError, sqlite3.DatabaseError):
                continue
        self.caught_up.set()
        self._on_trouble(None)
