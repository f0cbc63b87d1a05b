"""A terminal, as its callers see it: a command whose program believes that a person sits in front of it."""

from __future__ import annotations

from typing import Final

import trio

from .archive import Archive
from .arguments import check_input
from .arguments import check_size as check_size
from .command import Command
from .errors import Closed, Conflict
from .live_terminal import LiveTerminal, RunningTerminal
from .models import CommandInfo
from .store.records import GIVEN_UP, STREAM_OF

REDRAW_BYTES: Final = 1 << 16
"""Many times what a screen holds, so that most of what is on it was drawn within."""


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

    async def redraw_after(self) -> int | None:
        """The seq behind which `follow` begins about 64 KiB before the end of what it has drawn; None if that is all."""
        await self.refresh()
        log = self.archive.open_log(self.session_id)
        try:
            left = REDRAW_BYTES
            for span in log.reader.spans_backwards(self.info.first_seq, log.reader.count()[0]):
                if span.kind in STREAM_OF and span.value == GIVEN_UP:
                    return span.seq
                left -= span.end - span.begin
                if left <= 0:
                    return span.seq - 1 if span.seq > self.info.first_seq else None
            return None
        finally:
            log.close()


def command_from(archive: Archive, info: CommandInfo) -> Command:
    """The command; a `Terminal` if it is one that runs in this engine, which is typed to in another way."""
    running = archive.running(info.id)
    kind = Terminal if isinstance(running, RunningTerminal) else Command
    return kind(archive, info, running)
