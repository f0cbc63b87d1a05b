"""Reading a log that is there: as a stream, so that its size is no matter."""

from __future__ import annotations

import attrs

from ..models import Logs
from ..selection import Selection
from . import calls
from .connection import Connection
from .events import Gathering, read_record
from .feed import Feed


async def read_logs(connection: Connection, target: str, asked: Selection) -> Logs:
    """The log of a command or session; `target` is its path. Where a connection is cut, it goes on behind the last record."""
    found = Gathering()
    after = asked.after

    def ask() -> calls.Call:
        nonlocal found, after
        if asked.tail is not None or asked.start is not None or asked.stop is not None:
            # These count from an end of the log: there is no going on behind a record.
            found, after = Gathering(), asked.after
        return calls.logs(target, attrs.evolve(asked, after=after))

    feed = Feed(connection, ask)
    try:
        await feed.open()
        while True:
            for event in await feed.next():
                if event.event == "end":
                    await feed.finish()
                    return found.logs()
                record = read_record(event)
                found.add(record)
                after = record.seq
    finally:
        await feed.close()
