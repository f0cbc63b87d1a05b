"""What a program draws, as far as whoever shows it must understand it. Plain; no I/O.

A screen that is drawn again from the log must not ask the user's terminal again what was asked then: its answers would be
taken for typing. And a terminal that is left in the middle gets back the modes that its shell expects.
"""

from __future__ import annotations

import re
from typing import Final

QUESTIONS: Final = re.compile(
    rb"\x1b\[[?>=]?[0-9;]*c"  # which terminal it is
    rb"|\x1b\[\??[0-9;]*n"  # its state, the place of the cursor
    rb"|\x1b\[>[0-9]*q"  # its version
    rb"|\x1b\[\??[0-9;]*\$p"  # a mode
    rb"|\x1b\[\?[0-9;]*u"  # its keyboard
    rb"|\x1b\[(?:1[1345689]|2[01])(?:;[0-9]+)*t"  # its window
    rb"|\x1b\[[01]?x"  # its line
    rb"|\x05"
    rb"|\x1bP[+$]q[^\x1b\x07]*(?:\x1b\\|\x07)"  # a setting
    rb"|\x1b_G[^\x1b\x07]*\x1b\\"  # pictures, which are acknowledged
    rb"|\x1b\][0-9]+;(?:[0-9a-z]*;)*\?(?:\x1b\\|\x07)"  # a colour, the clipboard
)
"""ECMA-48 and https://invisible-island.net/xterm/ctlseqs: what a terminal answers."""
BEGINNING: Final = re.compile(rb"[\x1b\r\n]")
MODE: Final = re.compile(
    rb"\x1b(?:"
    rb"\[\?(?P<numbers>[0-9;]*)(?P<switch>[hl])"
    rb"|(?P<keypad>[=>])"
    rb"|\[(?P<keyboard>[<>])[0-9;]*u"
    rb"|\[>4(?:;(?P<modifiers>[0-9]*))?m"
    rb"|\[(?P<margins>[0-9;]*)r"
    rb"|(?P<reset>c|\[!p))"
)
LONGEST_MODE: Final = 64
UNDONE: Final[dict[str, bytes]] = {
    # Keys and mouse, focus, pasting; last the other screen, to which some of the others belong.
    "keyboard": b"\x1b[<u",
    "modifiers": b"\x1b[>4m",
    "keypad": b"\x1b>",
    "25": b"\x1b[?25h",
    "7": b"\x1b[?7h",
    **{
        name: b"\x1b[?%sl" % name.encode()
        for name in "1 9 1000 1001 1002 1003 1004 1005 1006 1015 1016 2004 2026 2031 47 1047 1049".split()
    },
    "margins": b"\x1b7\x1b[r\x1b8",
}
"""What puts each of them back, in the order in which that must be done."""
ON_BY_DEFAULT: Final = ("25", "7")
PLAIN: Final = b"\x1b[0m\x1b(B"
"""No colours, and letters for letters."""


def without_questions(data: bytes) -> bytes:
    return QUESTIONS.sub(b"", data)


def from_a_beginning(data: bytes) -> bytes:
    """Without what may be the rest of a character or of a control sequence."""
    found = BEGINNING.search(data)
    return data[found.start() :] if found else data


class Modes:
    """The modes in which a program has put the terminal."""

    def __init__(self) -> None:
        self._changed: set[str] = set()
        self._rest = b""
        self._has_drawn = False

    def feed(self, data: bytes) -> None:
        self._has_drawn = self._has_drawn or bool(data)
        data = self._rest + data
        end = 0
        for found in MODE.finditer(data):
            end = found.end()
            self._read(found)
        # A sequence may go on in the next piece.
        last = data.rfind(b"\x1b", end)
        self._rest = data[last:] if last >= 0 and len(data) - last < LONGEST_MODE else b""

    def _read(self, found: re.Match[bytes]) -> None:
        match found.lastgroup:
            case "reset":
                self._changed.clear()
            case "switch":
                for name in found["numbers"].decode("ascii").split(";"):
                    self._note(name, (found["switch"] == b"h") != (name in ON_BY_DEFAULT))
            case "keypad":
                self._note("keypad", found["keypad"] == b"=")
            case "keyboard":
                self._note("keyboard", found["keyboard"] == b">")
            case "margins":
                self._note("margins", bool(found["margins"]))
            case _:
                self._note("modifiers", (found["modifiers"] or b"0") != b"0")

    def _note(self, name: str, is_changed: bool) -> None:
        if is_changed and name in UNDONE:
            self._changed.add(name)
        else:
            self._changed.discard(name)

    def undo(self) -> bytes:
        """What puts the terminal back."""
        undone = b"".join(text for name, text in UNDONE.items() if name in self._changed)
        return PLAIN + undone if self._has_drawn else b""
