"""The token that requests over TCP must bring: given, or made once and kept in the root."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import Final

from ..errors import Broken, Invalid

VARIABLE: Final = "SESSIONS_TOKEN"
FILE: Final = "token"
"""In the root: readable by its owner alone."""
RANDOM_BYTES: Final = 32
SHAPE: Final = re.compile(r"[!-~]+")
"""What a header can carry as it is."""


def check_token(token: str, where: str) -> str:
    if not isinstance(token, str) or not SHAPE.fullmatch(token):
        raise Invalid(
            f"{where} is no token: it must be letters, digits and signs of ASCII without blanks, at least one"
        )
    return token


def read_token(path: str | os.PathLike[str]) -> str:
    """The token in this file, without the white space around it."""
    try:
        text = Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"the token file {os.fspath(path)} can't be read: {error}") from error
    return check_token(text.strip(), f"what the token file {os.fspath(path)} holds")


def find_token(root: Path) -> str:
    """``$SESSIONS_TOKEN``, else the one in the root, which is made if there is none."""
    given = os.environ.get(VARIABLE)
    if given:
        return check_token(given, f"${VARIABLE}")
    path = root / FILE
    try:
        make_token(path)
        mode = path.stat().st_mode & 0o777
    except OSError as error:
        raise Broken(f"the token file {path} can't be made: {error}") from error
    if mode & 0o077:
        raise Invalid(f"the token file {path} is open to others (mode {mode:o}): remove it, and a fresh one is made")
    return read_token(path)


def make_token(path: Path) -> None:
    """Make the file unless it is there. It appears with all that it holds, so that no one ever reads half a token."""
    if path.exists():
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(RANDOM_BYTES) + "\n")
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # someone else has made it meanwhile: theirs counts
    finally:
        draft.unlink()
