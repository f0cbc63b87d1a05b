"""How a command ended, as an exit code alone: all that the clients of other systems are told. No I/O."""

from __future__ import annotations

from typing import Final

from ..facts import CommandFacts

TIMED_OUT: Final = 124
"""As ``timeout`` has it."""
CANNOT_START: Final = 126
"""As shells have it, for what is there and can't be run."""
NOT_FOUND: Final = 127
"""As shells have it, for what is not there."""
KILLED: Final = 137


def told_exit_code(command: CommandFacts) -> int:
    """That of a finished command. One that did not come to an end of its own was killed."""
    if command.reason == "timeout":
        return TIMED_OUT
    if command.exit_code is None or command.reason not in ("exit", "signal"):
        return KILLED
    return command.exit_code
