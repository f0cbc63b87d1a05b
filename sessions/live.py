"""A session that lives in this engine: its shell and the queue in front of it.

Commands are taken in the order in which they were submitted. A foreground command has the shell to itself; a background command
needs it only for as long as it takes to fork. Everything here happens in plain functions that the poller calls when a report
comes; only starting a shell waits.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import attrs
import trio

from .errors import Broken, Busy
from .hearing import Hearing
from .lifecycle import OPEN_STATES, SESSION_MOVES, Outcome, judge, move
from .models import SessionInfo
from .pumping import Pump
from .recorder import RETRY_SECONDS, Recorder
from .running import Order, RunningCommand
from .shell.script import Report
from .shells import Shells
from .stopping import continue_forked, stop_in_time, sweep_command
from .store.transcript import Transcript
from .workshop import Workshop

LOGGER: Final = logging.getLogger("sessions")


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
        self.starting: set[int] = set()
        """The numbers of background commands that the shell has been told to start and has not reported yet."""
        self.restarted = False
        """True from a restart until a result has told of it."""
        self.closing = False
        self.closed = trio.Event()
        self.abandoned = False
        """True once the engine's tasks have failed: nothing more will be told of it."""
        self.queue: deque[RunningCommand] = deque()
        self._on_unused = on_unused
        self._pump = Pump(workshop.poller, workshop.buffer, self.recorder, self._silent)
        self.shells = Shells(info, workshop, self._report, self._shell_ended)
        self._last_number = 0
        self._status = 0
        self._retrying = False
        self.hearing = Hearing()
        self._forked: set[int] = set()
        """Those of `starting` that have been forked: what comes of them is not the shell's business any more."""

    # Its state

    def set_state(self, event: str, *, closed_at: float | None = None, ended_by: str | None = None) -> None:
        state = move(SESSION_MOVES, self.info.state, event, f"session {self.info.name!r}")
        info = attrs.evolve(self.info, state=state, closed_at=closed_at, ended_by=ended_by, problem=None)
        self.info = info
        self.recorder.tell(lambda: self.workshop.catalog.update_session(info))

    def _trouble(self, problem: str | None) -> None:
        if self.info.state == ("open" if problem else "stalled"):
            event = "stall" if problem else "resume"
            state = move(SESSION_MOVES, self.info.state, event, f"session {self.info.name!r}")
            # Not into the catalog: that is on the disk that has the trouble.
            self.info = attrs.evolve(self.info, state=state, problem=problem)
        if problem:
            self._pump.pause(self.commands.values())
        else:
            for command in self.commands.values():
                self._pump.watch(command)
            self._advance()
            if self.closed.is_set():
                self.dispose_if_unused()

    async def open_shell(self) -> None:
        """Start the session's shell. `Broken` if that fails."""
        await self.shells.open()
        self._status = 0

    # Commands come

    def submit(self, order: Order) -> RunningCommand:
        """Take a command into the queue, or start it at once. Nothing is left of it if this raises."""
        if len(self.queue) >= self.workshop.limits.queued_commands:
            raise Busy(
                f"{len(self.queue)} commands wait in session {self.info.name!r} already: see Limits.queued_commands"
            )
        if self.recorder.stalled:
            raise Broken(f"session {self.info.name!r} takes no commands now: {self.info.problem}")
        assert self.shells.now is not None
        command = RunningCommand(self.info.id, self._last_number + 1, order, self.transcript.records)
        command.shell = self.shells.now
        at_once = order.in_shell and self._is_free and not self.starting and not self.queue
        try:
            if order.stdin:
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
        self.workshop.bell.ring()
        if at_once:
            self.recorder.mark_started(command)
            self._run(command)
        else:
            self.queue.append(command)
            self._advance()
        return command

    @property
    def _is_free(self) -> bool:
        return self.foreground is None and self.shells.takes_commands and not self.recorder.stalled

    def _advance(self) -> None:
        """Give the shell what it can take."""
        while self.queue and self._is_free and not (self.queue[0].in_shell and self.starting):
            command = self.queue.popleft()
            try:
                command.open_files(self._status)
            except Broken:
                # Out of descriptors, or out of memory: it has its place in the queue, and its turn when there are some.
                self.queue.appendleft(command)
                self._try_later()
                return
            if command.in_shell:
                self.recorder.started(command)
                self._run(command)
            else:
                assert self.shells.now is not None
                self._pump.watch(command)
                self.starting.add(command.number)
                self.shells.now.start(command.request, self._status)

    def _try_later(self) -> None:
        shell = self.shells.now
        if shell is not None and not shell.directory.exists():
            self._fail(FileNotFoundError(f"the run directory {shell.directory} was removed"))
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
        if self.shells.now is not None:
            self.shells.now.kill()

    def _run(self, command: RunningCommand) -> None:
        assert self.shells.now is not None
        self.foreground = command
        if not self.recorder.stalled:
            self._pump.watch(command)
        self.shells.now.run(command.request, self._status)
        self._watch_time(command)

    def _watch_time(self, command: RunningCommand) -> None:
        if command.order.timeout is not None or command.order.idle_timeout is not None:
            self._spawn(stop_in_time, command, self.workshop.census, self.workshop.limits.kill_grace_seconds)

    def is_queued(self, command: RunningCommand) -> bool:
        return command in self.queue

    def drop(self, command: RunningCommand, outcome: Outcome) -> None:
        """End a command that still waits in the queue."""
        self.queue.remove(command)
        self._end(command, outcome)

    def end_queue(self) -> None:
        """End all that waits for the shell, which ends."""
        outcome = Outcome("session_closed" if self.closing else "shell_died", None)
        while self.queue:
            self._end(self.queue.pop(), outcome)

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
            case "s" if command.number in self.starting:
                command.born(report.value)
                # Should its reporter be killed, the keeper tells how it ended.
                self.workshop.keeper.expect(report.value, lambda code: self._report(Report("e", command.number, code)))
                self._is_born(command)
                self.recorder.started(command)
                self._watch_time(command)
                self._advance()
            case "b" if command.number in self.starting and not report.value:
                self._forked.add(command.number)
                command.forked()
            case "b" if command.number in self.starting:
                # The shell could not fork.
                self._is_born(command)
                self._end(command, Outcome("shell_died", None))
            case "e":
                self._is_born(command)
                self._end(command, judge(report.value, command.asked, command.sent_signal))
            case "d" if command is self.foreground:
                self._status = report.value
                self.foreground = None
                self._end(command, judge(report.value, command.asked, command.sent_signal))

    def _is_born(self, command: RunningCommand) -> None:
        self.starting.discard(command.number)
        self._forked.discard(command.number)

    def _end(self, command: RunningCommand, outcome: Outcome) -> None:
        """A command has ended. In this order: all its output, the mark, the catalog, those who wait."""
        command.over.set()
        if self.recorder.stalled:
            self._spawn(self._end_later, command, outcome)
            return
        if command.leader is not None:
            self.workshop.keeper.forget(command.leader)
        command.ended()
        self._pump.drain(command)
        command.discard_files()
        self.recorder.finished(command, outcome, lambda: self._silent(command))
        self._advance()

    async def _end_later(self, command: RunningCommand, outcome: Outcome) -> None:
        await self.recorder.caught_up.wait()
        if not self.abandoned:
            self._end(command, outcome)

    def _silent(self, command: RunningCommand) -> None:
        """Its last pipe has ended, or it has: if both have, nothing more can come of it, and it is forgotten."""
        if not command.settled or command.number not in self.commands:
            return
        if command.last_seq > command.stored_seq:
            self._store_late(command)
        del self.commands[command.number]
        self.transcript.wake(command.number)
        self._dispose_shells()
        if self.closed.is_set():
            self.dispose_if_unused()

    def _store_late(self, command: RunningCommand) -> None:
        """What was logged after the end, for other engines and later ones."""
        command.stored_seq = command.last_seq
        self.recorder.tell(lambda: self.workshop.catalog.update_command_log(command.info))

    # The shell ends

    def _shell_ended(self, exit_code: int) -> None:
        culprit, self.foreground = self.foreground, None
        if culprit is not None:
            culprit.ended_shell = True
            outcome = judge(exit_code, culprit.asked, culprit.sent_signal)
            self._end(culprit, Outcome("shell_died", None) if self.hearing.is_mute(culprit) else outcome)
        unborn = [self.commands[number] for number in self.starting]
        self.starting.clear()
        self._forked.clear()
        for command in unborn:
            self._end(command, Outcome("session_closed" if self.closing else "shell_died", None))
            # It may be forked all the same.
            self._spawn(sweep_command, command.id, self.workshop.census, self.workshop.limits.kill_grace_seconds)
        self.end_queue()
        self._dispose_shells()
        if not self.closing and self.info.state in OPEN_STATES:
            self.set_state("shell_end", ended_by=culprit.id if culprit else None)

    def _dispose_shells(self) -> None:
        self.shells.dispose_earlier({command.shell for command in self.commands.values() if not command.is_over})

    def listen(self) -> None:
        """Called each second: look for what the reports and the pipes don't tell."""
        for command in self.hearing.find_lost(self.commands.values(), self._forked):
            self._is_born(command)
            self._end(command, Outcome(command.asked or "shell_died", None))
        for command in self.commands.values():
            if command.is_finished and command.last_seq > command.stored_seq:
                self._store_late(command)
        waiting = self.foreground or next((self.commands[number] for number in self.starting - self._forked), None)
        shell = self.shells.now
        if self.hearing.is_overdue(self._forked) and shell is not None:
            self._spawn(continue_forked, shell.pid, self.workshop.keeper.pid, self.workshop.census)
        if shell is None or not self.hearing.is_silent(shell, waiting):
            return
        assert waiting is not None
        if self.hearing.is_mute(waiting):
            LOGGER.error("session %s: its shell can't report how command %s ended: killed", self.info.name, waiting.id)
            shell.kill()
        elif waiting is self.foreground:
            shell.ask_again(waiting.request)  # an interrupt may have hit the report

    def dispose_if_unused(self) -> None:
        """After the close: let go of everything once the last detached command is finished, and all is written."""
        if not self.recorder.stalled and all(command.is_finished for command in self.commands.values()):
            self.dispose()

    def dispose(self) -> None:
        """Let go of everything."""
        for command in list(self.commands.values()):
            self._pump.close(command)
            self._silent(command)
        self.shells.dispose_earlier()
        if not self.transcript.closed:
            self.recorder.close()
            self._on_unused()
