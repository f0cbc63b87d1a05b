"""A terminal, as its callers see it: a command whose program believes that a person sits in front of it."""

from __future__ import annotations

import trio

from .arguments import check_input
from .command import Command
from .errors import Closed, Conflict, Invalid
from .live_terminal import LiveTerminal, RunningTerminal


class Terminal(Command):
    """A program on a pseudo-terminal. Its log is what it drew, as one stream; `follow` and `logs` are those of `Command`.

    It has a session of its own, with the name that was given; when its program ends, the session is closed.
    """

    @property
    def _live(self) -> LiveTerminal | None:
        live = self.archive.live.get(self.session_id)
        return live if isinstance(live, LiveTerminal) else None

    async def send_input(self, data: bytes | str) -> None:
        """Type: ``b"ls\\n"``, ``b"\\x03"`` for Ctrl-C, ``b"\\x04"`` for Ctrl-D. `Closed` once its program has ended."""
        payload = check_input(data)
        running = await self._mine("send input to")
        if not isinstance(running, RunningTerminal) or running.keyboard is None:
            raise Closed(f"terminal {self.id} has ended: open another one")
        await running.keyboard.send(payload, f"terminal {self.id}")

    async def close_input(self) -> None:
        """A terminal's input has no end: send Ctrl-D."""
        await trio.lowlevel.checkpoint()
        raise Conflict(f"terminal {self.id} has no input that ends: send b'\\x04' (Ctrl-D)")

    async def resize(self, rows: int, columns: int) -> None:
        """Change its size. Harmless once its program has ended."""
        check_size(rows, columns)
        await trio.lowlevel.checkpoint()
        if self._live is not None:
            self._live.resize(rows, columns)


def check_size(rows: int, columns: int) -> None:
    for name, value in (("rows", rows), ("columns", columns)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
            raise Invalid(f"{name}={value!r}: pass a whole number from 1 to 65535")
