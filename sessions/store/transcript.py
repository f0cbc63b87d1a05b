"""Writing one session's transcript. One writer, never two; the format is described in `records`."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ..lifecycle import Outcome
from .punch import punch_hole
from .reading import TranscriptReader
from .records import (
    DROPPED,
    GIVEN_UP,
    KIND_OFFSET,
    RECORD_BYTES,
    STARTED,
    STDERR,
    pack,
    pack_outcome,
)

EVERYBODY: Final = 0
"""Number under which one subscribes to all commands of a session; commands count from 1."""
WRITE_BYTES: Final = 1 << 16
"""Of one write. Larger ones want larger blocks of memory, which a virtual machine may first have to get back from its host: 1.5 GB
through a pipe to ext4 took 0.78 s in these and 0.80 s in 128 KiB, the slowest quarter over 0.93 and 1.26 s (16 rounds, in a
drawn order)."""


class Transcript:
    """The writing end of a session's log.

    A write that fails (disk full) raises `OSError` and counts as not done: the same call can simply be made again. So does one
    after `close`, when the descriptors' numbers may be another file's.
    """

    def __init__(self, session_id: str, directory: Path) -> None:
        """Open the log in `directory`, or begin one there."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._transcript = os.open(directory / "transcript", flags, 0o600)
        try:
            self._index = os.open(directory / "index", flags, 0o600)
        except BaseException:
            os.close(self._transcript)
            raise
        self.records = os.fstat(self._index).st_size // RECORD_BYTES
        self.size = os.fstat(self._transcript).st_size
        self.closed = False
        self._last_ns = self._read_last_time()
        self._holders = 0
        self._subscribers: defaultdict[int, list[Callable[[], None]]] = defaultdict(list)
        self.reader = TranscriptReader(session_id, self._index, self._transcript, lambda: (self.records, self.size))

    def _read_last_time(self) -> int:
        # The clock may have been set back since the last engine wrote here.
        last = os.pread(self._index, 8, max(0, self.records - 1) * RECORD_BYTES)
        return int.from_bytes(last, "little") if self.records else 0

    def append(self, number: int, kind: int, data: bytes | memoryview) -> int:
        """Log `data` as written by command `number`; its seq."""
        end = self.size + len(data)
        seq = self._write_record(number, kind, 0, end)
        written = 0
        while written < len(data):
            written += os.pwrite(self._transcript, data[written : written + WRITE_BYTES], self.size + written)
        self.size = end
        self.records += 1
        self.wake(number)
        return seq

    def mark(self, number: int, kind: int, value: int = 0) -> int:
        seq = self._write_record(number, kind, value, self.size)
        self.records += 1
        self.wake(number)
        return seq

    def mark_started(self, number: int) -> int:
        return self.mark(number, STARTED)

    def mark_finished(self, number: int, outcome: Outcome) -> int:
        return self.mark(number, *pack_outcome(outcome))

    def _write_record(self, number: int, kind: int, value: int, end: int) -> int:
        if self.closed:
            raise OSError(errno.EBADF, "the log is closed")
        # A clock that was set back must not disturb the order by time.
        self._last_ns = max(time.time_ns() // 1000 * 1000, self._last_ns)
        record = pack(self._last_ns, end, number, kind, value)
        if os.pwrite(self._index, record, self.records * RECORD_BYTES) != RECORD_BYTES:
            raise OSError(errno.ENOSPC, "no space for a whole index record")
        return self.records

    def give_up(self, number: int, seq: int, size: int) -> tuple[int, int]:
        """Free at least `size` of the oldest bytes of command `number`, looking from record `seq` on.

        Returns how many bytes were given up, and the record after the last one touched. The records are flagged before
        their bytes go, so a reader never takes zeros for output.
        """
        freed = 0
        doomed = []
        for span in self.reader.spans(seq, self.records):
            if freed >= size:
                break
            seq = span.seq + 1
            if span.number == number and span.kind <= STDERR and span.value != GIVEN_UP:
                doomed.append(span)
                freed += span.end - span.begin
        for span in doomed:
            record = pack(span.time_ns, span.end, number, span.kind, GIVEN_UP)
            os.pwrite(self._index, record[KIND_OFFSET:], span.seq * RECORD_BYTES + KIND_OFFSET)
        begin = end = -1
        for span in doomed:
            if span.begin != end:
                punch_hole(self._transcript, begin, end)
                begin = span.begin
            end = span.end
        punch_hole(self._transcript, begin, end)
        if freed:
            with contextlib.suppress(OSError):  # what is gone is gone: it is told by the flags, too
                self.mark(number, DROPPED)
        return freed, seq

    def subscribe(self, number: int, wake: Callable[[], None]) -> None:
        """Call `wake` after each record of command `number` (`EVERYBODY`: of any command), and at the close."""
        self._subscribers[number].append(wake)

    def unsubscribe(self, number: int, wake: Callable[[], None]) -> None:
        wakes = self._subscribers[number]
        wakes.remove(wake)
        if not wakes:
            del self._subscribers[number]

    def wake(self, number: int) -> None:
        """Call those who subscribed to this command."""
        if not self._subscribers:
            return
        for wake in self._subscribers.get(number, ()):
            wake()
        for wake in self._subscribers.get(EVERYBODY, ()):
            wake()

    def hold(self) -> TranscriptReader:
        """A reader that stays usable after `close`, until `release`."""
        self._holders += 1
        return self.reader

    def release(self) -> None:
        self._holders -= 1
        self._close_files_if_unused()

    def close(self) -> None:
        """Nothing more will be written here. Wakes all subscribers."""
        if self.closed:
            return
        self.closed = True
        for wakes in list(self._subscribers.values()):
            for wake in wakes:
                wake()
        self._close_files_if_unused()

    def _close_files_if_unused(self) -> None:
        if self.closed and not self._holders:
            os.close(self._index)
            os.close(self._transcript)
