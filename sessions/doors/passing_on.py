"""A command's log, passed on to one client as it is written. What is there is taken from the log, and waits in no queue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

from ..command import Command
from ..following import Follower
from ..models import Record
from .following_logs import collect

Piece: TypeAlias = tuple[list[Record], str | None, bool]


async def pass_on(
    command: Command,
    after: int | None,
    wait: Callable[[Callable[[], Awaitable[Piece]]], Awaitable[Piece | None]],
    take: Callable[[list[Record]], Awaitable[None]],
) -> None:
    """Let `take` have the records behind `after`, or all, and then those that come, until the command is finished.

    `wait` returns what it is given returns, which may be cancelled and called again; what it does while there is nothing is its own.
    The command's outcome may come later than its last output.
    """
    follower = Follower(None, late=False)
    try:
        follower.add_commands(command.archive, command.session_id, [command.info], after)
        over = False
        while not over:
            found = await wait(partial(collect, follower))
            assert found is not None
            records, ended, over = found
            over = over or ended is not None
            await take(records)
    finally:
        follower.close()
