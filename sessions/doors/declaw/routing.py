"""Requests of the Declaw dialect, and whose sandbox they are for. The path is looked at first, then the sandbox, then the body."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Final, TypeAlias

from ...errors import NotFound
from ...spaces import Space, Spaces
from .. import dialects
from ..dialects import Dialect
from ..open_streams import Streams
from .errors import error_answer, killed, paused, stopped
from .lifetimes import renew

DOOR: Final = "declaw"
"""The name of this door, on the spaces that are made through it."""
PREFIX: Final = "sbx-"
"""Of the ids of those spaces."""
AUTO_RESUME: Final = "auto_resume"
"""Of a sandbox's facts: a paused one goes on when it is asked for something."""


class Call(dialects.Call):
    """One request."""

    @cached_property
    def space(self) -> Space:
        """The sandbox that was asked, alive."""
        return find_space(self.spaces, self.ids["sandbox"])

    async def space_in_use(self) -> Space:
        """The same, able to run something."""
        space = self.space
        if space.state == "paused" and space.info.facts.get(AUTO_RESUME):
            await space.resume()
            renew(space)
        if space.state == "paused":
            raise paused(space.id)
        if space.state == "stopped":
            raise stopped(space.id)
        return space


def find_space(spaces: Spaces, sandbox_id: str) -> Space:
    """One that was killed answers differently from one that never was."""
    try:
        return spaces.get(DOOR, sandbox_id)
    except NotFound:
        if sandbox_id.startswith(PREFIX) and spaces.table.is_destroyed(sandbox_id):
            raise killed(sandbox_id) from None
        raise NotFound(f"there is no sandbox {sandbox_id!r}") from None


Row: TypeAlias = dialects.Row[Call]


def dialect(spaces: Spaces, streams: Streams) -> Dialect[Call]:
    return Dialect(partial(Call, spaces, streams), error_answer)
