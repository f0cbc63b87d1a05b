"""How the Miosa dialect starts a program: what is asked for, as shell text, and a start that never fails without a word."""

from __future__ import annotations

import os
import pwd
import shlex
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from ...command import Command
from ...errors import Invalid
from ...spaces import Space
from ..fields import Fields
from ..outcomes import CANNOT_START
from .errors import Refusal, too_long

SHELLS: Final = ("", "bash", "/bin/bash", "/usr/bin/bash")
"""Names of the shell in which everything runs anyway."""
LONGEST_SECONDS: Final = 1e9


@attrs.frozen(kw_only=True)
class Launch:
    """What is to be started."""

    text: str
    cwd: str | None = None
    env: Mapping[str, str] = attrs.field(factory=dict)
    timeout: float | None = None
    """Seconds; then all that it has started is ended."""
    stdin: bool | str = False
    labels: Mapping[str, str] = attrs.field(factory=dict)


async def launch(space: Space, order: Launch) -> tuple[int, Command]:
    """Its process number, and its command. Where it can't begin in `cwd`, a command that says so comes in its place."""
    try:
        return await space.start_process(
            order.text, cwd=order.cwd, env=order.env, timeout=order.timeout, stdin=order.stdin, labels=order.labels
        )
    except Invalid as error:
        if not str(error).startswith("cwd"):
            raise
        text = f"printf '%s\\n' {shlex.quote(str(error))} >&2; exit {CANNOT_START}"
        return await space.start_process(text, labels=order.labels)


def program(argv: Sequence[str]) -> str:
    """A program without a shell around it. One that is not there ends with 127, one that can't be run with 126."""
    return f"exec -- {shlex.join(argv)}"


def in_shell(text: str, shell: str) -> str:
    """Text for a shell that the client has chosen."""
    if not text.strip():
        raise Invalid("command: the text is empty")
    return text if shell in SHELLS else program([shell, "-c", text])


def as_user(text: str, user: str) -> str:
    """Run by another user of this machine, which takes a server that is root."""
    if user in ("", pwd.getpwuid(os.geteuid()).pw_name):
        return text
    try:
        pwd.getpwnam(user)
    except KeyError:
        raise Invalid(f"user: there is no user {user!r} on this machine") from None
    if os.geteuid() != 0:
        raise Refusal(403, "PERMISSION_DENIED", f"this server is not root, so it can't run anything as user {user!r}")
    return program(["runuser", "-u", user, "--", "bash", "-c", text])


def read_seconds(body: Fields, name: str, otherwise: float | None, most: float = LONGEST_SECONDS) -> float | None:
    """A timeout; `otherwise` if it is left out."""
    value = body.values.get(name)
    if value is None:
        return otherwise
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise Invalid(f"{name}: expected a number of seconds above 0")
    if value > most:
        raise too_long(most)
    return float(value)
