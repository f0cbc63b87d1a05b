"""A session that lives in this engine: its shell and the queue in front of it.

Commands are taken in the order in which they were submitted. A foreground command has the shell to itself; a background command
needs it only for as long as it takes to fork. Everything here happens in plain functions that the poller calls when a report
comes; only starting a shell waits.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import attrs
import trio

from .errors import Broken, Busy, Closed
from .lifecycle import SESSION_MOVES, Outcome, Queued, judge, move
from .models import Limits, SessionInfo
from .pumping import Pump
from .recorder import RETRY_SECONDS, Recorder
from .running import RunningCommand
from .shell.keeper import Keeper
from .shell.poller import Poller
from .shell.script import DIALECTS, Report
from .shell.shell import Shell
from .stopping import Census, stop
from .store.catalog import Catalog
from .store.transcript import Transcript

LOGGER: Final = logging.getLogger("sessions")
FINAL_STATES: Final = ("closed", "lost")
READ_BYTES: Final = 1 << 18
"""The most that one read takes: it stays in a core's cache on its way to the log, which a megabyte doesn't."""


@attrs.frozen
class Workshop:
    """What all live sessions of an engine share."""

    catalog: Catalog
    poller: Poller
    keeper: Keeper
    census: Census
    limits: Limits
    nursery: trio.Nursery
    run_directory: Path
    open_files: int
    """The soft limit of descriptors that shells get."""
    buffer: bytearray = attrs.field(factory=lambda: bytearray(READ_BYTES))
    """All pipes are read into this one: fresh memory for each read would cost more than the read."""


class LiveSession:
    """One session while it has an owner."""

    def __init__(self, info: SessionInfo, directory: Path, workshop: Workshop, on_unused: Callable[[], None]) -> None:
        self.info = info
        self.workshop = workshop
        self.transcript = Transcript(info.id, directory)
        self.recorder = Recorder(self.transcript, workshop.catalog, workshop.limits, workshop.nursery, self._trouble)
        self.commands: dict[int, RunningCommand] = {}
        """All from which something can still come, by number."""
        self.foreground: RunningCommand | None = None
        """The one that has the shell to itself."""
        self.restarted = False
        """True from a restart until a result has told of it."""
        self.closing = False
        self.closed = trio.Event()
        self._on_unused = on_unused
        self._pump = Pump(workshop.poller, workshop.buffer, self.recorder, self._silent)
        self._shell: Shell | None = None
        self._old_shells: list[Shell] = []
        self._shells = 0
        self._queue: deque[RunningCommand] = deque()
        self._starting: set[int] = set()
        self._last_number = 0
        self._status = 0
        self._retrying = False
        self.shell_lock = trio.Lock()
        """Held while the shell is started or ended."""

    # Its state

    def set_state(self, event: str, *, closed_at: float | None = None, ended_by: str | None = None) -> None:
        state = move(SESSION_MOVES, self.info.state, event, f"session {self.info.name!r}")
        info = attrs.evolve(self.info, state=state, closed_at=closed_at, ended_by=ended_by, problem=None)
        self.info = info
        self.recorder.tell(lambda: self.workshop.catalog.update_session(info))

    def _trouble(self, problem: str | None) -> None:
        if self.info.state in ("open", "stalled"):
            # Not into the catalog: that is on the disk that has the trouble.
            self.info = attrs.evolve(self.info, state="stalled" if problem else "open", problem=problem)
        if problem:
            self._pump.pause(self.commands.values())
        else:
            for command in self.commands.values():
                self._pump.watch(command)
            self._advance()

    async def ensure_shell(self) -> None:
        """Raise `Closed` if the shell has ended; restart it if the session was created so."""
        if self.closing or self.info.state in FINAL_STATES:
            raise Closed(
                f"session {self.info.name!r} ({self.info.id}) is closed: create another one; its logs stay readable"
            )
        if self.info.state != "ended":
            return
        if self.info.restart:
            await self.restart(only_if_ended=True)
            return
        by = f"command {self.info.ended_by} ended it" if self.info.ended_by else "it was ended from outside"
        raise Closed(
            f"session {self.info.name!r} has no shell: {by}; call restart() for a fresh one, or create_session(restart=True)"
        )

    async def restart(self, only_if_ended: bool = False) -> None:
        """A fresh shell under the same session. One that still lives is ended first."""
        async with self.shell_lock:
            if self.closing or self.info.state in FINAL_STATES:
                raise Closed(f"session {self.info.name!r} ({self.info.id}) is closed: create another one")
            if only_if_ended and self._shell is not None:
                return
            for number in list(self._starting):  # about to be forked: they go on
                await self.commands[number].started.wait()
            if self._shell is not None:
                self._shell.kill()
                await self._shell.exited.wait()
            await self.open_shell()
            self.restarted = True
            self.set_state("restart")

    async def open_shell(self) -> None:
        """Start the session's shell. `Broken` if that fails."""
        self._shells += 1
        shop, info = self.workshop, self.info
        shell = await Shell.open(
            DIALECTS[info.shell],
            info.id,
            shop.run_directory / f"{info.id}.{self._shells}",
            info.cwd,
            info.env,
            shop.poller,
            shop.keeper,
            self._report,
            self._shell_exited,
            shop.open_files,
        )
        self._shell = shell
        self._status = 0

    @property
    def shell_pid(self) -> int | None:
        return self._shell.pid if self._shell else None

    def working_directory(self) -> str:
        """Where the shell is now."""
        try:
            return os.readlink(f"/proc/{self.shell_pid}/cwd")
        except OSError:
            return self.info.cwd

    # Commands come

    def submit(
        self,
        text: str,
        *,
        in_shell: bool,
        labels: Mapping[str, str],
        env: Mapping[str, str],
        cwd: str | None,
        stdin: bool,
        timeout: float | None,
        idle_timeout: float | None,
        detached: bool,
    ) -> RunningCommand:
        """Take a checked command into the queue, or start it at once. Nothing is left of it if this raises."""
        if len(self._queue) >= self.workshop.limits.queued_commands:
            raise Busy(
                f"{len(self._queue)} commands wait in session {self.info.name!r} already: see Limits.queued_commands"
            )
        if self.recorder.stalled:
            raise Broken(f"session {self.info.name!r} takes no commands now: {self.info.problem}")
        assert self._shell is not None
        command = RunningCommand(
            self.info.id,
            self._last_number + 1,
            text,
            in_shell=in_shell,
            labels=labels,
            state=Queued(time.time()),
            first_seq=self.transcript.records,
            env=env,
            cwd=cwd,
            stdin=stdin,
            timeout=timeout,
            idle_timeout=idle_timeout,
            detached=detached,
        )
        command.shell = self._shell
        at_once = in_shell and self._is_free and not self._starting and not self._queue
        try:
            if stdin:
                command.open_input()
            if at_once:
                command.open_files(self._status)
                # Stored as running: one transaction instead of two.
                command.begin()
            self.workshop.catalog.add_command(command.info)
        except BaseException as error:
            command.discard()
            if isinstance(error, OSError | sqlite3.DatabaseError):
                raise Broken(f"session {self.info.name!r} can't take the command: {error}") from error
            raise
        self._last_number += 1
        self.commands[command.number] = command
        if at_once:
            self.recorder.mark_started(command)
            self._run(command)
        else:
            self._queue.append(command)
            self._advance()
        return command

    @property
    def _is_free(self) -> bool:
        return self.foreground is None and self._shell is not None and not self.recorder.stalled

    def _advance(self) -> None:
        """Give the shell what it can take."""
        while self._queue and self._is_free and not (self._queue[0].in_shell and self._starting):
            command = self._queue.popleft()
            try:
                command.open_files(self._status)
            except Broken:
                # Out of descriptors, or out of memory: it has its place in the queue, and its turn when there are some.
                self._queue.appendleft(command)
                self._try_later()
                return
            if command.in_shell:
                self.recorder.started(command)
                self._run(command)
            else:
                assert self._shell is not None
                self._pump.watch(command)
                self._starting.add(command.number)
                self._shell.start(command.request, self._status)

    def _try_later(self) -> None:
        if self._shell is not None and not self._shell.directory.exists():
            self._fail(FileNotFoundError(f"the run directory {self._shell.directory} was removed"))
        elif not self._retrying:
            self._retrying = True
            self._spawn(self._advance_later)

    async def _advance_later(self) -> None:
        await trio.sleep(RETRY_SECONDS)
        self._retrying = False
        self._advance()

    def _spawn(self, function: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Run a task of this session's. Its failure is this session's, not the engine's."""

        async def guarded() -> None:
            try:
                await function(*arguments)
            except Exception as error:
                self._fail(error)

        self.workshop.nursery.start_soon(guarded)

    def _fail(self, error: Exception) -> None:
        """Something went wrong that must not: give up the shell, so that whoever waits here gets an answer."""
        LOGGER.error("session %s (%s) failed", self.info.name, self.info.id, exc_info=error)
        self.info = attrs.evolve(self.info, problem=f"{type(error).__name__}: {error}")
        if self._shell is not None:
            self._shell.kill()

    def _run(self, command: RunningCommand) -> None:
        assert self._shell is not None
        self.foreground = command
        if not self.recorder.stalled:
            self._pump.watch(command)
        self._shell.run(command.request, self._status)
        self._watch_time(command)

    def _watch_time(self, command: RunningCommand) -> None:
        if command.timeout is not None or command.idle_timeout is not None:
            self._spawn(self._end_in_time, command)

    async def _end_in_time(self, command: RunningCommand) -> None:
        started_at = trio.current_time()
        while not command.is_over:
            until = command.deadline(started_at)
            if trio.current_time() >= until:
                await stop(command, self.workshop.census, "timeout", self.workshop.limits.kill_grace_seconds)
                return
            with trio.move_on_at(until):
                await command.over.wait()

    def is_queued(self, command: RunningCommand) -> bool:
        return command in self._queue

    def drop(self, command: RunningCommand, outcome: Outcome) -> None:
        """End a command that still waits in the queue."""
        self._queue.remove(command)
        self._end(command, outcome)

    # Reports come

    def _report(self, report: Report) -> None:
        try:
            self._take_report(report)
        except Exception as error:
            self._fail(error)

    def _take_report(self, report: Report) -> None:
        command = self.commands.get(report.number)
        if command is None or command.is_over:
            return
        match report.kind:
            case "o":
                if command.input is not None:
                    command.input.opened()
            case "s" if command.number in self._starting:
                command.leader = report.value
                # Should its reporter be killed, the keeper tells how it ended.
                number = report.number
                self.workshop.keeper.expect(report.value, lambda code: self._report(Report("e", number, code)))
                self._starting.discard(command.number)
                self.recorder.started(command)
                self._watch_time(command)
                self._advance()
            case "b" if report.value and command.number in self._starting:
                # The shell could not fork.
                self._starting.discard(command.number)
                self._end(command, Outcome("shell_died", None))
            case "e":
                self._starting.discard(command.number)
                self._end(command, judge(report.value, command.asked, command.sent_signal))
            case "d" if command is self.foreground:
                self._status = report.value
                self.foreground = None
                self._end(command, judge(report.value, command.asked, command.sent_signal))

    def _end(self, command: RunningCommand, outcome: Outcome) -> None:
        """A command has ended. In this order: all its output, the mark, the catalog, those who wait."""
        command.over.set()
        if self.recorder.stalled:
            self._spawn(self._end_later, command, outcome)
            return
        if command.leader is not None:
            self.workshop.keeper.forget(command.leader)
        self._pump.drain(command)
        command.discard_files()
        self.recorder.finished(command, outcome, lambda: self._silent(command))
        self._advance()

    async def _end_later(self, command: RunningCommand, outcome: Outcome) -> None:
        await self.recorder.caught_up.wait()
        self._end(command, outcome)

    def _silent(self, command: RunningCommand) -> None:
        """Its last pipe has ended, or it has: if both have, nothing more can come of it, and it is forgotten."""
        if not command.settled or command.number not in self.commands:
            return
        if command.has_late_output:
            self.recorder.tell(lambda: self.workshop.catalog.update_command_log(command.info))
        del self.commands[command.number]
        self.transcript.wake(command.number)
        self._dispose_old_shells()
        if self.closed.is_set():
            self.dispose_if_unused()

    # The shell ends

    def _shell_exited(self, shell: Shell, exit_code: int) -> None:
        if shell is not self._shell:
            return
        self._shell = None
        self._old_shells.append(shell)
        culprit, self.foreground = self.foreground, None
        if culprit is not None:
            culprit.ended_shell = True
            self._end(culprit, judge(exit_code, culprit.asked, culprit.sent_signal))
        never_started = [*(self.commands[number] for number in self._starting), *self._queue]
        self._starting.clear()
        self._queue.clear()
        for command in never_started:
            self._end(command, Outcome("session_closed" if self.closing else "shell_died", None))
        self._dispose_old_shells()
        if not self.closing and self.info.state not in FINAL_STATES:
            self.set_state("shell_end", ended_by=culprit.id if culprit else None)

    def _dispose_old_shells(self) -> None:
        """A shell that has ended still carries the reports of its background commands; the last one lets it go."""
        for shell in self._old_shells[:]:
            if not any(command.shell is shell and not command.is_over for command in self.commands.values()):
                self._old_shells.remove(shell)
                shell.dispose()

    async def end_shell(self, patience: float) -> None:
        """Let the shell end by itself, its EXIT trap included; kill it after `patience` seconds."""
        shell = self._shell
        if shell is None:
            return
        shell.end_input()
        with trio.move_on_after(patience):
            await shell.exited.wait()
        shell.kill()
        await shell.exited.wait()

    def dispose_if_unused(self) -> None:
        """After the close: let go of everything once the last detached command is over."""
        if all(command.is_over for command in self.commands.values()):
            self.dispose()

    @property
    def is_written(self) -> bool:
        """Whether nothing waits to be written, so that a later engine finds all there was."""
        return not self.recorder.stalled

    def dispose(self) -> None:
        """Let go of everything."""
        for command in list(self.commands.values()):
            self._pump.close(command)
            self._silent(command)
        for shell in self._old_shells:
            shell.dispose()
        self._old_shells.clear()
        if not self.transcript.closed:
            self.transcript.close()
            self._on_unused()
