"""Waiting for output that matches: what is logged already, then what comes."""

from __future__ import annotations

import re
from typing import Final

import trio

from .archive import Archive
from .following import Follower
from .matching import PatternSearch
from .models import CommandInfo

GROW_SECONDS: Final = 0.05
"""How long a match may grow that ends where the output ends: "port 80" may be the beginning of "port 8080"."""
PIECES: Final = 512
"""So many records are searched together, if they are there."""


async def find_match(
    archive: Archive, command: CommandInfo, pattern: re.Pattern[bytes], stream: str | None
) -> re.Match[bytes] | None:
    """The first match in one of the streams; None if the command ends without."""
    searches = {"stdout": PatternSearch(pattern), "stderr": PatternSearch(pattern)}
    pieces: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
    tentative: dict[str, re.Match[bytes]] = {}
    grown_at = float("inf")
    follower = Follower(stream, late=False)
    try:
        follower.add_commands(archive, command.session_id, [command], None)
        while True:
            with trio.move_on_at(grown_at) as patience:
                item = await follower.next()
            if tentative and patience.cancelled_caught:
                break
            record = item[1] if item else None
            if record is not None and record.stream in pieces:
                pieces[record.stream].append(record.data)
                if follower.has_more_now and len(pieces[record.stream]) < PIECES:
                    continue
            for name, waiting in pieces.items():
                if not waiting:
                    continue
                found = searches[name].feed(b"".join(waiting))
                waiting.clear()
                if found is None:
                    tentative.pop(name, None)  # what came made it something else
                elif found[1]:
                    tentative[name] = found[0]
                else:
                    return found[0]
            if not tentative:
                grown_at = float("inf")
            elif grown_at == float("inf"):
                grown_at = trio.current_time() + GROW_SECONDS
            if record is None:
                break
            if trio.current_time() >= grown_at:
                break
    finally:
        follower.close()
    return next(iter(tentative.values()), None)
