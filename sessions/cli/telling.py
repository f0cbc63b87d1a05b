"""Records to what a terminal or a file gets: raw, with times, or as lines of many commands. Plain; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..doors.rendering import Raw, Rendering, StampedText, rfc3339
from ..models import Record
from .prefixes import Lines, Prefixes


class PrefixedText:
    """Whole lines, each with its command's prefix, and with its time if that is wanted."""

    def __init__(
        self, name_of: Callable[[str], str], command_ids: Sequence[str], colour: bool, timestamps: bool
    ) -> None:
        """`name_of` makes what stands in front of a command's lines from its id; `command_ids` are those that are sure to come."""
        self._name_of = name_of
        self._prefixes = Prefixes(colour)
        self._timestamps = timestamps
        self._lines: dict[tuple[str, str], Lines] = {}
        for command_id in command_ids:
            self._prefixes.add(name_of(command_id))

    def feed(self, records: Sequence[Record]) -> bytes:
        return b"".join(map(self._feed, records))

    def _feed(self, record: Record) -> bytes:
        prefix = self._prefixes[self._name_of(record.command_id)]
        if self._timestamps:
            prefix += f"{rfc3339(record.time)} {record.stream} ".encode()
        if record.stream == "dropped":
            return prefix + f"[{record.dropped_bytes} bytes are no longer kept]\n".encode()
        lines = self._lines.setdefault((record.command_id, record.stream), Lines())
        return lines.feed(record.data, prefix)

    def finish(self) -> bytes:
        return b"".join(lines.finish() for lines in self._lines.values())


def plain_or_stamped(timestamps: bool) -> Rendering:
    return StampedText(None) if timestamps else Raw()
