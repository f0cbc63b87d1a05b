"""One command between its submission and its end: what is known of it, and the pipes through which it speaks."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping

import attrs
import trio

from .errors import Broken, Closed
from .ids import command_id
from .lifecycle import CommandState, Finished, Queued, Reason, start
from .models import CommandInfo
from .shell.pipes import InputPipe, OutputPipe
from .shell.pseudoterminal import Screen
from .shell.script import Request
from .shell.shell import Shell
from .store.records import STDERR, STDOUT


@attrs.frozen(kw_only=True)
class Order:
    """What is asked for: a command before it has an id. Its values have been checked."""

    text: str
    in_shell: bool
    labels: Mapping[str, str]
    env: Mapping[str, str]
    cwd: str | None
    stdin: bool
    """Whether it gets a stdin that can be written to."""
    timeout: float | None
    """Seconds from its start."""
    idle_timeout: float | None
    """Seconds without output."""
    detached: bool


class RunningCommand:
    """A command of a live session. Only its session's `LiveSession` and `Recorder` change it."""

    def __init__(self, session_id: str, number: int, order: Order, first_seq: int) -> None:
        self.id = command_id(session_id, number)
        self.number = number
        self.order = order
        self.in_shell = order.in_shell
        self.state: CommandState = Queued(time.time())
        self.request = Request(number, self.id, order.env, order.cwd, order.stdin)
        self.finished = trio.Event()
        self.over = trio.Event()
        """Set when its shell has reported its end; it is *finished* once that is written down, too."""
        self.started = trio.Event()
        """Set when it has started, and also when it ended without."""
        self.shell: Shell | None = None
        """The shell that was told to run it."""
        self.leader: int | None = None
        """The pid that the shell reported for it, if it runs beside the shell."""
        self.asked: Reason | None = None
        """Why we are ending it."""
        self.forked_at: float | None = None
        """When its shell had forked it, if it runs beside that; on trio's clock."""
        self.sent_signal: int | None = None
        """The last signal that we sent it."""
        self.end_signal = signal.SIGTERM
        """What it is asked to end by before it is killed."""
        self.ended_shell = False
        self.last_output_at = 0.0
        """On trio's clock."""
        self.stdout_bytes = self.stderr_bytes = self.dropped_bytes = 0
        self.first_seq = self.last_seq = self.oldest_kept_seq = first_seq
        self.stored_seq = first_seq
        """The last record that the catalog knows of, once it is finished."""
        self.pipes: dict[int, OutputPipe | Screen] = {}
        self.input: InputPipe | None = None
        self.session_id = session_id

    @property
    def info(self) -> CommandInfo:
        return CommandInfo(
            id=self.id,
            session_id=self.session_id,
            number=self.number,
            text=self.order.text,
            in_shell=self.in_shell,
            labels=self.order.labels,
            state=self.state,
            first_seq=self.first_seq,
            last_seq=self.last_seq,
            stdout_bytes=self.stdout_bytes,
            stderr_bytes=self.stderr_bytes,
            dropped_bytes=self.dropped_bytes,
            detached=self.order.detached,
        )

    @property
    def is_finished(self) -> bool:
        return isinstance(self.state, Finished)

    @property
    def is_over(self) -> bool:
        return self.over.is_set()

    @property
    def owns_group(self) -> bool:
        """True if `leader` is also the number of a process group of its own."""
        return not self.in_shell and self.shell is not None and self.shell.dialect.own_group

    @property
    def kept_bytes(self) -> int:
        return self.stdout_bytes + self.stderr_bytes - self.dropped_bytes

    @property
    def settled(self) -> bool:
        """True once nothing can write to its log any more."""
        return self.is_finished and not self.pipes

    def deadline(self, started_at: float) -> float:
        """When it is to be ended, as things are now; on trio's clock, as is `started_at`."""
        timeout, idle_timeout = self.order.timeout, self.order.idle_timeout
        overall = started_at + (timeout if timeout is not None else float("inf"))
        silent = self.last_output_at + (idle_timeout if idle_timeout is not None else float("inf"))
        return min(overall, silent)

    def forked(self) -> None:
        """The reporter of a command beside the shell lives. Where it holds the command's stderr, nobody else needs to."""
        self.forked_at = trio.current_time()
        if self.shell is not None and self.shell.dialect.holds_by is not None:
            self._let_go(STDERR)

    def born(self, leader: int) -> None:
        """A command beside the shell has started, as process `leader`, which holds its stderr."""
        self.leader = leader
        self._let_go(STDERR)

    def ended(self) -> None:
        """Its shell has reported its end. What is still written comes from who was left behind."""
        self._let_go(STDOUT)
        self._let_go(STDERR)

    def let_go(self) -> None:
        """In a forked child: close our copies of what has an end only once nobody holds it."""
        self.ended()
        if self.input is not None:
            self.input.let_go()

    def _let_go(self, kind: int) -> None:
        pipe = self.pipes.get(kind)
        if isinstance(pipe, OutputPipe):
            pipe.let_go()

    def open_input(self) -> None:
        """Make the FIFO of its stdin, which takes input even while the command still waits in the queue."""
        self.input = InputPipe(self._path() + "i")

    def begin(self) -> None:
        """It runs from now on."""
        self.state = start(self.state, time.time(), f"command {self.id}")
        self.last_output_at = trio.current_time()
        self.started.set()

    def open_files(self, status: int) -> None:
        """Make its files and the FIFOs of its output in the shell's run directory. `Broken` if that fails; then none is left.

        `status` is what it shall find in ``$?``.
        """
        path = self._path()
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as file:
                file.write(self.order.text.encode())
                if self.order.text.endswith("\\"):
                    file.write(b"\n")  # at the end of a script, it joins on nothing; sourced, it would be printed
            if not self.in_shell:
                assert self.shell is not None
                self.shell.write_starter(self.request, status)
            self.pipes[STDOUT] = OutputPipe(path + "o")
            self.pipes[STDERR] = OutputPipe(path + "e")
        except OSError as error:
            # It keeps its stdin, which may hold input already: if it waits in the queue, its turn comes again.
            self._close_pipes()
            self._unlink("", "o", "e", "b")
            raise Broken(
                f"command {self.id} can't be started: {error}; if descriptors have run out, raise `ulimit -n`"
            ) from error

    def _path(self) -> str:
        assert self.shell is not None
        return self.shell.path(self.number)

    async def feed(self, data: bytes) -> None:
        """Write `data` to its stdin, then close that. A command that reads less than all is no error."""
        if self.input is not None:
            with contextlib.suppress(Closed):
                await self.input.send(data, f"command {self.id}")
            self.input.finish()

    def discard_files(self) -> None:
        """Remove what lies in the run directory, and close its stdin. Output pipes stay open for those who still write."""
        self._unlink("", "o", "e", *([] if self.in_shell else ["b"]))
        if self.input is not None:
            self.input.close()
            self._unlink("i")

    def _unlink(self, *suffixes: str) -> None:
        for suffix in suffixes:
            with contextlib.suppress(OSError):
                os.unlink(self._path() + suffix)

    def discard(self) -> None:
        """Undo what was made for a command that doesn't come about."""
        self._close_pipes()
        self.discard_files()

    def _close_pipes(self) -> None:
        for pipe in self.pipes.values():
            pipe.close()
        self.pipes.clear()
