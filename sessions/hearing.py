"""Noticing commands whose end will not be reported, by looks a second apart: a report on its way arrives in between."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from .running import RunningCommand
from .shell.processes import exists, is_zombie, reporter_of
from .shell.shell import Shell
from .store.records import STDERR


class Hearing:
    """What one session's reports should have told."""

    def __init__(self) -> None:
        self._silent_for: RunningCommand | None = None
        self._looks = 0
        self._gone: set[int] = set()
        self._forked: set[int] = set()

    def is_silent(self, shell: Shell, command: RunningCommand | None) -> bool:
        """Whether the shell waits for its next line although `command`, which it was given, has not been reported."""
        if command is None or not shell.is_idle():
            self._silent_for, self._looks = None, 0
            return False
        self._looks = self._looks + 1 if command is self._silent_for else 1
        self._silent_for = command
        return True

    def is_mute(self, command: RunningCommand) -> bool:
        """Whether the shell has lost its voice (a function called ``builtin`` can do that): it was silent when it was asked again.

        Twice, for the interrupt that hit its report may have hit the first answer, too.
        """
        return command is self._silent_for and self._looks > 2

    def find_lost(self, commands: Iterable[RunningCommand], forked: Collection[int]) -> list[RunningCommand]:
        """Background commands that have gone, and whose reporter has not told of it. `forked` ones have not started yet."""
        gone = [
            command
            for command in commands
            if not command.is_over
            and command.shell is not None  # of a terminal the keeper tells
            and (
                has_gone(command.leader, command)
                if command.leader is not None
                else command.number in forked and STDERR not in command.pipes  # its reporter held that open
            )
        ]
        lost = [command for command in gone if command.number in self._gone]
        self._gone = {command.number for command in gone if command not in lost}
        return lost

    def is_overdue(self, forked: Collection[int]) -> bool:
        """Whether one of these background commands has ended, or was forked at the last look already: who reports for it may be stopped."""
        overdue = not (self._forked | self._gone).isdisjoint(forked)
        self._forked = set(forked)
        return overdue


def has_gone(leader: int, command: RunningCommand) -> bool:
    """Whether nothing is left of it but, at most, a zombie whose end nobody will tell: its reporter has gone."""
    if not exists(leader):
        return True
    # For a thousand that run, only those are looked at whose stderr has come to its end.
    return STDERR not in command.pipes and is_zombie(leader) and reporter_of(leader, command.session_id) is None
