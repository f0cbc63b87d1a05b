"""The header Range: which bytes of how many. No I/O."""

from __future__ import annotations

import re
from typing import Final

from ...errors import SessionsError

ONE_RANGE: Final = re.compile(r"(?i:bytes)=(?:([0-9]{1,20})-([0-9]{1,20})?|-([0-9]{1,20}))")
"""Of up to 64 bits: some clients write the largest number there is for the end."""


class NotSatisfiable(SessionsError):
    """None of the bytes that are asked for is there."""

    code = "range_not_satisfiable"
    status = 416

    def __init__(self, message: str, size: int) -> None:
        super().__init__(message)
        self.headers = {"Content-Range": f"bytes */{size}"}


def read_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The first byte and the one behind the last; None for the whole, which is also the answer to what is no single range.

    >>> read_range("bytes=2-3", 10), read_range("bytes=8-99", 10), read_range("bytes=-4", 10), read_range("lines=1-2", 10)
    ((2, 4), (8, 10), (6, 10), None)
    """
    match = ONE_RANGE.fullmatch(header.strip()) if header else None
    if match is None:
        return None
    first, last, suffix = match.groups()
    start = max(0, size - int(suffix)) if suffix else int(first)
    stop = min(size, int(last) + 1) if last else size
    if last and int(last) < int(first):
        return None
    if start >= size:
        raise NotSatisfiable(f"{header} is behind the end: there are {size} bytes", size)
    return start, stop
