"""How the Miosa dialect starts a program: what is asked for, as shell text, and a start that never fails without a word."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from ...command import Command
from ...errors import Invalid
from ...spaces import Space
from ..accounts import can_run_as_others, home_of, is_own, look_up, run_as
from ..fields import Fields
from ..own_shells import in_own_shell
from ..starting import find_directory, start_process
from .errors import Refusal, too_long

SHELLS: Final = ("", "bash", "/bin/bash", "/usr/bin/bash")
"""Names of the one that is chosen by those who say nothing."""
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
    """Its process number, and its command."""
    cwd = find_directory(space, order.cwd or "")
    return await start_process(
        space, order.text, cwd=cwd, env=order.env, timeout=order.timeout, stdin=order.stdin, labels=order.labels
    )


def program(argv: Sequence[str]) -> str:
    """A program without a shell around it. One that is not there ends with 127, one that can't be run with 126."""
    return f"exec -- {shlex.join(argv)}"


def read_command(body: Fields) -> str:
    """What is to be run by a shell."""
    return check_command(body.needed_text("command"))


def check_command(text: str) -> str:
    if not text.strip():
        raise Invalid("command: the text is empty")
    return text


def in_shell(text: str, shell: str) -> str:
    """Text for a shell of its own, which the client may choose."""
    check_command(text)
    return in_own_shell(text) if shell in SHELLS else program([shell, "-c", text])


def as_user(order: Launch, user: str) -> Launch:
    """Run by another user of this machine, which takes a server that is root."""
    account = look_up(user) if user else None
    if user and account is None:
        raise Invalid(f"user: there is no user {user!r} on this machine")
    if account is None or is_own(account):
        return order
    if not can_run_as_others():
        raise Refusal(403, "PERMISSION_DENIED", f"this server is not root, so it can't run anything as user {user!r}")
    return attrs.evolve(order, text=run_as(account, order.text), cwd=order.cwd or home_of(account))


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
