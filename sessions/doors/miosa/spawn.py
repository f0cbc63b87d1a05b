"""Programs of the Miosa dialect that are spoken with over a WebSocket, for as long as the client stays.

With a size (or ``tty=true``) the program is on a terminal, else it has pipes. There is no way to come back to one, so it is ended
when its client goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby
from typing import Final

import trio
from starlette.types import Message
from starlette.websockets import WebSocket

from ...command import Command
from ...errors import Invalid, SessionsError
from ...models import Record
from ...terminal import Terminal
from ..endings import end
from ..fields import read_fields
from ..open_streams import OpenStream, ServerCloses, Streams
from ..operations import Disconnected, while_connected
from ..outcomes import KILLED, told_exit_code
from ..passing_on import pass_on
from ..streaming import GOING_AWAY, NORMAL_CLOSURE, say_goodbye
from ..waiting_input import WaitingInput
from .events import check_room
from .frames import BINARY, EndOfInput, Frame, Frames, Input, Resize, Signal, Wish, choose_frames
from .launch import Launch, in_shell, launch, program
from .routing import Call, Row
from .terminals import LARGEST, open_terminal

END_KEY: Final = b"\x04"
"""What ends the input of a program on a terminal, at the beginning of a line."""
KILL: Final = ("SIGKILL", "KILL", "9")


class Spawned:
    """One client and its program."""

    def __init__(self, streams: Streams, socket: WebSocket, command: Command, frames: Frames) -> None:
        self._streams = streams
        self._socket = socket
        self._command = command
        self._frames = frames
        self._input = WaitingInput()

    async def serve(self) -> None:
        try:
            with suppress(Disconnected), self._input:
                await self._serve()
        finally:
            # Of one that is finished, a kill would end what it left behind.
            if self._command.state != "finished":
                await end(self._command)

    async def _serve(self) -> None:
        code = NORMAL_CLOSURE
        with self._streams.one_more() as stream:
            await self._socket.accept(self._frames.subprotocol)
            try:
                await while_connected(self._hear, partial(self._show, stream))
                last = self._frames.exit(exit_code(self._command))
            except ServerCloses as error:
                code = GOING_AWAY
                last = [*self._frames.output("stderr", f"{error}\n".encode()), *self._frames.exit(KILLED)]
            await while_connected(self._socket.receive, partial(self._say_end, stream, last, code))

    async def _say_end(self, stream: OpenStream, last: Sequence[Frame], code: int) -> None:
        await self._say(stream, last)
        await say_goodbye(self._socket, code)

    # What the client sends

    async def _hear(self) -> Message:
        """The next message, when what it asks for has been begun."""
        message = await self._socket.receive()
        if message["type"] == "websocket.receive":
            with suppress(SessionsError):  # how the program ended is being told
                await self._heed(self._frames.read(message))
        return message

    async def _heed(self, wish: Wish | None) -> None:
        match wish:
            case Input(data):
                await self._input.add(data)
            case EndOfInput() if isinstance(self._command, Terminal):
                await self._input.add(END_KEY)
            case EndOfInput():
                self._input.complete()
            case Resize(rows, columns) if isinstance(self._command, Terminal):
                await self._command.resize(rows, columns)
            case Signal(name) if name.upper() in KILL:
                await end(self._command)
            case Signal(name):
                await self._command.send_signal(name)

    # What the client is told

    async def _show(self, stream: OpenStream) -> None:
        failure: SessionsError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._input.feed, self._command)
            try:
                await self._tell_output(stream)
                await self._streams.wait_aloud(self._command.wait, trio.lowlevel.checkpoint)
            except SessionsError as error:
                failure = error  # not through the nursery, which would wrap it
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _tell_output(self, stream: OpenStream) -> None:
        async def take(records: list[Record]) -> None:
            for name, run in groupby(records, key=lambda record: record.stream):
                data = b"".join([record.data for record in run])
                if data:
                    await self._say(stream, self._frames.output(name, data))

        await pass_on(self._command, None, lambda read: self._streams.wait_aloud(read, trio.lowlevel.checkpoint), take)

    async def _say(self, stream: OpenStream, frames: Sequence[Frame]) -> None:
        for frame in frames:
            with stream.waiting():
                if isinstance(frame, str):
                    await self._socket.send_text(frame)
                else:
                    await self._socket.send_bytes(frame)


def exit_code(command: Command) -> int:
    """Who has sent a signal is told what that came to."""
    if command.reason == "killed" and command.exit_code:
        return command.exit_code
    return told_exit_code(command)


def read_order(call: Call, binary: bool) -> Launch:
    """One dialect repeats parameters, the other writes lists into one."""
    command = call.first("command")
    args = call.query.get("args", [])
    if not binary and args:
        args = args[0].split(",")
    return Launch(
        text=program([command, *args]) if args else in_shell(command, ""),
        cwd=call.first("cwd") or None,
        env=read_pairs(call.query.get("env", [])) if binary else read_object(call.first("env")),
        stdin=True,
    )


def read_object(text: str) -> dict[str, str]:
    found = read_fields(text.encode("utf-8", "replace") or b"{}").values
    return {name: value if isinstance(value, str) else str(value) for name, value in found.items()}


def read_pairs(pairs: Sequence[str]) -> dict[str, str]:
    if not all("=" in pair for pair in pairs):
        raise Invalid("env: expected KEY=VALUE")
    return {pair.partition("=")[0]: pair.partition("=")[2] for pair in pairs}


async def spawn(call: Call, socket: WebSocket) -> None:
    offered = socket.scope["subprotocols"]
    binary = BINARY in offered
    order = read_order(call, binary)
    rows, columns = call.count("rows", 1, LARGEST), call.count("cols", 1, LARGEST)
    wants_terminal = call.first("tty").lower() in ("true", "1") if "tty" in call.query else bool(rows or columns)
    check_room(call.streams)
    command: Command | None = None
    if wants_terminal and (not binary or "tty" in call.query):
        with suppress(Invalid):  # the other way of starting it tells why
            _, command = await open_terminal(
                call.space, order.text, rows=rows, columns=columns, cwd=order.cwd, env=order.env
            )
    if command is None:
        _, command = await launch(call.space, order)
    await Spawned(call.streams, socket, command, choose_frames(offered)).serve()


ROWS: Final = [Row("GET", "/computers/{space}/exec/stream", socket=spawn, runs=True)]
