"""One live shell: started through the keeper, fed with control lines, listened to on its report FIFO."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import trio

from ..errors import Broken
from .keeper import Keeper
from .pipes import ControlPipe
from .poller import Poller
from .processes import COMMAND_MARK, SESSION_MARK, Seen, is_stopped, send
from .script import Dialect, Report, Request, Writer, parse_reports

READY_SECONDS = 30.0
"""A shell without startup files is ready after 3 ms; a machine that takes this long is broken."""


class Visit(NamedTuple):
    """A foreground command runs, or ran, in a directory of its own."""

    number: int
    """The command's."""
    place: str
    home: str | None
    """Where the shell was before."""


class Shell:
    """A shell that takes commands. What becomes of them is told to `on_report`, its own end to `on_exit`."""

    def __init__(
        self,
        dialect: Dialect,
        directory: Path,
        poller: Poller,
        on_report: Callable[[Report], None],
        on_exit: Callable[[Shell, int], None],
    ) -> None:
        self.dialect = dialect
        self.directory = directory
        """Its run directory, where the files of its commands belong."""
        self.pid = 0
        self.exited = trio.Event()
        self.exit_code: int | None = None
        self.forked_at = 0.0
        """When it last told that it had forked a command; on trio's clock."""
        self._poller = poller
        self._on_report = on_report
        self._on_exit = on_exit
        self._ready = trio.Event()
        self._writer = Writer(dialect, str(directory))
        self._control: ControlPipe | None = None
        self._reports = -1
        self._told = 0
        """The number of the last foreground command that it was given."""
        self._visit: Visit | None = None

    @classmethod
    async def open(
        cls,
        dialect: Dialect,
        argv: Sequence[str],
        session_id: str,
        directory: Path,
        cwd: str,
        env: Mapping[str, str],
        poller: Poller,
        keeper: Keeper,
        on_report: Callable[[Report], None],
        on_exit: Callable[[Shell, int], None],
        open_files: int,
    ) -> Shell:
        """Start one and wait until it takes commands. `Broken` if it can't be started; then nothing is left of it."""
        shell = cls(dialect, directory, poller, on_report, on_exit)
        try:
            directory.mkdir(mode=0o700)
            (directory / "r").write_text(shell._writer.report_file())
            report = directory / "report"
            os.mkfifo(report, 0o600)
            # Open in both directions: it never comes to its end when a report has been written.
            shell._reports = os.open(report, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            poller.watch(shell._reports, shell._read_reports)
            shell._control = ControlPipe(poller, lambda: None)
            environment = {**os.environ, **env, SESSION_MARK: session_id}
            environment.pop(
                COMMAND_MARK, None
            )  # of a command in which this program runs: forks carry none until they get one
            # At its start an interactive POSIX shell takes this for a startup file; to others it is a variable like any.
            later = {"ENV": environment.pop("ENV")} if "ENV" in environment else {}
            if dialect.reads_history:
                environment["HISTFILE"] = ""
            try:
                shell.pid = await keeper.spawn(argv, environment, cwd, shell._control.shell_end, shell._exit)
            finally:
                shell._control.close_shell_end()
            shell._control.send(shell._writer.setup(open_files, later))
            with trio.fail_after(READY_SECONDS):
                await shell._ready.wait()
            if shell.exit_code is not None:
                raise Broken(f"{dialect.argv[0]} ended with exit code {shell.exit_code} before it took a command")
        except BaseException as error:
            if shell.pid and shell.exit_code is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(shell.pid, signal.SIGKILL)
            shell.dispose()
            if isinstance(error, OSError):
                raise Broken(f"the shell {dialect.argv[0]!r} can't be started: {error}") from error
            if isinstance(error, trio.TooSlowError):
                raise Broken(f"{dialect.argv[0]} took no command within {READY_SECONDS} s") from None
            raise
        return shell

    def run(self, request: Request, status: int) -> None:
        """Run the text in file `request.number` in the shell itself."""
        assert self._control is not None
        if request.cwd:
            self._visit = Visit(request.number, os.path.realpath(request.cwd), self.working_directory())
        self._told = request.number
        self._control.send(self._writer.foreground(request, status))

    def start(self, request: Request, status: int) -> None:
        """Run it in a fork of the shell, beside it, by the starter that was written for it."""
        assert self._control is not None
        self._control.send(self._writer.background(request, status))

    def write_starter(self, request: Request, status: int) -> None:
        starter = self._writer.starter(request, status)
        (self.directory / f"{request.number}b").write_text(starter, "utf-8", "surrogateescape")

    def interrupt(self, request: Request, programs: Sequence[Seen]) -> None:
        """Ctrl-C for the command in the foreground, whose `programs` these are, and the shell that waits for it."""
        assert self._control is not None
        if self.dialect.own_group:
            self.signal_group(signal.SIGINT)
            self.signal_group(signal.SIGCONT)  # who is stopped can't act on it
        elif self.exit_code is None:
            # Background commands are in the same group: not theirs. The shell first: zsh would keep an interrupt that comes
            # after its program has gone for the next command.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGINT)
                os.kill(self.pid, signal.SIGCONT)
            send(programs, signal.SIGINT)
        if self._writer.dialect.resends_report:
            self._control.send(self._writer.report_again(request))

    def ask_again(self, request: Request) -> None:
        """Send a foreground command's report line once more."""
        assert self._control is not None
        self._control.send(self._writer.report_again(request))

    def signal_group(self, number: int) -> None:
        """Signal the shell and what it runs in the foreground."""
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def proceed(self) -> None:
        """Continue the shell itself, if it has been stopped."""
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End the shell itself, at once."""
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def abandon(self) -> None:
        """Kill it, and don't wait for the news."""
        self.kill()
        self._exit(128 + signal.SIGKILL)

    def end_input(self) -> None:
        """No more control lines: an idle shell ends by itself."""
        if self._control is not None:
            self._control.close()

    def let_go(self) -> None:
        """In a forked child: it is the parent's."""
        if self._control is not None:
            self._control.let_go()

    def is_idle(self) -> bool:
        """Whether it waits for its next control line, and none is on the way."""
        # One that was stopped as it had read a line seems to be reading still.
        return self._control is not None and not is_stopped(self.pid) and self._control.is_awaited_by(self.pid)

    def working_directory(self) -> str | None:
        """Where it is, or will be again after a command that has a directory of its own; None if it has gone.

        It goes back only once it has reported that command's end.
        """
        try:
            here = os.readlink(f"/proc/{self.pid}/cwd")
        except OSError:
            return None
        visit = self._visit
        if visit is None or self.is_idle():
            return here
        return visit.home if visit.number == self._told or here == visit.place else here

    def path(self, number: int) -> str:
        """Where the files of command `number` begin."""
        return f"{self.directory}/{number}"

    def _read_reports(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for report in parse_reports(os.read(self._reports, 65536)):
                if report.kind == "r":
                    self._ready.set()
                    continue
                if report.kind == "b":
                    self.forked_at = trio.current_time()
                if report.kind == "d" and self._visit is not None and report.number > self._visit.number:
                    self._visit = None
                self._on_report(report)

    def _exit(self, exit_code: int) -> None:
        self.exit_code = exit_code
        if self._reports >= 0:
            self._read_reports()  # what it said before it ended counts
        self._ready.set()
        self.exited.set()
        self.end_input()
        self._on_exit(self, exit_code)

    def dispose(self) -> None:
        """Give back descriptors and the run directory. Background commands can't report any more."""
        if self._control is not None:
            self._control.close()
        if self._reports >= 0:
            self._poller.forget(self._reports)
            os.close(self._reports)
            self._reports = -1
        shutil.rmtree(self.directory, ignore_errors=True)
