"""`sessions logs`: what a command has written so far, and with ``-f`` what comes."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import click

from .kinds import commands_here, moment, sessions_here
from .outcomes import tell_end
from .outlets import Outlet, notice, tell_loss
from .place import Place

if TYPE_CHECKING:
    from ..doors.rendering import Rendering
    from ..models import Record
    from ..selection import Selection
    from .hosts import AnyCommand, AnySession, Reader


def stream_option(function: Any) -> Any:
    """``--stdout`` and ``--stderr``, as the argument `stream`."""

    @functools.wraps(function)
    def choose(*arguments: Any, stdout: bool, stderr: bool, **options: Any) -> Any:
        if stdout and stderr:
            raise click.UsageError("--stdout and --stderr exclude each other: leave out both to see both")
        return function(*arguments, stream="stdout" if stdout else "stderr" if stderr else None, **options)

    for name in ("stderr", "stdout"):
        choose = click.option(f"--{name}", is_flag=True, help=f"Only its {name}.")(choose)
    return choose


@click.command("logs")
@click.argument("command", required=False, shell_complete=commands_here)
@click.option(
    "--session",
    shell_complete=sessions_here,
    metavar="NAME",
    help="In place of COMMAND: all that this session's commands wrote.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until the command ends.")
@click.option("-n", "--tail", type=click.IntRange(min=0), metavar="LINES", help="Only the last so many lines.")
@click.option(
    "--since", callback=moment, metavar="WHEN", help="Only what came since: 10m (ago), 2026-01-31T14:00, @1700000000."
)
@click.option("--until", callback=moment, metavar="WHEN", help="Only what came until then.")
@click.option("--after", type=int, metavar="SEQ", help="Only what comes behind this record.")
@click.option("--timestamps", is_flag=True, help="Put time and stream in front of each line.")
@stream_option
@click.pass_obj
def logs(
    place: Place, /, command: str | None, session: str | None, follow: bool, timestamps: bool, **asked: Any
) -> None:  # fmt: skip
    """Print what COMMAND has written, byte for byte, both streams in the order in which they came, on stdout.

    COMMAND is an id, as much of the beginning as is unique, or a session's name, which means its last command; build-3
    is the third of session build. Works without a server, too.
    """
    if (command is None) == (session is None):
        raise click.UsageError("say either COMMAND or --session NAME")
    if follow and asked["until"] is not None:
        raise click.UsageError("--until and --follow exclude each other")
    import trio

    from ..selection import Selection
    from .telling import plain_or_stamped

    # What is wrong with the selection is told before anything is opened.
    trio.run(print_logs, place, command, session, follow, Selection(**asked), plain_or_stamped(timestamps))


async def print_logs(
    place: Place, command: str | None, session: str | None, follow: bool, asked: Selection, rendering: Rendering
) -> None:  # fmt: skip
    from ..selection import Selection
    from .log_pieces import read_pieces
    from .reaching import looking_at, reading_root

    # A root on this machine is read straight from its files, which is fastest; who waits for more is woken by the server.
    async with looking_at(place) if follow or place.url is not None else reading_root(place) as reader:
        target = await find_target(reader, command, session)
        printer = Printer(rendering)
        begin = asked.after
        if follow and (asked.tail is not None or asked.since is not None):
            # If nothing that is there now is wanted, it begins here. Looked at first: what comes meanwhile is wanted.
            end = await read_pieces(target, Selection(tail=1, stream=asked.stream), discard)
            begin = end if begin is None or (end is not None and end > begin) else begin
        last = await read_pieces(target, asked, printer.tell)
        if follow:
            async with target.follow(after=begin if last is None else last, stream=asked.stream) as records:
                async for record in records:
                    await printer.tell([record])
        await printer.finish()
        if follow:
            await tell_bad_end(target, of_session=session is not None)


async def find_target(reader: Reader, command: str | None, session: str | None) -> AnyCommand | AnySession:
    from .finding import find_command

    if session is not None:
        return await reader.get_session(session)
    assert command is not None
    return await find_command(reader, command)


async def tell_bad_end(target: Any, *, of_session: bool) -> None:
    """What was followed has ended: say so if not by itself, since the output alone looks like all there ever was."""
    await target.refresh()
    told = None
    if not of_session:
        told = tell_end(target.info)
    elif target.state == "lost":
        told = f"session {target.name} lost: its engine vanished"
    if told is not None:
        notice(told)


async def discard(records: list[Record]) -> None:
    pass


class Printer:
    """Writes records to stdout, and says on stderr what is no longer there."""

    def __init__(self, rendering: Rendering) -> None:
        from ..doors.rendering import Losses

        self._rendering = rendering
        self._losses = Losses()
        self._outlet = Outlet(1)

    async def tell(self, records: list[Record]) -> None:
        await self._write(self._losses.feed(records))

    async def finish(self) -> None:
        await self._write(self._losses.finish())
        await self._outlet.write(self._rendering.finish())

    async def _write(self, records: list[Record]) -> None:
        for record in records:
            if record.stream == "dropped":
                tell_loss(record)
        await self._outlet.write(self._rendering.feed(records))
