"""Messages of a spawned program's WebSocket, in both of its dialects. No I/O.

=============  ==========================================  ===================================================
direction      JSON texts                                  binary, where ``miosa-exec-v1`` was offered
=============  ==========================================  ===================================================
to the client  ``{"type": "stdout", "data": "text"}``      ``01`` and bytes
               ``{"type": "stderr", "data": "text"}``      ``02`` and bytes
               ``{"type": "exit", "code": 7}``             ``03`` and the code, 4 bytes, big end first
to us          ``{"type": "stdin", "data": "text"}``       ``00`` and bytes
               ``{"type": "stdin_close"}``
               ``{"type": "resize", "rows", "cols"}``      ``05`` and rows, columns, 2 bytes each, big end first
               ``{"type": "signal", "signal": "SIGINT"}``
=============  ==========================================  ===================================================

What is not understood is ignored. The exit is the last message, always: a client that gets none takes it for 0.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, Protocol, TypeAlias

import attrs
from starlette.types import Message

from ...decoding import TextDecoder
from ...errors import SessionsError
from ..fields import read_fields
from ..requests import to_json
from ..streaming import cut

FRAME_BYTES: Final = 1 << 16
"""Of output in one message. As JSON it becomes six times as much at most, and clients take 1 MiB."""
BINARY: Final = "miosa-exec-v1"
STDIN, STDOUT, STDERR, EXIT, RESIZE = b"\0", b"\1", b"\2", b"\3", b"\5"
SIZE: Final = struct.Struct(">HH")
CODE: Final = struct.Struct(">I")


@attrs.frozen
class Input:
    data: bytes


@attrs.frozen
class EndOfInput:
    pass


@attrs.frozen
class Resize:
    rows: int
    columns: int


@attrs.frozen
class Signal:
    name: str


Wish: TypeAlias = Input | EndOfInput | Resize | Signal
Frame: TypeAlias = str | bytes


class Frames(Protocol):
    """One dialect, for one connection."""

    subprotocol: str | None

    def output(self, stream: str, data: bytes) -> Sequence[Frame]: ...

    def exit(self, code: int) -> Sequence[Frame]:
        """The last ones."""

    def read(self, message: Message) -> Wish | None: ...


class JsonFrames:
    subprotocol: str | None = None

    def __init__(self) -> None:
        self._decoders = {"stdout": TextDecoder(), "stderr": TextDecoder()}

    def output(self, stream: str, data: bytes) -> Sequence[Frame]:
        texts = [self._decoders[stream].feed(piece) for piece in cut(data, FRAME_BYTES)]
        return [self._text(stream, text) for text in texts if text]

    def _text(self, stream: str, text: str) -> str:
        return to_json({"type": stream, "data": text}, ascii=True)

    def exit(self, code: int) -> Sequence[Frame]:
        rests = [(stream, decoder.finish()) for stream, decoder in self._decoders.items()]
        last = to_json({"type": "exit", "code": code})
        return [*[self._text(stream, text) for stream, text in rests if text], last]

    def read(self, message: Message) -> Wish | None:
        data = message.get("bytes") or (message.get("text") or "").encode("utf-8", "replace")
        try:
            fields = read_fields(data)
            match fields.text("type"):
                case "stdin":
                    return Input((fields.text("data") or "").encode("utf-8", "replace"))
                case "stdin_close":
                    return EndOfInput()
                case "resize":
                    return Resize(fields.needed_count("rows", 1, 65535), fields.needed_count("cols", 1, 65535))
                case "signal":
                    return Signal(fields.needed_text("signal"))
        except SessionsError:
            pass
        return None


class BinaryFrames:
    subprotocol: str | None = BINARY

    def output(self, stream: str, data: bytes) -> Sequence[Frame]:
        kind = STDERR if stream == "stderr" else STDOUT
        return [kind + piece for piece in cut(data, FRAME_BYTES)]

    def exit(self, code: int) -> Sequence[Frame]:
        return [EXIT + CODE.pack(code)]

    def read(self, message: Message) -> Wish | None:
        data = message.get("bytes") or b""
        kind, rest = data[:1], data[1:]
        if kind == STDIN:
            return Input(rest)
        if kind == RESIZE and len(rest) == SIZE.size and all(SIZE.unpack(rest)):
            return Resize(*SIZE.unpack(rest))
        return None


def choose_frames(offered: Sequence[str]) -> Frames:
    """By the subprotocols that a client offers."""
    return BinaryFrames() if BINARY in offered else JsonFrames()
