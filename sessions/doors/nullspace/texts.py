"""Logs as texts in one JSON object. No I/O but reading them, a piece at a time.

Each stream is decoded by itself, so that a character that another stream has interrupted is whole. While a command runs, what
is not complete is not told yet: its client compares what it gets with what it got, and expects that only something is added.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias

from ...archive import Archive
from ...models import CommandInfo
from ...reading_logs import read_pieces
from ...selection import Selection
from ...texts import Texts
from ..requests import to_json

Part: TypeAlias = Literal["stdout", "stderr", "output"]
PIECE_CHARACTERS: Final = 1 << 16


def log_pieces(archive: Archive, info: CommandInfo, parts: Iterable[Part], facts: Mapping[str, Any]) -> Iterator[bytes]:
    """The object of these parts of a log, as it was at `info`, and of facts."""
    yield to_json(facts)[:-1].encode()
    separator = b"," if facts else b""
    for part in parts:
        yield separator + b'"%s":"' % part.encode()
        for text in gather(read_text(archive, info, part)):
            yield json.dumps(text, ensure_ascii=False)[1:-1].encode()
        yield b'"'
        separator = b","
    yield b"}"


def read_text(archive: Archive, info: CommandInfo, part: Part) -> Iterator[str]:
    finished = info.finished_at is not None
    sizes = {"stdout": info.stdout_bytes, "stderr": info.stderr_bytes, "output": info.stdout_bytes + info.stderr_bytes}
    texts = Texts()
    stop = None if finished else sizes[part]
    for record in read_pieces(archive, info, Selection(stream=None if part == "output" else part, stop=stop)):
        if record.data:
            yield texts.feed(record)
    if finished:
        for _, text in texts.end_all():
            yield text


def gather(texts: Iterable[str]) -> Iterator[str]:
    """The same in fewer pieces."""
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= PIECE_CHARACTERS:
            yield "".join(batch)
            batch, size = [], 0
    yield "".join(batch)
