"""Clients of a terminal of the Nullspace dialect, over a WebSocket: what it draws goes to all of them, what they type goes to it.

A client that leaves ends nothing. One that comes back is shown the last of what was drawn while nobody looked.
"""

from __future__ import annotations

import binascii
from functools import partial
from typing import Final

from starlette.websockets import WebSocket

from ...arguments import check_input
from ...decoding import TextDecoder
from ...errors import Invalid
from ...models import Record
from ..endings import end
from ..fields import Fields
from ..outcomes import told_exit_code
from ..streaming import cut
from .channel import Channel
from .routing import Call
from .terminals import Pty, find_pty, open_pty, view

MESSAGE_BYTES: Final = 1 << 16
"""Clients take up to 1 MiB, and it is told twice: as base64 and as text, of which a character may need six bytes."""


class PtyChannel(Channel):
    """One socket of terminals."""

    def __init__(self, call: Call, socket: WebSocket) -> None:
        super().__init__(call, socket)
        self._last: str | None = None
        """The terminal that was opened or joined last, which is meant where none is named."""

    async def handle(self, kind: str, fields: Fields) -> None:
        handlers = {
            "pty_start": self._start,
            "pty_connect": self._connect,
            "pty_input": self._type,
            "pty_resize": self._resize,
            "pty_kill": self._kill,
        }
        if kind not in handlers:
            raise Invalid(f"type: expected one of {', '.join(handlers)}, not {kind!r}")
        await handlers[kind](fields)

    async def _start(self, fields: Fields) -> None:
        self._tell_of(fields, await open_pty(self.call, fields), None)

    async def _connect(self, fields: Fields) -> None:
        id, pid = fields.text("session_id"), fields.count("pid")
        if (id is None) == (pid is None):
            raise Invalid("say session_id, or pid: one of them")
        pty = find_pty(self.call.machine, id, pid)
        self._tell_of(fields, pty, await pty.terminal.redraw_after())

    def _find(self, fields: Fields) -> Pty:
        id = fields.text("session_id") or self._last
        if id is None:
            raise Invalid("session_id is missing")
        return find_pty(self.call.machine, id)

    async def _type(self, fields: Fields) -> None:
        pty, data = self._find(fields), fields.data("data_base64")
        if data is None:
            data = check_input(fields.needed_text("data"))
        if data:
            await self.put_in(pty.id, fields, len(data), partial(pty.terminal.send_input, data))

    async def _resize(self, fields: Fields) -> None:
        await self._find(fields).resize(fields)

    async def _kill(self, fields: Fields) -> None:
        self.tell(partial(end, self._find(fields).terminal))

    def _tell_of(self, fields: Fields, pty: Pty, after: int | None) -> None:
        self._last = pty.id
        self.tell(partial(self._follow, fields.text("id") or "", pty, after))

    async def _follow(self, id: str, pty: Pty, after: int | None) -> None:
        await self.say("pty_started", id, **view(pty))
        decoder = TextDecoder()

        async def take(records: list[Record]) -> None:
            for data in cut(b"".join([record.data for record in records]), MESSAGE_BYTES):
                encoded = binascii.b2a_base64(data, newline=False).decode("ascii")
                await self.say("pty_output", id, session_id=pty.id, data=decoder.feed(data), data_base64=encoded)

        await self.follow(pty.terminal, after, take)
        await self.say("pty_exited", id, session_id=pty.id, exit_code=told_exit_code(pty.terminal))


async def serve(call: Call, socket: WebSocket) -> None:
    await PtyChannel(call, socket).serve()
