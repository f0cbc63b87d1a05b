"""Shell texts of other systems' clients, for whom each is a program of its own. No I/O.

A command in a space is a fork of the space's shell, so ``$$`` would be that shell in all of them: a name made with it would not be
the command's own, and a signal to it would hit another. So a text is run by a shell of its own.
"""

from __future__ import annotations

import shlex
from typing import Final

from ..facts import CommandFacts

MOST_ARGUMENT_BYTES: Final = 100_000
"""Linux takes no argument of more than 128 KiB. A longer text stays in the fork."""
SHOWN: Final = "command"
"""A label of commands that are shown otherwise than by what is run."""


def in_own_shell(text: str) -> str:
    if len(text.encode("utf-8", "surrogatepass")) > MOST_ARGUMENT_BYTES:
        return text
    return f'exec -- "$BASH" -c {shlex.quote(text)}'


def shown_text(command: CommandFacts) -> str:
    """What its client has asked for."""
    return command.labels.get(SHOWN, command.text)
