"""Lines of many commands on one terminal: each line begins with whose it is, and no two are mixed. Plain; no I/O."""

from __future__ import annotations

from typing import Final

from .text import styled

LONGEST_BYTES: Final = 65536
"""A line that is longer than this is told in pieces, as something may never end one."""
COLOURS: Final = ("cyan", "yellow", "green", "magenta", "blue", "red")


class Prefixes:
    """Gives each name a prefix and, on a terminal, a colour of its own. All are as wide as the widest so far."""

    def __init__(self, colour: bool) -> None:
        self._colour = colour
        self._styles: dict[str, str] = {}
        self._made: dict[str, bytes] = {}
        self._width = 0

    def add(self, name: str) -> None:
        self._styles.setdefault(name, COLOURS[len(self._styles) % len(COLOURS)])
        if len(name) > self._width:
            self._width = len(name)
            self._made.clear()

    def __getitem__(self, name: str) -> bytes:
        made = self._made.get(name)
        if made is None:
            self.add(name)
            made = styled(f"{name:<{self._width}} |", self._styles[name], self._colour).encode() + b" "
            self._made[name] = made
        return made


class Lines:
    """Cuts one stream into lines, whatever pieces it comes in, and puts something in front of each."""

    def __init__(self) -> None:
        self._rest = b""
        self._front = b""

    def feed(self, data: bytes, prefix: bytes) -> bytes:
        """The lines that are complete with `data`; in front of each the prefix with which it began."""
        if not self._rest:
            self._front = prefix
        data = self._rest + data
        end = data.rfind(b"\n") + 1
        whole, self._rest = data[:end], data[end:]
        told = b""
        if whole:
            told = self._front + whole[:-1].replace(b"\n", b"\n" + prefix) + b"\n"
            self._front = prefix
        return told + self.finish() if len(self._rest) > LONGEST_BYTES else told

    def finish(self) -> bytes:
        """What is left without an end of line gets one."""
        rest, self._rest = self._rest, b""
        return self._front + rest + b"\n" if rest else b""
