"""The run directory, and the FIFOs through which one command's bytes come and go."""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
import secrets
import stat
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from ..errors import Broken, Closed
from .poller import WRITABLE, Poller

BIG_PIPE_BYTES: Final = 1 << 20
"""What a pipe grows to once a read has filled it: the most that an unprivileged user may have by default."""
DEFAULT_PIPE_BYTES: Final = 1 << 16


def make_run_directory(root: Path) -> Path:
    """A private directory in memory for FIFOs and texts: an inode costs 8 µs there, 400 µs on ext4.

    ``$XDG_RUNTIME_DIR``, else ``/dev/shm``, else below `root`.
    """
    bases = [root / "run"]
    shared_memory = Path("/dev/shm")
    if os.access(shared_memory, os.W_OK):
        bases.insert(0, shared_memory / f"sessions-{os.getuid()}")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_absolute() and os.access(runtime, os.W_OK):
        bases.insert(0, Path(runtime) / "sessions")
    for base in bases:
        if not base.as_posix().replace("/", "").replace("-", "").replace("_", "").replace(".", "").isalnum():
            continue  # it is written into control lines as it is
        with contextlib.suppress(OSError):
            base.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = base.lstat()
            # /dev/shm is open to all: what lies there must be ours alone.
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077:
                directory = base / secrets.token_hex(3)
                directory.mkdir(mode=0o700)
                return directory
    raise Broken(
        f"no place for the run directory: none of {', '.join(map(str, bases))} can be written by this user alone"
    )


def unread_bytes(descriptor: int) -> int:
    """How much lies in this pipe."""
    size = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, size)
    return size[0]


class OutputPipe:
    """The reading end of a command's stdout or stderr.

    A writing end is *held* beside it until bytes come, or it is let go of. Else the command's opening of the FIFO would wake
    the poller, in whose kernel's list the pipes would then stand in the order in which they were opened, or found to be empty;
    so they stand in the order in which they were first written to.
    """

    def __init__(self, path: str) -> None:
        os.mkfifo(path, 0o600)
        self.path = path
        self._held: int | None = None
        try:
            self.descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                self._held = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except BaseException:
                os.close(self.descriptor)
                raise
        except BaseException:
            os.unlink(path)
            raise
        self._big = False

    def read_into(self, buffer: bytearray) -> int | None:
        """How many bytes came; 0 at the end; None if there is nothing now."""
        try:
            size = os.readv(self.descriptor, [buffer])
        except BlockingIOError:
            return None
        if self._held is not None:
            self.let_go()
        if size >= DEFAULT_PIPE_BYTES and not self._big:
            self._big = True
            # Over the user's quota of pipe memory: then it stays as it is.
            with contextlib.suppress(OSError):
                fcntl.fcntl(self.descriptor, fcntl.F_SETPIPE_SZ, BIG_PIPE_BYTES)
        return size

    def let_go(self) -> None:
        """Hold no writing end any more: somebody else does by now, or nobody ever will."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def close(self) -> None:
        self.let_go()
        os.close(self.descriptor)


class InputPipe:
    """The writing end of a command's stdin."""

    def __init__(self, path: str) -> None:
        os.mkfifo(path, 0o600)
        self._path = path
        try:
            # For reading too, so that the shell's open doesn't block; given up once the shell has opened it.
            self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except BaseException:
            os.unlink(path)
            raise
        self._opened = False
        self._closing = False
        self._lock = trio.Lock()
        self.closed = False

    def opened(self) -> None:
        """The command has opened it: from now on only the command reads."""
        if self._opened or self.closed:
            return
        self._opened = True
        with contextlib.suppress(OSError):
            both_ways = self._descriptor
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            trio.lowlevel.notify_closing(both_ways)  # a task that waits for room there goes on with the new one
            os.close(both_ways)
        if self._closing:
            self.close()

    async def send(self, data: bytes, what: str, took: Callable[[memoryview], None] | None = None) -> None:
        """Write all of `data`; waits while the pipe is full. `Closed` if the command reads no more.

        `took` is called with each part at once when it is in the pipe: what the command answers to it is read later.
        """
        view = memoryview(data)
        async with self._lock:
            while True:
                if self.closed or self._closing:
                    raise Closed(f"the input of {what} is closed")
                try:
                    size = os.write(self._descriptor, view)
                    if took is not None:
                        took(view[:size])
                    view = view[size:]
                except BlockingIOError:
                    with contextlib.suppress(trio.ClosedResourceError):
                        await trio.lowlevel.wait_writable(self._descriptor)
                except BrokenPipeError:
                    raise Closed(f"{what} has closed its stdin") from None
                if not view:
                    break
        await trio.lowlevel.checkpoint()

    def finish(self) -> None:
        """End of input, once the command has opened it and what was sent before is in the pipe."""
        self._closing = True
        if self._opened:
            self.close()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            trio.lowlevel.notify_closing(self._descriptor)
            os.close(self._descriptor)

    def let_go(self) -> None:
        """In a forked child: close our copy. The command would wait for that, too, to find the end of its input."""
        if not self.closed:
            self.closed = True
            os.close(self._descriptor)


READ_CALLS: Final = {"x86_64": "0", "aarch64": "63", "riscv64": "63"}
"""The number of the system call read(2)."""


class ControlPipe:
    """The writing end of a shell's stdin. Keeps what the pipe can't take yet."""

    def __init__(self, poller: Poller, on_broken: Callable[[], None]) -> None:
        self._poller = poller
        self._on_broken = on_broken
        self.shell_end, self._descriptor = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._descriptor, False)
        self._rest = bytearray()
        self._watched = False
        self.closed = False

    def close_shell_end(self) -> None:
        """Call once the shell has it."""
        os.close(self.shell_end)

    def send(self, text: str) -> None:
        if self.closed:
            return
        self._rest += text.encode("utf-8", "surrogateescape")
        self._flush()

    def _flush(self) -> None:
        try:
            while self._rest:
                del self._rest[: os.write(self._descriptor, self._rest)]
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.EPIPE:
                raise
            self._rest.clear()
            self._on_broken()
        if bool(self._rest) != self._watched and not self.closed:
            self._watched = not self._watched
            if self._watched:
                self._poller.watch(self._descriptor, self._flush, WRITABLE)
            else:
                self._poller.forget(self._descriptor)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            if self._watched:
                self._poller.forget(self._descriptor)
            os.close(self._descriptor)

    def let_go(self) -> None:
        """In a forked child: close our copy. The shell would wait for that, too, to find the end of its input."""
        if not self.closed:
            self.closed = True
            os.close(self._descriptor)

    def is_awaited_by(self, pid: int) -> bool:
        """Whether this process sits in a read of this pipe, and there is nothing in it. False where the kernel doesn't tell."""
        if self.closed or self._rest:
            return False
        if unread_bytes(self._descriptor):
            return False
        try:
            with open(f"/proc/{pid}/syscall") as file:
                call, first_argument, *_ = [*file.read().split(), "", ""]
            if call != READ_CALLS.get(os.uname().machine):
                return False
            return os.stat(f"/proc/{pid}/fd/{int(first_argument, 16)}").st_ino == os.fstat(self._descriptor).st_ino
        except (OSError, ValueError):
            return False
