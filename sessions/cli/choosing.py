"""From what people type to the session or command that they mean: ids, names, and as much of them as is unique. Plain; no I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ..errors import Invalid, NotFound
from ..lifecycle import OPEN_STATES
from ..models import SessionInfo

SHOWN: Final = 5
NUMBERED: Final = re.compile(r"(.+)-([1-9][0-9]{0,9})")


def choose_command(text: str, sessions: Sequence[SessionInfo]) -> tuple[SessionInfo, int | None]:
    """The session of the command that `text` means and the command's number in it; None for the session's last.

    ``build`` is a session's last command, ``build-3`` and ``k3v9x-3`` are its third, unless a session is called so. `NotFound` if
    there is none, `Invalid` if `text` is the beginning of several. Open sessions go before closed ones, the newest of one
    name before older ones.
    """
    exact = [info for info in sessions if text in (info.name, info.id)]
    numbered = NUMBERED.fullmatch(text)
    if numbered and not exact:
        found = match(numbered[1], sessions)
        if found is not None:
            return found, int(numbered[2])
    found = match(text, sessions)
    if found is None:
        if len(text) > 1 and text.endswith("-") and match(text[:-1], sessions) is not None:
            # As far as Tab completes it.
            raise Invalid(f"{text!r} lacks a command's number: write it, or {text[:-1]!r} for the last one")
        raise NotFound(
            f"no command or session has an id or a name that begins with {text!r}: `sessions ps` shows those there are"
        )
    return found, None


def match(text: str, sessions: Sequence[SessionInfo]) -> SessionInfo | None:
    if not text:
        raise Invalid("an empty text is the beginning of everything: write an id or a name")
    exact = [info for info in sessions if text in (info.name, info.id)]
    found = exact or [info for info in sessions if info.name.startswith(text) or info.id.startswith(text)]
    found = [info for info in found if info.state in OPEN_STATES] or found
    if len({info.name for info in found}) > 1:
        shown = ", ".join(f"{info.name} ({info.id})" if info.name != info.id else info.id for info in found[:SHOWN])
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise Invalid(f"{text!r} is the beginning of several: {shown}{more}; write more of it")
    return max(found, key=lambda info: (info.id == text, info.created_at), default=None)


def parse_pairs(texts: Sequence[str]) -> dict[str, str]:
    """``KEY=VALUE`` arguments."""
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise Invalid(f"{text!r} is no pair: write KEY=VALUE")
        pairs[key] = value
    return pairs
