"""Text for terminals: made harmless, measured in cells, cut, laid out in columns. Plain; no I/O."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

GAP: Final = "  "
CODES: Final[Mapping[str, str]] = {
    "bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "magenta": "35", "cyan": "36",
}  # fmt: skip
LEAST_CELLS: Final = 8
"""What the last column keeps however narrow the terminal is."""


@attrs.frozen
class Cell:
    """One field of a table."""

    text: str
    style: str | None = None


@attrs.frozen
class Column:
    title: str
    right: bool = False


def harmless(text: str) -> str:
    """One line without control characters: a command's text must not move the cursor of who lists it.

    >>> harmless("a\\tb\\nc\\x1b[2J")
    'a b c\\\\x1b[2J'
    """
    flat = " ".join(text.split())
    if flat.isprintable():
        return flat
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in flat)


def cells(text: str) -> int:
    """How many columns of a terminal it takes.

    >>> cells("naïve"), cells("日本")
    (5, 4)
    """
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def shorten(text: str, width: int) -> str:
    """At most `width` cells, with a mark where something is missing.

    >>> shorten("make everything", 8)
    'make ev…'
    """
    if cells(text) <= width:
        return text
    kept, room = [], width - 1
    for letter in text:
        room -= cells(letter)
        if room < 0:
            break
        kept.append(letter)
    return "".join(kept) + "…"


def styled(text: str, style: str | None, colour: bool) -> str:
    return f"\x1b[{CODES[style]}m{text}\x1b[0m" if colour and style and text else text


def lay_out(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], *, width: int | None, colour: bool = False
) -> list[str]:
    """The lines of a table. `width` is the terminal's: the last column is cut to fit; None for no terminal, nothing is cut."""
    shown = [[Cell(column.title, "dim") for column in columns], *rows]
    widths = [max(cells(row[at].text) for row in shown) for at in range(len(columns))]
    if width is not None:
        taken = sum(widths[:-1]) + len(GAP) * (len(columns) - 1)
        widths[-1] = max(LEAST_CELLS, min(widths[-1], width - taken))
    lines = []
    for row in shown:
        fields = []
        for at, (column, cell) in enumerate(zip(columns, row, strict=True)):
            text = shorten(cell.text, widths[at])
            space = " " * (widths[at] - cells(text))
            if at == len(columns) - 1 and not column.right:
                space = ""
            painted = styled(text, cell.style, colour)
            fields.append(space + painted if column.right else painted + space)
        lines.append(GAP.join(fields).rstrip())
    return lines
