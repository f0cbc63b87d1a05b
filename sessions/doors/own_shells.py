"""Shell texts of other systems' clients, for whom each is a program of its own. No I/O.

A command in a space is a fork of the space's shell, so ``$$`` would be that shell in all of them: a name made with it would not be
the command's own, and a signal to it would hit another. So a text is run by a shell of its own.
"""

from __future__ import annotations

import shlex
from typing import Final

from ..facts import CommandFacts
from ..models import CommandInfo

OWN_SHELL: Final = 'exec -- "$BASH" -c '
ONE_STREAM: Final = "exec 2>&1; "
"""In front of a text whose streams shall be one: two pipes would not tell in which order they were written to. On its first
line, so that line numbers stay."""
MOST_ARGUMENT_BYTES: Final = 100_000
"""Linux takes no argument of more than 128 KiB."""
READS_TEXT: Final = """'eval -- "$(read -rd "" -u 9 || printf %s "$REPLY")" 9<&-' 9<<<"""
"""Behind ``bash -c``: what reads a longer text to its end from a descriptor, which the text itself does not see. That is not opened
by its path, since the file may be another user's; and no program is needed for it, whatever the PATH is."""
SHOWN: Final = "command"
"""A label of commands that are shown otherwise than by what is run."""


def is_argument(text: str) -> bool:
    """Whether it is short enough to be one."""
    return len(text.encode("utf-8", "surrogatepass")) <= MOST_ARGUMENT_BYTES


def after_dash_c(text: str) -> str:
    """What follows ``bash -c`` in a shell text, so that it runs `text`."""
    return shlex.quote(text) if is_argument(text) else f"{READS_TEXT}{shlex.quote(text)}"


def in_own_shell(text: str) -> str:
    return f"{OWN_SHELL}{after_dash_c(text)}"


def shown_text(command: CommandFacts | CommandInfo) -> str:
    """What its client has asked for, where that came through a door; else what is run."""
    if "door" not in command.labels:
        return command.text
    text = command.text.removeprefix(ONE_STREAM)
    if text.startswith(OWN_SHELL):
        text = unquote(text.removeprefix(OWN_SHELL).removeprefix(READS_TEXT))
    return command.labels.get(SHOWN, text)


def unquote(word: str) -> str:
    """The text of which `shlex.quote` has made this. `shlex.split` takes a tenth of a second for a long one."""
    return word[1:-1].replace("""'"'"'""", "'") if word.startswith("'") else word
