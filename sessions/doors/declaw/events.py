r"""Logs as the server-sent events of the Declaw dialect, which has a form of its own for each of its streams. No I/O.

- A command's: one event for each line, its line end kept. Clients read ``type``, the vendor's document says ``stream``: both are
  there. What is not ASCII is escaped, since clients break lines at U+2028, too; there is one ``data:`` line in each event.
- A process's with a stdin: bytes in base64, with a number to go on behind.
- A terminal's: bytes in base64.

    >>> Lines().tell([Record(0, 0.0, "stdout", b"1\n2", "c")])
    b'event: stdout\ndata: {"type": "stdout", "stream": "stdout", "data": "1\\n"}\n\n'
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final, Protocol

from ...decoding import TextDecoder
from ...models import Record

SILENCE: Final = b": keepalive\n\n"
LINE_CHARACTERS: Final = 4 << 20
"""A longer line is told in pieces."""
STREAMS: Final = ("stdout", "stderr")


class Events(Protocol):
    """Makes the events of one stream, in their order."""

    def tell(self, records: Iterable[Record]) -> bytes: ...

    def end(self, exit_code: int) -> bytes:
        """The last ones."""


def to_event(name: str, data: str) -> str:
    return f"event: {name}\ndata: {data}\n\n"


def to_exit(exit_code: int) -> str:
    return to_event("exit", f'{{"exit_code": {exit_code}}}')


def to_failure(message: str) -> bytes:
    """The last events of a command's stream that can't go on."""
    return (to_event("error", json.dumps({"error": message})) + to_exit(-1)).encode("ascii")


def runs(records: Iterable[Record]) -> Iterator[tuple[str, int, bytes]]:
    """Neighbouring records of one stream put together, with the seq of the last one."""
    for stream, group in groupby(records, key=lambda record: record.stream):
        if stream in STREAMS:
            found = list(group)
            yield stream, found[-1].seq, b"".join([record.data for record in found])


class Lines:
    """For a command: text, line by line. A last line without its end is told when the command is over."""

    def __init__(self) -> None:
        self._decoders = {stream: TextDecoder() for stream in STREAMS}
        self._begun: dict[str, list[str]] = {stream: [] for stream in STREAMS}
        """The pieces of each stream's line that has not ended."""
        self._characters = dict.fromkeys(STREAMS, 0)

    def tell(self, records: Iterable[Record]) -> bytes:
        events: list[str] = []
        for stream, _, data in runs(records):
            self._add(events, stream, self._decoders[stream].feed(data))
        return "".join(events).encode("ascii")

    def end(self, exit_code: int) -> bytes:
        events: list[str] = []
        for stream in STREAMS:
            self._add(events, stream, self._decoders[stream].finish())
            self._flush(events, stream)
        return "".join([*events, to_exit(exit_code)]).encode("ascii")

    def _add(self, events: list[str], stream: str, text: str) -> None:
        begun = self._begun[stream]
        *lines, rest = text.split("\n")
        for line in lines:
            begun.append(line + "\n")
            self._flush(events, stream)
        if rest:
            begun.append(rest)
            self._characters[stream] += len(rest)
            if self._characters[stream] >= LINE_CHARACTERS:
                self._flush(events, stream)

    def _flush(self, events: list[str], stream: str) -> None:
        text = "".join(self._begun[stream])
        if text:
            events.append(to_event(stream, f'{{"type": "{stream}", "stream": "{stream}", "data": {json.dumps(text)}}}'))
        self._begun[stream].clear()
        self._characters[stream] = 0


class Entries:
    """For a process with a stdin: bytes, and a number that tells what has been seen."""

    def tell(self, records: Iterable[Record]) -> bytes:
        return b"".join(
            [
                b'event: %s\ndata: {"data": "%s", "entry_id": %d}\n\n'
                % (stream.encode(), binascii.b2a_base64(data, newline=False), entry_of(seq))
                for stream, seq, data in runs(records)
            ]
        )

    def end(self, exit_code: int) -> bytes:
        return to_exit(exit_code).encode("ascii")


def entry_of(seq: int) -> int:
    """Clients take the number 0 for none."""
    return seq + 1


def seq_of(entry: int) -> int:
    return entry - 1


class Screens:
    """For a terminal: bytes."""

    def tell(self, records: Iterable[Record]) -> bytes:
        return b"".join(
            [
                b'event: data\ndata: {"data": "%s"}\n\n' % binascii.b2a_base64(data, newline=False)
                for _, _, data in runs(records)
            ]
        )

    def end(self, exit_code: int) -> bytes:
        return to_exit(exit_code).encode("ascii")
