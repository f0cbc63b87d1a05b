"""Records to text: for each command and stream the characters that are complete, also where reading began in the middle of one."""

from __future__ import annotations

from collections.abc import Callable

from .decoding import TextDecoder
from .models import Record


class Texts:
    """Decodes the records of any number of commands."""

    def __init__(self, before: Callable[[Record], bytes] | None = None) -> None:
        """`before` gives the last bytes in front of a record: needed where reading does not begin at the first one."""
        self._before = before
        self._decoders: dict[tuple[str, str], TextDecoder] = {}

    def feed(self, record: Record) -> str:
        """The text that is complete with this record of stdout or stderr."""
        decoder = self._decoders.get((record.command_id, record.stream))
        if decoder is None:
            decoder = self._decoders[record.command_id, record.stream] = TextDecoder()
            if self._before is not None:
                decoder.feed(self._before(record))  # told already, but for the beginning of a character
        return decoder.feed(record.data)

    def end(self, command_id: str) -> list[tuple[str, str]]:
        """What an unfinished character at the end of a command's streams comes to: pairs of stream and text."""
        ended = [key for key in self._decoders if key[0] == command_id]
        return [(stream, text) for _, stream in ended if (text := self._decoders.pop((command_id, stream)).finish())]

    def end_all(self) -> list[tuple[str, str]]:
        """The same for all that have not ended."""
        return [pair for command_id in {key[0] for key in self._decoders} for pair in self.end(command_id)]
