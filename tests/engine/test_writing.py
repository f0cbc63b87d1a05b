"""Output on its way from a pipe into the log, when that can't be written."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

import sessions
from sessions import recorder, workshop
from sessions.shell.pipes import OutputPipe
from sessions.store.records import STDOUT
from sessions.store.transcript import Transcript

SIZE_BYTES = 60_000
"""Of an output that fits into a pipe."""
READ_BYTES = 4096


def test_a_closed_log_is_written_no_more(tmp_path: Path) -> None:
    log = Transcript("k3v9x2m4ab", tmp_path / "log")
    log.append(1, STDOUT, b"first\n")
    log.close()
    others = [os.open(tmp_path / name, os.O_RDWR | os.O_CREAT) for name in ("a", "b")]  # the numbers are free again
    try:
        for write in (lambda: log.append(1, STDOUT, b"second\n"), lambda: log.mark_started(2)):
            with pytest.raises(OSError, match="closed"):
                write()
        assert [os.fstat(other).st_size for other in others] == [0, 0]
    finally:
        for other in others:
            os.close(other)
    assert (tmp_path / "log/transcript").read_bytes() == b"first\n"


async def test_a_pipe_is_left_alone_from_the_first_failed_write_on(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read must be kept in memory then: one read, of a command that might write for ever."""
    append, read_into = Transcript.append, OutputPipe.read_into
    sizes: list[int] = []
    read_since = 0

    def fail_once(self: Transcript, number: int, kind: int, data: bytes | memoryview) -> int:
        sizes.append(len(data))
        while not (tmp_path / "written").exists():
            time.sleep(0.001)  # what is left of the output is in the pipe then
        if len(sizes) == 2:
            raise OSError(errno.ENOSPC, "no space")
        return append(self, number, kind, data)

    def read(self: OutputPipe, buffer: bytearray) -> int | None:
        nonlocal read_since
        size = read_into(self, buffer)
        if session.state == "stalled":
            read_since += size or 0
        return size

    monkeypatch.setattr(Transcript, "append", fail_once)
    monkeypatch.setattr(OutputPipe, "read_into", read)
    monkeypatch.setattr(recorder, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(workshop, "READ_BYTES", READ_BYTES)  # less than is there: each read takes all it can
    async with sessions.open_engine(root) as engine:
        session = await engine.create_session(cwd=tmp_path)
        command = await (await session.run_async(f"head -c {SIZE_BYTES} /dev/zero; : > written")).wait()
        assert sizes[1] == READ_BYTES
        assert read_since == 0
        assert (await command.logs()).stdout == bytes(SIZE_BYTES)
