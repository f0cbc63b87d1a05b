"""What a follower reads, as messages that any kind of stream can carry. No I/O.

Neighbouring records of one command and stream that were read within 10 ms become one message: a message costs far more than
a record. A message's id is that of its last record, its time that of its first. Text never ends inside a character: the
rest of one is told with the next message. What is left of one at a command's end is told with the id of the command's end.

Over a WebSocket, a record whose text is too large for one message is told in parts. All but the last have the id of the place in
front of the record: who goes on there gets it whole once more.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import attrs

from ..models import Record
from ..texts import Texts

MERGE_SECONDS: Final = 0.010
MERGE_BYTES: Final = 1 << 16
"""Larger records gain nothing by it."""
MESSAGE_BYTES: Final = (1 << 20) - 4096
"""Of text in JSON in one message of a WebSocket: many clients take none of more than 1 MiB."""
PART_BYTES: Final = 160 << 10
"""Of a log in a part of one: JSON has six characters for some bytes."""
CONTROLS: Final = bytes(range(32))
DOUBLED: Final = b'"\\\b\f\n\r\t'
"""Those that JSON writes with two characters. The other controls have six."""
NOT_CONTROLS: Final = bytes(set(range(256)) - set(CONTROLS) | set(DOUBLED))
NOT_DOUBLED: Final = bytes(set(range(256)) - set(DOUBLED))


class Message(NamedTuple):
    event: str
    """Empty if it only tells the place where reading begins."""
    id: str | None
    """Where to go on behind it; None if it moves nothing."""
    data: str
    """One JSON object on one line; in ASCII unless it is for a WebSocket."""


def plain_id(command_id: str, seq: int) -> str:
    """For a stream of one session: the seq alone."""
    return str(seq)


def full_id(command_id: str, seq: int) -> str:
    """For a stream of many sessions: a seq is unique in its session only."""
    return f"{command_id.partition('-')[0]}:{seq}"


def size_as_text(data: bytes) -> int:
    """How many bytes it takes as text in JSON, letters as they are."""
    doubled, controls = len(data.translate(None, NOT_DOUBLED)), len(data.translate(None, NOT_CONTROLS))
    return len(data.decode(errors="replace").encode()) + doubled + 5 * controls


class Teller:
    """Makes the messages of one stream."""

    def __init__(
        self,
        encoding: str,
        make_id: Callable[[str, int], str] = plain_id,
        before: Callable[[Record], bytes] | None = None,
        for_socket: bool = False,
    ) -> None:
        """`encoding` is ``"text"``, ``"base64"``, or ``"auto"``: bytes exactly, as text where they are ASCII, which is cheaper.
        `for_socket`: letters stay letters, which JSON else writes with six characters each, and no message has more than 1 MiB.

        `before` gives the bytes in front of a record, as `Texts` needs them where reading does not begin at the first.
        """
        self.is_text = encoding == "text"
        self._texts = Texts(before) if self.is_text else None
        self._ascii_as_text = encoding == "auto"
        self._make_id = make_id
        self._for_socket = for_socket
        self._unended: set[str] = set()

    def tell(self, records: Iterable[Record]) -> list[Message]:
        messages: list[Message] = []
        run: list[Record] = []
        first: Record | None = None
        size = 0
        for record in records:
            size += len(record.data)
            if (
                first is not None
                and size <= MERGE_BYTES
                and record.command_id == first.command_id
                and record.stream == first.stream
                and record.time - first.time < MERGE_SECONDS
                and record.stream != "dropped"
            ):
                run.append(record)
                continue
            self._add(messages, run)
            first, run, size = record, [record], len(record.data)
        self._add(messages, run)
        return messages

    def _add(self, messages: list[Message], run: list[Record], place: int | None = None) -> None:
        """`place` is told in place of the last record's seq."""
        if not run:
            return
        first, seq = run[0], run[-1].seq if place is None else place
        if first.stream == "dropped":
            payload = f'"dropped_bytes":{first.dropped_bytes}'
        else:
            data = first.data if len(run) == 1 else b"".join([record.data for record in run])
            if self._ascii_as_text and data.isascii() and self._fits(data):
                payload = f'"text":{json.dumps(data.decode("ascii"))}'
            elif self._texts is None:
                payload = f'"base64":"{binascii.b2a_base64(data, newline=False).decode("ascii")}"'
            elif not self._fits(data):
                self._add_in_parts(messages, first, data, seq)
                return
            else:
                # Its place is that of the first record: that is where `before` looks.
                text = self._texts.feed(Record(first.seq, first.time, first.stream, data, first.command_id))
                self._unended.add(first.command_id)
                if not text:
                    return  # the beginning of a character
                payload = f'"text":{json.dumps(text, ensure_ascii=not self._for_socket)}'
        messages.append(self._message(first.stream, first.command_id, seq, first.time, payload))

    def _fits(self, data: bytes) -> bool:
        return not self._for_socket or len(data) <= PART_BYTES or size_as_text(data) <= MESSAGE_BYTES

    def _add_in_parts(self, messages: list[Message], first: Record, data: bytes, seq: int) -> None:
        for begin in range(0, len(data), PART_BYTES):
            part = attrs.evolve(first, data=data[begin : begin + PART_BYTES])
            self._add(messages, [part], seq if begin + PART_BYTES >= len(data) else first.seq - 1)

    def begin(self, record: Record) -> None:
        """Reading began with this record, which is empty: a character that began before it is not complete."""
        if self._texts is not None:
            self._texts.feed(record)
            self._unended.add(record.command_id)

    def tells(self, command_id: str) -> bool:
        """Whether text of this command has been told."""
        return command_id in self._unended

    def rest(self, command_id: str, seq: int, time: float) -> list[Message]:
        """What is left of characters at the end of a command, which is at `seq` and `time`."""
        self._unended.discard(command_id)
        if self._texts is None:
            return []
        return [
            self._message(stream, command_id, seq, time, f'"text":{json.dumps(text)}')
            for stream, text in self._texts.end(command_id)
        ]

    def rest_of_all(self, seq: int, time: float) -> list[Message]:
        return [message for command_id in sorted(self._unended) for message in self.rest(command_id, seq, time)]

    def _message(self, event: str, command_id: str, seq: int, time: float, payload: str) -> Message:
        data = f'{{"seq":{seq},"time":{time!r},"command_id":"{command_id}",{payload}}}'
        return Message(event, self._make_id(command_id, seq), data)
