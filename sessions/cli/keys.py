"""What is typed into an attached terminal: what of it is for the program, and what leaves. Plain; no I/O.

``Ctrl-\\ d`` leaves. ``Ctrl-\\`` twice types it once; before any other key it is typed with that.
"""

from __future__ import annotations

import re
from typing import Final

PREFIX: Final = re.compile(rb"\x1c|\x1b\[92;5u")
"""Ctrl-\\, also as terminals write it whose keyboard a program has switched to https://sw.kovidgoyal.net/kitty/keyboard-protocol."""
LEAVE: Final = b"d"


class Keys:
    """One keyboard."""

    def __init__(self) -> None:
        self._prefix = b""
        """What was typed of it, while the key behind it is waited for."""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What goes to the program, and whether to leave: what was typed behind that goes nowhere."""
        typed = b""
        while data:
            if self._prefix:
                if data.startswith(LEAVE):
                    return typed, True
                typed += self._prefix
                self._prefix = b""
                again = PREFIX.match(data)
                data = data[again.end() :] if again else data
                continue
            found = PREFIX.search(data)
            if found is None:
                return typed + data, False
            typed += data[: found.start()]
            self._prefix, data = found[0], data[found.end() :]
        return typed, False
