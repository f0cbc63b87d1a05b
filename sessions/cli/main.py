"""The entry point: finds the verb, loads its module and no other, and turns errors into one line and an exit code."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from .outlets import forget_stdout, notice
from .place import Place

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

VERBS: Final[dict[str, tuple[str, str]]] = {
    "serve": ("serve", "Run the server of a root in the foreground"),
    "new": ("new", "Open a session"),
    "run": ("run", "Run a command in a session, show its output, exit with its code"),
    "start": ("start", "Start a command beside a session's shell and print its id"),
    "ps": ("ps", "List commands, or sessions"),
    "logs": ("logs", "Print what a command has written"),
    "follow": ("follow", "Print what commands write, live, until they end"),
    "wait": ("wait", "Wait for commands, exit with the code of the first that failed"),
    "attach": ("attach", "Be the screen and the keyboard of a terminal"),
    "send": ("send", "Write to a command's stdin"),
    "signal": ("kill", "Send a signal to commands"),
    "interrupt": ("kill", "Do to commands what Ctrl-C does"),
    "kill": ("kill", "End commands and all that they started"),
    "close": ("close", "Close sessions: all their processes end, their logs stay"),
    "rm": ("close", "Remove sessions with their commands and logs"),
    "prune": ("prune", "Remove old logs"),
    "top": ("top", "Watch running commands: CPU, memory, output"),
    "env": ("env", "Print what points programs of another system at the server"),
    "doctor": ("doctor", "Look for what is wrong with a root, and say what to do"),
}
"""Each verb's module, and what ``--help`` says of it, which so loads none of them."""

COMPLETION: Final = "_SESSIONS_COMPLETE"
"""Set where a shell asks what could stand on the line; the name is click's."""

HELP: Final = """Persistent shells whose commands have ids, outcomes and logs.

\b
    sessions run build 'cd /src && make'    in the shell of session "build", which is made if there is none
    sessions start build 'npm run dev'      beside it; prints an id
    sessions logs build -f                  what its last command writes
"""


def place_options() -> list[click.Parameter]:
    """Understood in front of the verb and behind it."""

    def keep(context: click.Context, option: click.Parameter, value: str | None) -> None:
        place = context.obj if isinstance(context.obj, Place) else Place()
        given: dict[str, Any] = {f"given_{option.name}": value} if value else {}
        context.obj = place._replace(**given)

    def complete(context: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from .kinds import directories_here

        return directories_here(context, option, incomplete)

    texts = {
        "root": ("DIRECTORY", "Where all is kept  [$SESSIONS_HOME]"),
        "url": ("URL", "Another server than the root's own: http://HOST:PORT or unix:///PATH  [$SESSIONS_URL]"),
        "token": ("TOKEN", "For a server that wants one; other users see arguments, not variables  [$SESSIONS_TOKEN]"),
    }
    return [
        click.Option(
            [f"--{name}"],
            metavar=metavar,
            help=text,
            expose_value=False,
            callback=keep,
            shell_complete=complete if metavar == "DIRECTORY" else None,
        )
        for name, (metavar, text) in texts.items()
    ]


def version_option() -> click.Option:
    def show(context: click.Context, option: click.Parameter, value: bool) -> None:
        if value and not context.resilient_parsing:
            from importlib.metadata import version

            click.echo(f"sessions {version('sessions')}")
            context.exit()

    return click.Option(
        ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=show, help="Print it and exit."
    )


class Verbs(click.Group):
    """Knows its verbs by name, and loads the module of the one that is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module, short = VERBS[cmd_name]
        command = getattr(importlib.import_module(f"sessions.cli.{module}"), cmd_name)
        assert isinstance(command, click.Command)
        if not any(option.name == "root" for option in command.params):
            command.params.extend(place_options())
            command.short_help = short
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, short) for name, (_, short) in VERBS.items()])


@click.pass_context
def without_verb(context: click.Context) -> None:
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(2)


cli = Verbs(
    name="sessions",
    help=HELP,
    params=[*place_options(), version_option()],
    subcommand_metavar="VERB ...",
    epilog="`sessions VERB --help` tells more of each.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    callback=without_verb,
    invoke_without_command=True,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say; the exit code."""
    open_standard_streams()
    if COMPLETION in os.environ:
        from .joined import register

        register()
    try:
        code = cli.main(arguments, prog_name="sessions", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        notice(f"error: {' '.join(error.format_message().split()).rstrip('.')}{where_help_is(error)}")
        return error.exit_code
    except SystemExit as error:
        # Click's answer to a reader of our output that has gone, which it does not let through: 1, which means something else here.
        return tell(BrokenPipeError()) or 0 if error.code == 1 else int(error.code or 0)
    except BaseException as error:
        code = tell(leaf(error))
        if code is None:
            raise
        return code


def open_standard_streams() -> None:
    """Where stdin, stdout or stderr is closed, the next file or socket would get its number, and what we print would go there.

    Opened the wrong way round, so that who uses it is told (EBADF).
    """
    for number, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # the lowest number that is free: this one


def leaf(error: BaseException) -> BaseException:
    """Several tasks of a verb may have failed: the first failure tells enough."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def tell(error: BaseException) -> int | None:
    """Say in one line what is wrong; the exit code. None for what is a bug."""
    from ..errors import SessionsError
    from .outcomes import LEFT, NO_READER, WORLD, code_of_error

    match error:
        case KeyboardInterrupt() | click.Abort():
            return LEFT
        case BrokenPipeError():
            forget_stdout()
            return NO_READER
        case SessionsError():
            notice(f"error: {' '.join(str(error).split())}")
            return code_of_error(error)
        case OSError() if error.errno is not None:
            name = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
            notice(f"error: {error.strerror or error}{name}")
            return WORLD
        case _:
            return None


def where_help_is(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f" (`{context.command_path} --help` tells how it is used)" if context else ""
