"""Waiting for output that matches: what is logged already, then what comes."""

from __future__ import annotations

import re

import trio

from .archive import Archive
from .following import Follower
from .matching import OutputSearch
from .models import CommandInfo


async def find_match(
    archive: Archive, command: CommandInfo, search: OutputSearch, stream: str | None
) -> re.Match[bytes] | None:
    """The first match in one of the streams; None if the command ends without.

    Who is out of patience before a match at the very end has stopped growing finds that in ``search.tentative``.
    """
    follower = Follower(stream, late=False)
    try:
        follower.add_commands(archive, command.session_id, [command], None)
        while True:
            with trio.move_on_at(search.deadline) as patience:
                item = await follower.next()
            if patience.cancelled_caught:
                return search.tentative
            record = item[1] if item else None
            must_search = record is None or search.add(record.stream, record.data)
            if follower.has_more_now and not must_search:
                continue
            match = search.search(trio.current_time())
            if match is not None:
                return match
            if record is None:
                return search.tentative
    finally:
        follower.close()
