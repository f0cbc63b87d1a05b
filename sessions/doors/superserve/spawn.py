"""Commands over a WebSocket (``/exec/connect``), which are written to while they run.

The client's first message says what to run. Then its binary messages are input, behind a byte 0, and its texts are wishes: a
signal, or the end of the input. Output is told byte by byte, behind a byte 1 or 2, and at last, as text, how it ended.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import trio
from starlette.types import Message
from starlette.websockets import WebSocket

from ...errors import Invalid, SessionsError
from ...models import Record
from ...spaces import Space
from ..fields import Fields, read_fields
from ..open_streams import ServerCloses, Streams
from ..operations import Disconnected, while_connected
from ..outcomes import CANNOT_START, KILLED
from ..passing_on import pass_on
from ..streaming import GOING_AWAY, NORMAL_CLOSURE, cut, say_goodbye
from ..waiting_input import WaitingInput
from .errors import CLOSING, EXEC_FAILED, code_of
from .routing import Call, Row, wake
from .runs import LAST_WORDS, CannotStart, Run, ended, read_asked, space_in_use, start

PROTOCOL: Final = "superserve.exec.v1"
STDIN: Final = 0
CHANNELS: Final = {"stdout": b"\x01", "stderr": b"\x02"}
FRAME_BYTES: Final = 1 << 18
"""Clients refuse a message of more than 1 MiB."""
START_SECONDS: Final = 30.0
"""How long the first message may take."""


class Spawned:
    """One client and its command."""

    def __init__(self, streams: Streams, space: Space, socket: WebSocket) -> None:
        self._streams = streams
        self._space = space
        self._socket = socket
        self._run: Run | None = None
        self._was_signalled = False
        self._input = WaitingInput()

    async def serve(self) -> None:
        offered = self._socket.scope["subprotocols"]
        await self._socket.accept(PROTOCOL if PROTOCOL in offered else None)
        first: dict[str, Any] = {"type": ""}
        with trio.move_on_after(START_SECONDS):
            first = dict(await self._socket.receive())
        if not first["type"].endswith(".disconnect"):
            with suppress(Disconnected), self._input:
                await self._serve(first)

    async def _serve(self, first: Message) -> None:
        code, last = NORMAL_CLOSURE, {}
        try:
            # Who asks a paused sandbox is refused and activates it; after the upgrade it is too late for that.
            await wake(self._space)
            async with start(self._streams, self._space, read_asked(read_start(first), None), stdin=True) as self._run:
                last = await while_connected(self._hear, self._show)
        except CannotStart as error:
            last = ended(error.exit_code, str(error), EXEC_FAILED)
        except ServerCloses:
            code, last = GOING_AWAY, ended(KILLED, LAST_WORDS, CLOSING)
        except SessionsError as error:
            last = ended(CANNOT_START, str(error), code_of(error))
        await while_connected(self._socket.receive, partial(self._say_end, last, code))

    async def _say_end(self, last: dict[str, Any], code: int) -> None:
        await self._socket.send_text(json.dumps(last))
        await say_goodbye(self._socket, code)

    # What the client sends

    async def _hear(self) -> Message:
        """The next message, when what it asks for has been begun."""
        message = await self._socket.receive()
        data, text = message.get("bytes"), message.get("text")
        if data and data[0] == STDIN and len(data) > 1:
            await self._input.add(data[1:])
        elif text:
            # What is not understood is for newer servers.
            with suppress(SessionsError):
                await self._heed(read_fields(text.encode("utf-8", "replace")))
        return message

    async def _heed(self, wish: Fields) -> None:
        assert self._run is not None
        match wish.text("type"):
            case "stdin_close":
                self._input.complete()
            case "signal":
                await self._run.command.send_signal(wish.needed_text("name"))
                self._was_signalled = True

    # What the client is told

    async def _show(self) -> dict[str, Any]:
        """Its output, and then what to say of its end."""
        assert self._run is not None
        failure: SessionsError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._input.feed, self._run.command)
            try:
                await self._tell_output()
            except SessionsError as error:
                failure = error  # not through the nursery, which would wrap it
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        command = self._run.command
        # Who has sent a signal is told what that came to.
        if self._was_signalled and command.reason == "killed" and command.exit_code is not None:
            return ended(command.exit_code)
        return ended(self._run.exit_code)

    async def _tell_output(self) -> None:
        run = self._run
        assert run is not None

        async def take(records: list[Record]) -> None:
            for frame in to_frames(records):
                with run.stream.waiting():
                    await self._socket.send_bytes(frame)

        await pass_on(run.command, None, lambda read: run.wait(read, trio.lowlevel.checkpoint), take)
        await run.wait_until_over(trio.lowlevel.checkpoint)


def read_start(message: Message) -> Fields:
    text = message.get("text")
    if not text:
        raise Invalid("the first message must be a JSON object with a command")
    return read_fields(text.encode("utf-8", "replace"))


def to_frames(records: Sequence[Record]) -> list[bytes]:
    """Neighbours of one stream share frames."""
    frames: list[bytes] = []
    name, pieces = "", [b""]
    for record in [*records, Record(0, 0.0, "dropped", b"", "")]:
        if record.stream != name:
            frames += [CHANNELS[name] + part for part in cut(b"".join(pieces), FRAME_BYTES)] if name in CHANNELS else []
            name, pieces = record.stream, []
        pieces.append(record.data)
    return frames


async def connect(call: Call, socket: WebSocket) -> None:
    space = space_in_use(call)
    with space.use():  # already now, though its client has not yet said what to run
        await Spawned(call.streams, space, socket).serve()


ROWS: Final = [Row("GET", "/exec/connect", socket=connect)]
