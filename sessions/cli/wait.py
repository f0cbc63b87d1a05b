"""`sessions wait`: until commands have ended."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ..errors import TimedOut
from .kinds import commands_here, span
from .outcomes import first_failure, tell_end
from .outlets import notice, say
from .place import Place

if TYPE_CHECKING:
    from .hosts import AnyCommand


@click.command("wait")
@click.argument("commands", nargs=-1, required=True, shell_complete=commands_here)
@click.option("--any", "any_of_them", is_flag=True, help="Until the first of them has ended; exit with its code.")
@click.option(
    "-t",
    "--timeout",
    callback=span,
    metavar="SPAN",
    help="Give up after so long, with exit code 124. The commands go on.",
)
@click.option("--json", "as_json", is_flag=True, help="Print those that have ended.")
@click.pass_obj
def wait(
    place: Place, /, commands: Sequence[str], any_of_them: bool, timeout: float | None, as_json: bool
) -> int:  # fmt: skip
    """Wait until all COMMANDS have ended, and exit with the code of the one that failed first, or 0.

    One that ended without an exit code, because it was lost or never ran, counts as 125.
    """
    import trio

    return trio.run(wait_for, place, commands, any_of_them, timeout, as_json)


async def wait_for(place: Place, texts: Sequence[str], any_of_them: bool, timeout: float | None, as_json: bool) -> int:
    import trio

    from .finding import find_commands
    from .reaching import looking_at

    async with looking_at(place) as reader:
        commands = await find_commands(reader, texts)
        with trio.move_on_after(float("inf") if timeout is None else timeout) as scope:
            async with trio.open_nursery() as nursery:

                async def wait_for_one(command: AnyCommand) -> None:
                    await command.wait()
                    if any_of_them:
                        nursery.cancel_scope.cancel()

                for command in commands:
                    nursery.start_soon(wait_for_one, command)
        # The one that ended first may have been seen second.
        ended = sorted(
            (command.info for command in commands if command.state == "finished"),
            key=lambda info: info.finished_at or 0.0,
        )
        if any_of_them:
            ended = ended[:1]
        if as_json:
            from .views import command_object

            names = {session.id: session.name for session in await reader.list_sessions()}
            say(
                json.dumps(
                    [command_object(info, names.get(info.session_id, info.session_id)) for info in ended], indent=2
                )
            )
    for info in ended:
        told = tell_end(info)
        if told is not None:
            notice(told)
    if scope.cancelled_caught and not (any_of_them and ended):
        missing = [command.id for command in commands if command.state != "finished"]
        raise TimedOut(f"not finished yet: {' '.join(missing)}; they go on")
    return first_failure(ended)
