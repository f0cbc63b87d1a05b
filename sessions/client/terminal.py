"""A server's terminal, as its client sees it."""

from __future__ import annotations

from . import calls
from .answers import read_redraw
from .command import RemoteCommand


class RemoteTerminal(RemoteCommand):
    """A program on a pseudo-terminal of a server. The verbs are those of `Terminal`."""

    async def resize(self, rows: int, columns: int) -> None:
        """Change its size. Harmless once its program has ended."""
        await self.connection.call(calls.resize(self.id, rows, columns))

    async def redraw_after(self) -> int | None:
        """The seq behind which `follow` begins about 64 KiB before the end of what it has drawn; None if that is all."""
        value = await self.connection.call(calls.get(calls.terminal_path(self.session_id)))
        info, after = read_redraw(value)
        self.learn(info)
        return after
