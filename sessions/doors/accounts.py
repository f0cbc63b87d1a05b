"""Other accounts of this machine, as whom a server that is root can run what a client asks for."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
from typing import Final

PROGRAM: Final = "setpriv"
"""Of util-linux. ``runuser`` would stay above the program, and speak when that is ended."""


def find_account(user: str | None) -> pwd.struct_passwd | None:
    """The account of this name; None if it is the server's own, if there is none, and if the server can't run as others."""
    if not user or os.geteuid() != 0 or shutil.which(PROGRAM) is None:
        return None
    try:
        found = pwd.getpwnam(user)
    except (KeyError, ValueError):
        return None
    return found if found.pw_uid != 0 else None


def home_of(account: pwd.struct_passwd) -> str:
    """Where its programs begin: it can't enter the homes of spaces."""
    return account.pw_dir if os.path.isdir(account.pw_dir) else "/"


def run_as(account: pwd.struct_passwd, text: str) -> str:
    """Shell text that runs `text` as `account`."""
    change = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--init-groups"]
    own = [f"HOME={home_of(account)}", f"USER={account.pw_name}", f"LOGNAME={account.pw_name}"]
    return "exec " + shlex.join([PROGRAM, *change, "env", *own, "bash", "-c", text])
