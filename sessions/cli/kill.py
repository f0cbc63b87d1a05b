"""`sessions signal`, `interrupt` and `kill`: three ways to tell commands to end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import click

from .kinds import commands_here, signals_here, span
from .place import Place

if TYPE_CHECKING:
    from .hosts import AnyCommand


@click.command("signal")
@click.argument("name", metavar="SIGNAL", shell_complete=signals_here)
@click.argument("commands", nargs=-1, required=True, shell_complete=commands_here)
@click.pass_obj
def signal(place: Place, /, name: str, commands: Sequence[str]) -> None:
    """Send SIGNAL, a name such as USR1 or a number, to the processes of COMMANDS; never to a session's shell."""
    number: str | int = int(name) if name.isdecimal() else name

    async def act(command: AnyCommand) -> None:
        await command.send_signal(number)

    run_on_each(place, commands, act)


@click.command("interrupt")
@click.argument("commands", nargs=-1, required=True, shell_complete=commands_here)
@click.pass_obj
def interrupt(place: Place, /, commands: Sequence[str]) -> None:
    """Do to COMMANDS what Ctrl-C does: SIGINT. Their sessions live on. One that is still queued is taken out of the queue."""

    async def act(command: AnyCommand) -> None:
        await command.interrupt()

    run_on_each(place, commands, act)


@click.command("kill")
@click.argument("commands", nargs=-1, required=True, shell_complete=commands_here)
@click.option("--grace", callback=span, metavar="SPAN", help="From the first signal to SIGKILL.  [the server's: 5s]")
@click.pass_obj
def kill(place: Place, /, commands: Sequence[str], grace: float | None) -> None:
    """End COMMANDS and all that they started, wherever that has got to: TERM, a grace, KILL. Their sessions live on.

    Returns when nothing of them is left. Harmless on finished ones, but what those left behind is ended too.
    """

    async def act(command: AnyCommand) -> None:
        await command.kill(grace)

    run_on_each(place, commands, act)


def run_on_each(place: Place, texts: Sequence[str], act: Callable[[AnyCommand], Awaitable[None]]) -> None:
    """All are found before anything is done, and then dealt with side by side."""
    import trio

    async def main() -> None:
        from .finding import find_commands
        from .reaching import acting_on

        async with acting_on(place) as host:
            commands = await find_commands(host, texts)
            async with trio.open_nursery() as nursery:
                for command in commands:
                    nursery.start_soon(act, command)

    trio.run(main)
