"""Processes of spaces that begin in a directory which may not be there: such a start has an exit code and a word on stderr, too."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Final

from ..arguments import NoDirectory
from ..command import Command
from ..spaces import Space
from .outcomes import CANNOT_START, NOT_FOUND

WORKSPACE: Final = "/workspace"
"""Where machines keep their files in several systems, and many programs say so. Where this machine has none, it is the home of the
space."""


def find_directory(space: Space, asked: str) -> str:
    """Where something is to run in a space of such a system."""
    home = space.info.home
    path = os.path.normpath(os.path.join(home, asked))
    if f"{path}/".startswith(f"{WORKSPACE}/") and not os.path.isdir(WORKSPACE):
        return os.path.normpath(home + path.removeprefix(WORKSPACE))
    return path


async def start_process(
    space: Space,
    text: str,
    *,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    stdin: bool | str = False,
    labels: Mapping[str, str] | None = None,
) -> tuple[int, Command]:
    """As the space does. Where nothing can begin in `cwd`, a process that says so comes in its place."""
    try:
        return await space.start_process(text, cwd=cwd, env=env, timeout=timeout, stdin=stdin, labels=labels)
    except NoDirectory as error:
        told = f"printf '%s\\n' {shlex.quote(str(error))} >&2; exit {exit_code_of(error)}"
        return await space.start_process(told, labels=labels)


def exit_code_of(error: NoDirectory) -> int:
    return CANNOT_START if os.path.exists(error.path) else NOT_FOUND
