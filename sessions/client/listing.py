"""Listing commands, page by page."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import Broken
from ..models import CommandInfo
from . import calls
from .answers import read_command
from .connection import Connection


async def list_commands(
    connection: Connection,
    session: str | None,
    state: str | None,
    labels: Mapping[str, str] | None,
    limit: int | None,
    before: str | None,
) -> list[CommandInfo]:
    """Oldest first; of more than `limit` the newest."""
    found: list[CommandInfo] = []
    missing = limit
    while True:
        call = calls.list_commands(session, state, labels, missing, before)
        if missing == 0:
            return found
        page = await connection.call(call)
        try:
            infos = [read_command(value) for value in page["commands"]]
            before = page["next"]
        except (TypeError, LookupError) as error:
            raise Broken(f"the answer of {connection.address} can't be understood: {error!r}") from None
        found = infos + found
        if missing is not None:
            missing -= len(infos)
        if before is None:
            return found
