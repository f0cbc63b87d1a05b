"""Commands of the Nullspace dialect over a WebSocket: started or joined, told of as they write, fed and killed.

What a message carries is text, so each stream is decoded by itself and no character is split. A process lives on when its
socket goes. Its time to run ends it anyway, unless it was started to be left alone; only the id tells which it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from typing import Final

from starlette.websockets import WebSocket

from ...command import Command
from ...errors import Invalid
from ...models import Record
from ...texts import Texts
from ..endings import end, finish
from ..fields import Fields
from ..outcomes import told_exit_code
from .channel import Channel
from .processes import process_of, read_timeout, start
from .routing import Call

BACKGROUND: Final = re.compile(r"exec_[0-9a-f]{8}")
"""The id of a command that was started in the background with callbacks. Its timeout is sent, but not meant."""
MESSAGE_CHARACTERS: Final = 1 << 16
"""Clients take up to 1 MiB, and a character may need six bytes."""


class ExecChannel(Channel):
    """One socket of commands."""

    def __init__(self, call: Call, socket: WebSocket) -> None:
        super().__init__(call, socket)
        self._pids: dict[str, int] = {}
        """Those that this socket has started or joined, by the id that its client gave."""

    async def handle(self, kind: str, fields: Fields) -> None:
        handlers = {
            "exec_start": self._start,
            "exec_connect": self._connect,
            "exec_stdin": self._send_input,
            "exec_stdin_close": self._close_input,
            "exec_kill": self._kill,
        }
        if kind not in handlers:
            raise Invalid(f"type: expected one of {', '.join(handlers)}, not {kind!r}")
        await handlers[kind](fields)

    async def _start(self, fields: Fields) -> None:
        timeout: float | None = read_timeout(fields)
        if BACKGROUND.fullmatch(fields.text("id") or ""):
            timeout = None
        pid, command = await start(await self.call.awake(), fields, timeout=timeout, stdin=True)
        self._tell_of(fields, pid, command)

    async def _connect(self, fields: Fields) -> None:
        pid, command = await self._find(fields)
        self._tell_of(fields, pid, command)

    async def _find(self, fields: Fields) -> tuple[int, Command]:
        pid = fields.count("pid")
        if pid is None:
            pid = self._pids.get(fields.text("id") or "")
        if pid is None:
            raise Invalid("pid is missing")
        return pid, await process_of(self.call.machine, pid)

    async def _send_input(self, fields: Fields) -> None:
        pid, command = await self._find(fields)
        data = fields.needed_text("data")
        if data:
            await self.put_in(pid, fields, len(data), partial(command.send_input, data))

    async def _close_input(self, fields: Fields) -> None:
        pid, command = await self._find(fields)
        await self.put_in(pid, fields, 0, command.close_input)

    async def _kill(self, fields: Fields) -> None:
        _, command = await self._find(fields)
        self.tell(partial(end, command))

    def _tell_of(self, fields: Fields, pid: int, command: Command) -> None:
        id = fields.text("id") or ""
        self._pids[id] = pid
        self.tell(partial(self._follow, id, pid, command))

    async def _follow(self, id: str, pid: int, command: Command) -> None:
        """All from the beginning, then live. The end is told when it can be read everywhere."""
        await self.say("exec_started", id, pid=pid)
        texts = Texts()

        async def take(records: list[Record]) -> None:
            for stream, text in runs(records, texts):
                await self._say_text(id, pid, stream, text)

        await self.follow(command, None, take)
        await finish(command)
        for stream, text in texts.end(command.id):
            await self._say_text(id, pid, stream, text)
        await self.say("exec_exit", id, pid=pid, exit_code=told_exit_code(command))

    async def _say_text(self, id: str, pid: int, stream: str, text: str) -> None:
        for begin in range(0, len(text), MESSAGE_CHARACTERS):
            await self.say(f"exec_{stream}", id, pid=pid, data=text[begin : begin + MESSAGE_CHARACTERS])


def runs(records: list[Record], texts: Texts) -> Iterator[tuple[str, str]]:
    """The texts of records, those of one stream that follow each other as one."""
    for stream, group in groupby((record for record in records if record.data), key=lambda record: record.stream):
        text = "".join([texts.feed(record) for record in group])
        if text:
            yield stream, text


async def serve(call: Call, socket: WebSocket) -> None:
    await ExecChannel(call, socket).serve()
