"""Finds the commands that were meant: by id, by a session's name, by the beginning of either."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import Expired, NotFound
from ..ids import command_id, parse_command_id
from .choosing import choose_command

if TYPE_CHECKING:
    from .hosts import AnyCommand, Reader


async def find_command(reader: Reader, text: str) -> AnyCommand:
    """One command; see `choose_command` for what may stand for it."""
    if parse_command_id(text) is not None:
        try:
            return await reader.get_command(text)
        except Expired:
            raise
        except NotFound:
            pass  # a session may be called so
    try:
        session, number = (await reader.get_session(text)).info, None
    except Expired:
        raise
    except NotFound:
        infos = [session.info for session in await reader.list_sessions()]
        session, number = choose_command(text, infos)
    if number is not None:
        return await reader.get_command(command_id(session.id, number))
    found: Sequence[AnyCommand] = await reader.list_commands(session=session.id, limit=1)
    if not found:
        raise NotFound(f"session {session.name!r} holds no commands: nothing was run in it, or it has expired")
    return found[0]


async def find_commands(reader: Reader, texts: Sequence[str]) -> list[AnyCommand]:
    """Each of them once, in the order in which they were named."""
    found: dict[str, AnyCommand] = {}
    for text in texts:
        command = await find_command(reader, text)
        found.setdefault(command.id, command)
    return list(found.values())
