"""The part of a log that is there now, from the root's files or from a server, a piece at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from .. import reading_logs
from ..command import Command
from ..models import Record
from ..selection import Selection
from ..session import Session

if TYPE_CHECKING:
    from ..client.command import RemoteCommand
    from ..client.session import RemoteSession
    from .hosts import AnyCommand, AnySession

Tell: TypeAlias = Callable[[list[Record]], Awaitable[None]]

PIECE_BYTES: Final = 1 << 16
PIECE_RECORDS: Final = 1024


async def read_pieces(target: AnyCommand | AnySession, asked: Selection, tell: Tell) -> int | None:
    """Tell the asked part of a log; the seq of its last record."""
    if isinstance(target, Command | Session):
        return await read_files(target, asked, tell)
    return await read_server(target, asked, tell)


async def read_files(target: Command | Session, asked: Selection, tell: Tell) -> int | None:
    last = None
    piece: list[Record] = []
    size = 0
    info = target.info if isinstance(target, Command) else target.id
    for record in reading_logs.read_pieces(target.archive, info, asked):
        piece.append(record)
        size += len(record.data)
        last = record.seq
        if size >= PIECE_BYTES or len(piece) >= PIECE_RECORDS:
            await tell(piece)
            piece, size = [], 0
    if piece:
        await tell(piece)
    return last


async def read_server(target: RemoteCommand | RemoteSession, asked: Selection, tell: Tell) -> int | None:
    from ..client import calls
    from ..client.command import RemoteCommand
    from ..client.events import read_record
    from ..client.feed import Feed

    path = calls.command_path(target.id) if isinstance(target, RemoteCommand) else calls.session_path(target.id)
    last: int | None = None

    def ask() -> calls.Call:
        # Where the connection was cut: behind the last record there is only what was asked for, so the tail needs no counting.
        return calls.logs(path, asked if last is None else attrs.evolve(asked, tail=None, after=last))

    if asked.tail == 0:
        return None
    feed = Feed(target.connection, ask)
    try:
        await feed.open()
        while True:
            piece: list[Record] = []
            for event in await feed.next():
                if event.event == "end":
                    if piece:
                        await tell(piece)
                    await feed.finish()
                    return last
                piece.append(read_record(event))
                last = piece[-1].seq
            await tell(piece)
    finally:
        await feed.close()
