"""`sessions follow`: what one or many commands write, as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import click

from .kinds import commands_here, pairs, sessions_here
from .logs import Printer, stream_option, tell_bad_end
from .outcomes import tell_end
from .outlets import has_colour, notice
from .place import Place

if TYPE_CHECKING:
    from ..doors.rendering import Rendering
    from ..models import Record
    from .hosts import AnyCommand, AnySession, Reader


@attrs.frozen(kw_only=True)
class Asked:
    """What to follow, and how to show it."""

    commands: Sequence[str]
    session: str | None
    labels: Mapping[str, str]
    after: int | None
    stream: str | None
    late: bool
    no_prefix: bool
    timestamps: bool


@click.command("follow")
@click.argument("commands", nargs=-1, shell_complete=commands_here)
@click.option(
    "--session",
    shell_complete=sessions_here,
    metavar="NAME",
    help="All commands of this session, those to come too, until it is closed.",
)
@click.option(
    "-l",
    "--label",
    "labels",
    multiple=True,
    callback=pairs,
    metavar="KEY=VALUE",
    help="All commands with this label; with --session, only its.",
)
@click.option("--after", type=int, metavar="SEQ", help="Of one command or session, only what comes behind this record.")
@click.option("--late", is_flag=True, help="Wait for what commands left behind still write, too.")
@click.option(
    "--no-prefix", is_flag=True, help="Of many commands, the bytes as they come; else lines, each with whose it is."
)
@click.option("--timestamps", is_flag=True, help="Put time and stream in front of each line.")
@stream_option
@click.pass_obj
def follow(place: Place, /, **options: Any) -> None:
    """Print what COMMANDS have written and write, from the first byte until they end.

    COMMANDS are ids, beginnings of ids, or sessions, which mean their last command. Many go side by side: each line begins
    with whose it is, and none is cut by another. Ctrl-C stops following; the commands go on.
    """
    asked = Asked(**options)
    if bool(asked.commands) == bool(asked.session or asked.labels):
        raise click.UsageError("say either COMMANDS, or --session, or --label")
    if asked.after is not None and (len(asked.commands) > 1 or asked.labels):
        raise click.UsageError("--after goes with one command or session")
    if asked.late and asked.session and not asked.labels:
        raise click.UsageError("--late goes with commands: a session is followed until it is closed")
    import trio

    trio.run(print_all, place, asked)


async def print_all(place: Place, asked: Asked) -> None:
    from .finding import find_commands
    from .reaching import looking_at
    from .telling import plain_or_stamped

    async with looking_at(place) as reader:
        session = await reader.get_session(asked.session) if asked.session is not None else None
        if session is not None and not asked.labels:
            await print_session(reader, session, asked)
            return
        if asked.commands:
            commands = await find_commands(reader, asked.commands)
        else:
            chosen = session.id if session is not None else None
            commands = list(await reader.list_commands(session=chosen, labels=asked.labels))
        if len(commands) == 1:
            async with commands[0].follow(after=asked.after, stream=asked.stream, late=asked.late) as records:
                await print_records(records, plain_or_stamped(asked.timestamps))
        else:
            await print_many(reader, commands, asked)
        for command in commands:
            await command.refresh()
            told = tell_end(command.info)
            if told is not None:
                notice(told)


async def print_session(reader: Reader, session: AnySession, asked: Asked) -> None:
    async with session.follow(after=asked.after, stream=asked.stream) as records:
        await print_records(records, await rendering_of_many(reader, [], asked))
    await tell_bad_end(session, of_session=True)


async def print_many(reader: Reader, commands: Sequence[AnyCommand], asked: Asked) -> None:
    from ..together import follow_all

    printer = Printer(await rendering_of_many(reader, [command.id for command in commands], asked))
    some: Sequence[Any] = commands  # all of one kind, which the types don't tell
    async with follow_all(some, stream=asked.stream, late=asked.late) as records:
        async for _, record in records:
            await printer.tell([record])
    await printer.finish()


async def rendering_of_many(reader: Reader, command_ids: Sequence[str], asked: Asked) -> Rendering:
    from .telling import PrefixedText, plain_or_stamped

    if asked.no_prefix:
        return plain_or_stamped(asked.timestamps)
    sessions = {session.id: session.name for session in await reader.list_sessions()}

    def name_of(command_id: str) -> str:
        session_id, _, number = command_id.partition("-")
        return f"{sessions.get(session_id, session_id)}-{number}"

    return PrefixedText(name_of, command_ids, has_colour(1), asked.timestamps)


async def print_records(records: AsyncIterable[Record], rendering: Rendering) -> None:
    printer = Printer(rendering)
    async for record in records:
        await printer.tell([record])
    await printer.finish()
