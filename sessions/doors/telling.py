"""What a follower reads, as messages that any kind of stream can carry. No I/O.

Neighbouring records of one command and stream that were read within 10 ms become one message: a message costs far more than
a record. A message's id is that of its last record, its time that of its first. Text never ends inside a character: the
rest of one is told with the next message. What is left of one at a command's end is told with the id of the command's end.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from ..models import Record
from ..texts import Texts

MERGE_SECONDS: Final = 0.010
MERGE_BYTES: Final = 1 << 16
"""Larger records gain nothing by it, and clients bound the size of a message."""


class Message(NamedTuple):
    event: str
    """Empty if it only tells the place where reading begins."""
    id: str | None
    """Where to go on behind it; None if it moves nothing."""
    data: str
    """One JSON object in ASCII."""


def plain_id(command_id: str, seq: int) -> str:
    """For a stream of one session: the seq alone."""
    return str(seq)


def full_id(command_id: str, seq: int) -> str:
    """For a stream of many sessions: a seq is unique in its session only."""
    return f"{command_id.partition('-')[0]}:{seq}"


class Teller:
    """Makes the messages of one stream."""

    def __init__(
        self,
        encoding: str,
        make_id: Callable[[str, int], str] = plain_id,
        before: Callable[[Record], bytes] | None = None,
    ) -> None:
        """`encoding` is ``"text"``, ``"base64"``, or ``"auto"``: bytes exactly, as text where they are ASCII, which is cheaper.

        `before` gives the bytes in front of a record, as `Texts` needs them where reading does not begin at the first.
        """
        self.is_text = encoding == "text"
        self._texts = Texts(before) if self.is_text else None
        self._ascii_as_text = encoding == "auto"
        self._make_id = make_id
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

    def _add(self, messages: list[Message], run: list[Record]) -> None:
        if not run:
            return
        first, seq = run[0], run[-1].seq
        if first.stream == "dropped":
            payload = f'"dropped_bytes":{first.dropped_bytes}'
        else:
            data = first.data if len(run) == 1 else b"".join([record.data for record in run])
            if self._ascii_as_text and data.isascii():
                payload = f'"text":{json.dumps(data.decode("ascii"))}'
            elif self._texts is None:
                payload = f'"base64":"{binascii.b2a_base64(data, newline=False).decode("ascii")}"'
            else:
                # Its place is that of the first record: that is where `before` looks.
                text = self._texts.feed(Record(first.seq, first.time, first.stream, data, first.command_id))
                self._unended.add(first.command_id)
                if not text:
                    return  # the beginning of a character
                payload = f'"text":{json.dumps(text)}'
        messages.append(self._message(first.stream, first.command_id, seq, first.time, payload))

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
