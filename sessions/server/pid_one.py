"""What PID 1 of a container owes: it hands on signals, and collects every orphan that ends, or these stay as zombies.

The server itself can't do it. It waits for children of its own, whose ends must not be taken from it, so it becomes a child of
a process that does nothing else.
"""

from __future__ import annotations

import os
import signal
from typing import Final

HANDED_ON: Final = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}


def stay_behind_if_first() -> None:
    """In PID 1: returns in a child, and the caller becomes its guardian, which ends as it ends. Else does nothing.

    Call it while there is one thread.
    """
    if os.getpid() != 1:
        return
    # The kernel drops what PID 1 does not handle, but not what it blocks, to wait for it.
    waited_for = {*HANDED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    while True:
        number = signal.sigwait(waited_for)
        if number in HANDED_ON:
            os.kill(child, number)
            continue
        code = collect(child)
        if code is not None:
            os._exit(code)


def collect(child: int) -> int | None:
    """Reap all that have ended. The exit code of `child`, 128 + n for signal n; None while it lives."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == child:
            found = os.waitstatus_to_exitcode(status)
            code = found if found >= 0 else 128 - found
