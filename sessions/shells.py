"""The shells of one session: the one that takes commands now, and earlier ones that still carry reports."""

from __future__ import annotations

from collections.abc import Callable, Collection

import trio

from .models import SessionInfo
from .shell.script import DIALECTS, Report
from .shell.shell import Shell
from .workshop import Workshop

# What is executed for sessions and terminals, in spaces and elsewhere, is made in these two alone: the place where a tool that
# isolates a space could be put in front.


def shell_argv(info: SessionInfo) -> tuple[str, ...]:
    """What is executed for a session's shell."""
    return DIALECTS[info.shell].argv


def terminal_argv(text: str | None) -> tuple[str, ...]:
    """What is executed on a terminal: a login shell if there is no text."""
    return ("bash", "-l") if text is None else ("bash", "-c", text)


class Shells:
    """Opens and ends them. What they say is told to `on_report`, the end of the present one to `on_end` with its exit code."""

    def __init__(
        self,
        info: SessionInfo,
        workshop: Workshop,
        on_report: Callable[[Report], None],
        on_end: Callable[[int], None],
    ) -> None:
        self.now: Shell | None = None
        self.lock = trio.Lock()
        """Held while one is started or ended."""
        self._info = info
        self._workshop = workshop
        self._on_report = on_report
        self._on_end = on_end
        self._earlier: list[Shell] = []
        self._count = 0

    @property
    def takes_commands(self) -> bool:
        return self.now is not None and self.now.exit_code is None

    @property
    def pid(self) -> int | None:
        return self.now.pid if self.now else None

    def working_directory(self) -> str:
        """Where the shell is now, apart from what holds for one command."""
        return (self.now.working_directory() if self.now is not None else None) or self._info.cwd

    async def open(self) -> None:
        """Start one. `Broken` if that fails."""
        self._count += 1
        shop, info = self._workshop, self._info
        self.now = await Shell.open(
            DIALECTS[info.shell],
            shell_argv(info),
            info.id,
            shop.run_directory / f"{info.id}.{self._count}",
            info.cwd,
            info.env,
            shop.poller,
            shop.keeper,
            self._on_report,
            self._exited,
            shop.open_files,
        )

    def _exited(self, shell: Shell, exit_code: int) -> None:
        if shell is self.now:
            self.now = None
            self._earlier.append(shell)
            self._on_end(exit_code)

    async def kill(self) -> None:
        """End the present one at once."""
        shell = self.now
        if shell is not None:
            shell.kill()
            await shell.exited.wait()

    def abandon(self) -> None:
        """Nobody will hear how the present one ends: take it as killed."""
        if self.now is not None:
            self.now.abandon()

    async def end(self, patience: float) -> None:
        """Let it end by itself, its EXIT trap included; kill it after `patience` seconds."""
        shell = self.now
        if shell is not None:
            shell.end_input()
            with trio.move_on_after(patience):
                await shell.exited.wait()
            await self.kill()

    def dispose_earlier(self, needed: Collection[Shell | None] = ()) -> None:
        """Let go of those that have ended, but for the `needed` ones: background commands report through them."""
        for shell in self._earlier[:]:
            if shell not in needed:
                self._earlier.remove(shell)
                shell.dispose()
