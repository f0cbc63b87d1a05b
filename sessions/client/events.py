"""Server-sent events: from bytes as they come to records, and from records to a log. Plain; no I/O.

httpx-sse parses an answer as a whole; here it gets all events that are complete at a time, so that what reads the connection
is one object with one ``await``, and no chain of generators that would have to be closed.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from httpx_sse import EventSource, ServerSentEvent

from ..errors import Broken
from ..models import Event, InterleavedLogs, Logs, Record, StreamName
from .answers import from_base64, read_value

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

END_OF_EVENT: Final = b"\n\n"


class EventSplitter:
    """Gathers bytes until they are whole events."""

    def __init__(self) -> None:
        self.last_id = ""
        """The place behind which to go on, if the server has told one."""
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """The events that are complete with `data`; heartbeats are none."""
        end = data.rfind(END_OF_EVENT) + len(END_OF_EVENT)
        if end < len(END_OF_EVENT):
            # None in it, but one may lie across the border.
            end = 1 if data.startswith(b"\n") and self._pieces and self._pieces[-1].endswith(b"\n") else 0
        if not end:
            self._pieces.append(data)
            return []
        block = b"".join([*self._pieces, data[:end]])
        self._pieces = [data[end:]] if end < len(data) else []
        events = parse(block)
        if events:
            self.last_id = events[-1].id or self.last_id
        # An id makes the parser tell of each blank line behind it, also of one behind a comment.
        return [event for event in events if event.event != "message"]


class Block:
    """Whole events, as the part of an `httpx.Response` that httpx-sse reads: a real one would copy them twice more."""

    headers: Final = {"content-type": "text/event-stream"}

    def __init__(self, data: bytes) -> None:
        self._data = data

    def iter_text(self) -> Iterator[str]:
        yield self._data.decode("utf-8", "replace")


def parse(block: bytes) -> list[ServerSentEvent]:
    return list(EventSource(cast("httpx.Response", Block(block))).iter_sse())


def read_fields(event: ServerSentEvent) -> Any:
    return understand(lambda: json.loads(event.data))


def read_record(event: ServerSentEvent) -> Record:
    """A record, or several that were sent as one, under the last one's seq."""

    def read() -> Record:
        fields = json.loads(event.data)
        seq, time, command_id = int(fields["seq"]), float(fields["time"]), str(fields["command_id"])
        if event.event == "dropped":
            return Record(seq, time, "dropped", b"", command_id, int(fields["dropped_bytes"]))
        stream: StreamName = "stdout" if event.event == "stdout" else "stderr"
        data = fields["text"].encode("ascii") if "text" in fields else from_base64(fields["base64"])
        return Record(seq, time, stream, data, command_id)

    return understand(read)


def read_event(event: ServerSentEvent) -> Event:
    return read_value(read_fields(event), Event)


def understand(read: Callable[[], T]) -> T:
    try:
        return read()
    except (ValueError, TypeError, LookupError) as error:
        raise Broken(f"a server's event can't be understood: {error!r}") from None


class Gathering:
    """A log, put together from its records. In memory is what it holds, once."""

    def __init__(self) -> None:
        self.dropped_bytes = 0
        self._last_seq = -1
        self._output = io.BytesIO()
        self._pieces: list[tuple[StreamName, int]] = []

    def add(self, record: Record) -> None:
        self.dropped_bytes += record.dropped_bytes
        self._last_seq = record.seq
        if not record.data or record.stream == "dropped":
            return
        self._output.write(record.data)
        if self._pieces and self._pieces[-1][0] == record.stream:
            self._pieces[-1] = (record.stream, self._pieces[-1][1] + len(record.data))
        else:
            self._pieces.append((record.stream, len(record.data)))

    def logs(self) -> Logs:
        output = self._output.getvalue()
        streams = {stream for stream, _ in self._pieces}
        if len(streams) == 2:
            return InterleavedLogs(output, self._pieces, self.dropped_bytes, self._last_seq)
        return Logs(
            output if streams == {"stdout"} else b"",
            output if streams == {"stderr"} else b"",
            output,
            self.dropped_bytes,
            self._last_seq,
        )
