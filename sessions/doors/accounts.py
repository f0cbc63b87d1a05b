"""Other accounts of this machine, as whom a server that is root can run what a client asks for."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
from typing import Final

from .own_shells import after_dash_c

PROGRAM: Final = "setpriv"
"""Of util-linux. ``runuser`` would stay above the program, and speak when that is ended."""


def look_up(user: str) -> pwd.struct_passwd | None:
    """The account of this name; None if there is none."""
    try:
        return pwd.getpwnam(user)
    except (KeyError, ValueError):
        return None


def is_own(account: pwd.struct_passwd) -> bool:
    """Whether it is the server's."""
    return account.pw_uid == os.geteuid()


def can_run_as_others() -> bool:
    return os.geteuid() == 0 and shutil.which(PROGRAM) is not None


def home_of(account: pwd.struct_passwd) -> str:
    """Where its programs begin: it can't enter the homes of spaces."""
    return account.pw_dir if os.path.isdir(account.pw_dir) else "/"


def run_as(account: pwd.struct_passwd, text: str) -> str:
    """Shell text that runs `text` as `account`."""
    change = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--init-groups"]
    own = [f"HOME={home_of(account)}", f"USER={account.pw_name}", f"LOGNAME={account.pw_name}"]
    return f"exec {shlex.join([PROGRAM, *change, 'env', *own, 'bash'])} -c {after_dash_c(text)}"


def find_other(user: str | None) -> pwd.struct_passwd | None:
    """Whose account it is to be; None if the server runs it as itself: that is asked for, or nothing else is possible here."""
    account = look_up(user) if user and can_run_as_others() else None
    return None if account is None or is_own(account) else account
