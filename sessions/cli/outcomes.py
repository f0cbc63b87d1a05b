"""What a command's end means to a terminal: its exit code, and words for it. Plain; no I/O.

==== ====================================================================
code meaning
==== ====================================================================
0    done
1    doctor has found something wrong
2    you must change something: a wrong argument, an unknown id, a state that forbids it
3    the world failed: no server, a lost connection, a full disk
124  the time that was given for waiting is over
125  a command ended without an exit code: it was lost, or never ran
130  left by Ctrl-C
141  who reads our output has gone
==== ====================================================================

`run` and `wait` exit with the command's own code.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..errors import Broken, Corrupt, SessionsError, TimedOut
from ..models import CommandInfo

YOURS: Final = 2
WORLD: Final = 3
TIMED_OUT: Final = 124
NO_CODE: Final = 125
LEFT: Final = 130
NO_READER: Final = 141


def code_of_error(error: SessionsError) -> int:
    if isinstance(error, TimedOut):
        return TIMED_OUT
    return WORLD if isinstance(error, Broken | Corrupt) or type(error) is SessionsError else YOURS


def code_of(command: CommandInfo) -> int:
    """What a process that stands for this finished command exits with. Only a success is 0."""
    outcome = command.outcome
    if outcome is None or outcome.exit_code is None:
        return NO_CODE
    return outcome.exit_code


def first_failure(commands: Iterable[CommandInfo]) -> int:
    """The code of the one that failed first in time; 0 if all are well."""
    failed = [command for command in commands if code_of(command) != 0]
    return code_of(min(failed, key=lambda command: command.finished_at or 0.0)) if failed else 0


def describe_end(command: CommandInfo) -> str:
    """How it ended, short enough for a column; empty while it has not.

    ``0``, ``3``, ``SIGKILL``, ``timeout``, ``killed``, ``lost``.
    """
    outcome = command.outcome
    if outcome is None:
        return ""
    if outcome.reason == "exit":
        return str(outcome.exit_code)
    if outcome.reason == "signal" and command.signal is not None:
        return command.signal.name
    return outcome.reason


def tell_end(command: CommandInfo) -> str | None:
    """A notice for an end that an exit code alone doesn't explain; None where it does."""
    outcome = command.outcome
    if outcome is None or outcome.reason == "exit":
        return None
    told = {
        "signal": f"ended by {command.signal.name if command.signal else 'a signal'}",
        "timeout": "stopped: its time was over",
        "killed": "killed",
        "session_closed": "ended with its session",
        "shell_died": "ended with its session's shell",
        "lost": "lost: its engine vanished before it ended",
    }[outcome.reason]
    return f"command {command.id} {told}"
