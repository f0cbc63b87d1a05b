"""`sessions ps`: what runs, and what ran."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from .kinds import pairs, sessions_here
from .outlets import has_colour, say, terminal_width
from .place import Place

if TYPE_CHECKING:
    from ..models import CommandInfo
    from .hosts import AnyCommand, Reader
    from .text import Cell, Column

USUAL: Final = 20
STATES: Final = ("queued", "running", "finished")
"""Also what `list_commands` takes; named here so that --help loads no engine."""


@attrs.frozen(kw_only=True)
class Asked:
    """Which commands to list."""

    session: str | None
    state: str | None
    labels: Mapping[str, str]
    limit: int
    everything: bool


@click.command("ps")
@click.option("-s", "--session", shell_complete=sessions_here, metavar="NAME", help="Only those of this session.")
@click.option("--state", type=click.Choice([*STATES, "open", "stalled", "ended", "closed", "lost"]), help="Only these.")
@click.option(
    "-l", "--label", "labels", multiple=True, callback=pairs, metavar="KEY=VALUE", help="Only with this label."
)
@click.option("-n", "--limit", type=click.IntRange(min=1), default=USUAL, show_default=True, help="The newest so many.")
@click.option("-a", "--all", "everything", is_flag=True, help="All that are kept.")
@click.option("-q", "--quiet", is_flag=True, help="Ids only.")
@click.option("--sessions", "of_sessions", is_flag=True, help="List sessions.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@click.pass_obj
def ps(place: Place, /, of_sessions: bool, quiet: bool, as_json: bool, **asked: Any) -> None:
    """List commands, the newest last: all that have not finished, and the newest of the others.

    With --sessions, list sessions: the open ones, or with --all or --state others too.
    """
    if of_sessions and asked["session"] is not None:
        raise click.UsageError("--session goes with commands: leave out --sessions")
    if asked["state"] is not None and (asked["state"] in STATES) == of_sessions:
        raise click.UsageError(f"--state {asked['state']} is a state of {'commands' if of_sessions else 'sessions'}")
    import trio

    list_them = list_sessions if of_sessions else list_commands
    objects, columns, rows = trio.run(list_them, place, Asked(**asked))
    if as_json:
        say(json.dumps(objects, indent=2))
    elif quiet:
        for row in rows:
            say(row[0].text)
    else:
        from .text import lay_out

        for line in lay_out(columns, rows, width=terminal_width(), colour=has_colour(1)):
            say(line)


async def list_commands(place: Place, asked: Asked) -> tuple[list[dict[str, Any]], Sequence[Column], list[list[Cell]]]:
    from .reaching import is_empty, looking_at
    from .views import COMMANDS, command_object, command_row

    names: dict[str, str] = {}
    infos: list[CommandInfo] = []
    if not is_empty(place):
        async with looking_at(place) as reader:
            names = {session.id: session.name for session in await reader.list_sessions()}
            infos = await choose(reader, asked)
    now = time.time()
    named = [(info, names.get(info.session_id, info.session_id)) for info in infos]
    return [command_object(*pair) for pair in named], COMMANDS, [command_row(*pair, now) for pair in named]


async def choose(reader: Reader, asked: Asked) -> list[CommandInfo]:
    limit = None if asked.everything else asked.limit
    states: tuple[str | None, ...] = (asked.state,)
    if asked.state is None and limit is not None:
        states = (None, "running", "queued")
    found: dict[str, CommandInfo] = {}
    for state in states:
        commands: Sequence[AnyCommand] = await reader.list_commands(
            session=asked.session,
            state=state,
            labels=asked.labels,
            limit=None if state in ("running", "queued") else limit,
        )
        # What is asked for later is newer.
        found.update((command.id, command.info) for command in commands)
    return sorted(found.values(), key=lambda info: (info.state.queued_at, info.number))


async def list_sessions(place: Place, asked: Asked) -> tuple[list[dict[str, Any]], Sequence[Column], list[list[Cell]]]:
    from ..lifecycle import OPEN_STATES
    from .reaching import is_empty, looking_at
    from .views import SESSIONS, session_object, session_row

    infos = []
    if not is_empty(place):
        async with looking_at(place) as reader:
            infos = [session.info for session in await reader.list_sessions(state=asked.state, labels=asked.labels)]
    if asked.state is None and not asked.everything:
        infos = [info for info in infos if info.state in OPEN_STATES]
    now = time.time()
    return [session_object(info) for info in infos], SESSIONS, [session_row(info, now) for info in infos]
