"""`sessions prune`: room for new logs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs
import click

from .kinds import size, span
from .outlets import say
from .place import Place
from .times import format_size

if TYPE_CHECKING:
    from ..models import Pruned


@click.command("prune")
@click.option("--older-than", callback=span, metavar="SPAN", help="All that finished longer ago: 12h, 7d.")
@click.option(
    "--keep", callback=size, metavar="SIZE", help="As many as it takes for the rest to hold no more: 500M, 10G."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was removed as JSON.")
@click.pass_obj
def prune(place: Place, /, older_than: float | None, keep: int | None, as_json: bool) -> None:
    """Remove the logs of finished commands, those that finished first before others, and closed sessions that hold nothing else.

    Running commands are never touched. Works without a server, too.
    """
    if older_than is None and keep is None:
        raise click.UsageError("say --older-than, --keep or both")
    import trio

    pruned = trio.run(prune_root, place, older_than, keep)
    if as_json:
        say(json.dumps(attrs.asdict(pruned)))
    else:
        say(
            f"removed {pruned.commands} commands and {pruned.sessions} sessions: {format_size(pruned.freed_bytes)} freed"
        )


async def prune_root(place: Place, older_than: float | None, keep: int | None) -> Pruned:
    from .reaching import looking_at

    async with looking_at(place) as host:
        return await host.prune(older_than=older_than, keep_bytes=keep)
