"""What `run` and `start` have in common: their options, and the session in which they run something."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import Closed, Conflict, NotFound
from ..lifecycle import OPEN_STATES
from .kinds import directories_here, pairs, sessions_here, span
from .outlets import notice
from .place import Place, current_directory

if TYPE_CHECKING:
    from .hosts import AnySession, Host

F = TypeVar("F", bound=Callable[..., Any])


class Submission(click.Command):
    """Options stand in front of the session or behind it; what follows the first word of the command is the command's own."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.allow_interspersed_args = False
        options = click.Command(
            None, params=[option for option in self.get_params(ctx) if isinstance(option, click.Option)]
        )
        parser = options.make_parser(ctx)
        _, after_first, _ = parser.parse_args(list(args))
        first = args[: len(args) - len(after_first)]
        if "--" not in first and after_first:
            session, *behind = after_first
            _, words, _ = options.make_parser(ctx).parse_args(list(behind))
            args = [*first, *behind[: len(behind) - len(words)], session, *words]
        return super().parse_args(ctx, args)


def submission(function: F) -> F:
    """The arguments and options that `run` and `start` share."""
    for decorate in (
        click.argument("words", nargs=-1, required=True, metavar="COMMAND...", type=click.UNPROCESSED),
        click.argument("session", shell_complete=sessions_here),
        click.option(
            "-l", "--label", "labels", multiple=True, callback=pairs, metavar="KEY=VALUE", help="To find it by."
        ),
        click.option(
            "-C",
            "--cwd",
            shell_complete=directories_here,
            metavar="DIRECTORY",
            help="Where it runs; the shell stays where it is.",
        ),
        click.option(
            "-e", "--env", multiple=True, callback=pairs, metavar="KEY=VALUE", help="A variable for this command only."
        ),
        click.option("--idle-timeout", callback=span, metavar="SPAN", help="End it after so long without output."),
        click.option("-t", "--timeout", callback=span, metavar="SPAN", help="End it after so long: 90, 10m, 1h30m."),
    ):
        function = decorate(function)
    return function


def text_of(words: Sequence[str]) -> str:
    """One word is shell text; of several, each stays one word.

    >>> text_of(["cd /src && make"]), text_of(["echo", "a  b"])
    ('cd /src && make', "echo 'a  b'")
    """
    return words[0] if len(words) == 1 else shlex.join(words)


async def session_for(host: Host, name: str, place: Place) -> AnySession:
    """The open session of this name or id; it is made if there is none. It begins where we are, if the server is on this machine."""
    session = await find_session(host, name)
    if session is None:
        here = current_directory() if place.url is None else None
        try:
            return await host.create_session(name, cwd=here, restart=True)
        except Conflict:
            # Somebody else has just made it.
            session = await host.get_session(name)
    if session.state == "ended":
        if not session.info.restart:
            raise Closed(
                f"the shell of session {name} has ended, and the session was made without --restart:"
                f" `sessions close {name}`, then a run makes a new one"
            )
        notice(f"the shell of session {name} had ended: a fresh one takes its place, what was set in it before is gone")
    return session


async def find_session(host: Host, name: str) -> AnySession | None:
    try:
        session: AnySession = await host.get_session(name)
    except NotFound:
        return None
    # A name is free again when its session is closed; an id is not.
    return session if session.state in OPEN_STATES or session.id == name else None
