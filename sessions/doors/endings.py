"""The ends of commands, for clients for whom nothing of a command is left once they are told of its end."""

from __future__ import annotations

import trio

from ..command import Command


async def end(command: Command) -> None:
    """Kill it and all that it has started, at once."""
    with trio.CancelScope(shield=True):
        await command.kill(grace=0)


async def finish(command: Command) -> Command:
    """Wait for its end. Of one that was made to end, nothing is left then: what ignores its first signal would have its grace."""
    await command.wait()
    if command.reason in ("timeout", "killed"):
        await end(command)
    return command
