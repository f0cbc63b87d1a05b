"""A user's terminal for tests: a pseudo-terminal with a program on it, and what that shows."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from command_line import SECONDS, CommandLine


class UserTerminal:
    """The user's side of it."""

    def __init__(self, rows: int, columns: int) -> None:
        self.ours, self.theirs = os.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.theirs)
        self.shown = b""
        self.process: subprocess.Popen[bytes]

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def own(self) -> None:
        """In the new process: signals of this terminal are for it."""
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def type(self, data: bytes) -> None:
        os.write(self.ours, data)

    def see(self, text: bytes) -> bytes:
        """All that is shown until this; what comes behind it is not looked at yet."""
        deadline = time.monotonic() + SECONDS
        while text not in self.shown:
            assert time.monotonic() < deadline, (text, self.shown)
            if select.select([self.ours], [], [], 0.1)[0]:
                self.shown += os.read(self.ours, 65536)
        found, _, self.shown = self.shown.partition(text)
        return found + text

    def rest(self) -> bytes:
        """What else is shown, when the program has ended."""
        self.process.wait(SECONDS)
        while select.select([self.ours], [], [], 0)[0]:
            self.shown += os.read(self.ours, 65536)
        return self.shown

    def end(self) -> int:
        """The exit code of the program. The terminal is what it was."""
        code = self.process.wait(SECONDS)
        assert termios.tcgetattr(self.theirs) == self.before
        return code

    def close(self) -> None:
        for descriptor in {self.ours, self.theirs} - {-1}:
            os.close(descriptor)


@contextmanager
def attached(
    cli: CommandLine, *arguments: str, rows: int = 30, columns: int = 100, env: Mapping[str, str] | None = None
) -> Iterator[UserTerminal]:
    """`sessions attach` on a terminal of its own."""
    terminal = UserTerminal(rows, columns)
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal.theirs)
    environ = {"TERM": "xterm-256color", **(env or {})}
    try:
        terminal.process = cli.start(
            "attach", *arguments, env=environ, start_new_session=True, preexec_fn=terminal.own, **streams
        )
        yield terminal
    finally:
        terminal.close()
