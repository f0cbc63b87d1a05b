"""Ids and names: how they are made, what they may look like, and what they tell.

A session's id is 10 characters: 4 that grow with time and 6 random ones. None is ever reused, and they sort by age,
until in January 2038 the time part begins anew (it last did in 2004); what needs an order goes by `created_at`.
A command's id is its session's id and its number in that session: ``k3v9x2m4ab-17``. Numbers start at 1 and only grow.
Everything in an id or a name is safe in a path, a URL and a shell word.
"""

from __future__ import annotations

import re
import secrets
import time

from .errors import Invalid

# Crockford's base 32 in lower case: no i, l, o, u, so an id can be read out aloud.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
SESSION_ID = re.compile(rf"[{ALPHABET}]{{10}}")
COMMAND_ID = re.compile(rf"([{ALPHABET}]{{10}})-([1-9][0-9]{{0,9}})")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def encode(number: int, width: int) -> str:
    """`number` in base 32, the low `width` digits.

    >>> encode(33, 3)
    '011'
    """
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 32)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


def new_session_id() -> str:
    """A fresh session id. Its time part steps each 1,024 s and comes around in 34 years; the catalog refuses a repeat."""
    return encode(int(time.time()) >> 10, 4) + encode(secrets.randbits(30), 6)


def command_id(session_id: str, number: int) -> str:
    return f"{session_id}-{number}"


def parse_command_id(text: str) -> tuple[str, int] | None:
    """The session id and the number in a command id, or None if `text` can't be one."""
    match = COMMAND_ID.fullmatch(text)
    return (match[1], int(match[2])) if match else None


def check_name(name: str) -> str:
    """`name` itself if a session may be called so; else `Invalid`."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise Invalid(
            f"session name {name!r} is not usable: give 1 to 100 letters, digits, '.', '_' or '-', beginning with a letter or digit"
        )
    return name
