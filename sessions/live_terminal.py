"""A terminal that lives in this engine: a session with a single command, which has a pseudo-terminal instead of pipes."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import NoReturn

from .closing import close_session
from .errors import Broken, Conflict
from .lifecycle import judge
from .live import LiveSession
from .running import Order, RunningCommand
from .shell.processes import COMMAND_MARK, SESSION_MARK
from .shell.pseudoterminal import Keyboard, Screen, open_pseudoterminal, set_size
from .store.records import STDOUT


class RunningTerminal(RunningCommand):
    """Its command."""

    keyboard: Keyboard | None = None

    def discard_files(self) -> None:
        """It has none; but nobody can type any more."""
        if self.keyboard is not None:
            self.keyboard.close()


class LiveTerminal(LiveSession):
    """A terminal while it has an owner. It takes what is typed, not commands."""

    _exit_code: int | None = None

    async def open_program(self, text: str, argv: Sequence[str], rows: int, columns: int) -> None:
        """Start the program. `Broken` if that fails; then nothing is left."""
        order = Order(
            text=text,
            in_shell=False,
            labels=self.info.labels,
            env={},
            cwd=None,
            stdin=True,
            timeout=None,
            idle_timeout=None,
            detached=False,
        )
        command = RunningTerminal(self.info.id, 1, order, self.transcript.records)
        command.end_signal = signal.SIGHUP  # interactive shells ignore TERM
        environment = {"TERM": "xterm-256color", **os.environ, **self.info.env}
        if "TERM" not in self.info.env:
            environment["TERM"] = "xterm-256color"
        environment |= {SESSION_MARK: self.info.id, COMMAND_MARK: command.id}
        try:
            screen, command.keyboard, theirs = open_pseudoterminal(rows, columns)
            command.pipes[STDOUT] = screen
            try:
                command.leader = await self.workshop.keeper.spawn(
                    argv, environment, self.info.cwd, theirs, self._exited, terminal=True
                )
            finally:
                os.close(theirs)
            command.begin()
            self.workshop.catalog.add_command(command.info)
        except BaseException as error:
            command.discard()
            if isinstance(error, OSError):
                raise Broken(f"the terminal's program {argv[0]!r} can't be started: {error}") from error
            raise
        self.commands[1] = command
        self.workshop.bell.ring()
        self.recorder.mark_started(command)
        self._pump.watch(command)
        if self._exit_code is not None:
            self._exited(self._exit_code)

    def resize(self, rows: int, columns: int) -> None:
        """Harmless once its program has ended."""
        command = self.commands.get(1)
        screen = command.pipes.get(STDOUT) if command else None
        if isinstance(screen, Screen):
            set_size(screen.descriptor, rows, columns)

    def _exited(self, exit_code: int) -> None:
        command = self.commands.get(1)
        if command is None:
            self._exit_code = exit_code  # faster than the news of its start
            return
        if not command.is_over:
            self._end(command, judge(exit_code, command.asked, command.sent_signal))
        if not self.closing:
            self._spawn(close_session, self, self.workshop.limits.kill_grace_seconds)

    def submit(self, order: Order) -> NoReturn:
        raise Conflict(f"{self.info.name!r} is a terminal, which runs no other commands: send it input")

    async def open_shell(self) -> NoReturn:
        raise Conflict(f"{self.info.name!r} is a terminal: open another one instead of a restart")
