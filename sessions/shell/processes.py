"""Finding and signalling processes of commands and sessions, wherever they have got to.

A command's processes are: its process group (background commands have one of their own), every process that carries its
mark in its environment, and all descendants of these.
psutil tells processes apart by pid *and* start time, so a signal never reaches one that merely got an old number.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

import attrs

from .descriptors import NONE_LEFT

if TYPE_CHECKING:
    from psutil import Process

SESSION_MARK: Final = "SESSIONS_SESSION_ID"
COMMAND_MARK: Final = "SESSIONS_COMMAND_ID"


@attrs.frozen
class Seen:
    """One process, as far as it matters here."""

    process: Process
    pid: int
    parent: int
    group: int
    unix_session: int
    session_id: str | None
    command_id: str | None


def snapshot() -> list[Seen]:
    """All living processes that this user may look at, or end. Reads ``/proc``: call it in a thread."""
    import psutil

    found = []
    for pid in psutil.pids():  # `process_iter` remembers who had a number, and leaves out who has it now
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            environment = environment_of(process)
            found.append(
                Seen(
                    process,
                    pid,
                    process.ppid(),
                    os.getpgid(pid),
                    os.getsid(pid),
                    environment.get(SESSION_MARK),
                    environment.get(COMMAND_MARK),
                )
            )
        except psutil.Error:
            continue
        except OSError as error:
            if error.errno in NONE_LEFT:
                raise  # else it would seem that nobody is there
    return found


def environment_of(process: Process) -> Mapping[str, str]:
    """Nothing for one of ours that hides it, as ssh-agent does, and whatever its user may execute but not read."""
    import psutil

    try:
        return process.environ()
    except psutil.AccessDenied:
        os.kill(process.pid, 0)  # who has become another user can't be ended, so must not be waited for
        return {}


def with_descendants(processes: Iterable[Seen], chosen: Callable[[Seen], bool]) -> list[Seen]:
    """Those that are `chosen`, and all that descend from them."""
    children: dict[int, list[Seen]] = {}
    stack = []
    for seen in processes:
        children.setdefault(seen.parent, []).append(seen)
        if chosen(seen):
            stack.append(seen)
    found: dict[int, Seen] = {}
    while stack:
        seen = stack.pop()
        if seen.pid not in found:
            found[seen.pid] = seen
            stack.extend(children.get(seen.pid, ()))
    return list(found.values())


def of_sessions(
    processes: Iterable[Seen], session_ids: set[str], shells: set[int], spared: Mapping[str, int | None]
) -> list[Seen]:
    """Everything that belongs to these sessions, shells included.

    `spared` are commands that go on, with their leaders: neither they, nor their descendants, nor who reports for them.
    """
    processes = list(processes)
    leaders = {leader for leader in spared.values() if leader is not None}
    safe = {
        seen.pid for seen in with_descendants(processes, lambda seen: seen.command_id in spared or seen.pid in leaders)
    }
    safe |= {seen.parent for seen in processes if seen.pid in leaders}
    everything = with_descendants(
        processes, lambda seen: seen.session_id in session_ids or seen.unix_session in shells or seen.pid in shells
    )
    return [seen for seen in everything if seen.pid not in safe]


def of_command(
    processes: Iterable[Seen], command_id: str, *, leader: int | None = None, shell: int | None = None
) -> list[Seen]:
    """What belongs to one command, its session's shell never.

    `leader` is the pid that the shell reported for a background command (also its group's number, where it has one).
    `shell` is the shell's pid if the command runs in it: its forks that have executed nothing yet carry no mark, but are
    its children and, unlike those that a user put into the background, don't ignore SIGINT.
    """

    session_id, _, _ = command_id.partition("-")

    def chosen(seen: Seen) -> bool:
        if seen.command_id == command_id:
            return True
        if leader in (seen.pid, seen.group) and seen.session_id == session_id:
            return True
        return (
            shell is not None
            and seen.parent == shell
            and seen.command_id is None
            and not ignores(seen.pid, signal.SIGINT)
        )

    return [seen for seen in with_descendants(processes, chosen) if seen.pid != shell]


class Memory:
    """Finds what belongs to something, also what lost the parents by which it was found at an earlier look."""

    def __init__(self, find: Callable[[list[Seen]], list[Seen]]) -> None:
        self._find = find
        self._known: set[Process] = set()

    def find(self, seen: list[Seen]) -> list[Seen]:
        found = self._find(seen)
        pids = {one.pid for one in found}
        strays = with_descendants(seen, lambda one: one.pid not in pids and one.process in self._known)
        found += [stray for stray in strays if stray.pid not in pids]
        self._known.update(one.process for one in found)
        return found


def send_to(process: Process, number: int) -> None:
    """Signal it, if it is still the same process."""
    import psutil

    with contextlib.suppress(psutil.Error):
        process.send_signal(number)


def send(processes: Iterable[Seen], number: int) -> None:
    """Signal each of them that is still the same process; who must be able to act on it is also continued."""
    import psutil

    for seen in processes:
        with contextlib.suppress(psutil.Error, OSError):
            seen.process.send_signal(number)
            if number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                seen.process.send_signal(signal.SIGCONT)


def send_group(group: int, number: int) -> None:
    """Signal a process group whose leader has not been reaped, or just now."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
        if number == signal.SIGTERM:
            os.killpg(group, signal.SIGCONT)


def exists(pid: int) -> bool:
    """Whether there is a process of this number, a zombie included."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def is_zombie(pid: int) -> bool:
    """Whether a process has ended and its parent has not taken note."""
    return state_of(pid) == b"Z"


def lives(pid: int) -> bool:
    """Whether a process has not ended."""
    return state_of(pid) not in (b"", b"Z", b"X")


def is_stopped(pid: int) -> bool:
    """Whether a signal has stopped a process."""
    return state_of(pid) == b"T"


def runs(pid: int) -> bool:
    """Whether a process still does something by itself, for a signal to stop takes a moment.

    One that waits within the kernel does not: it may wait for a child that has been stopped.
    """
    return state_of(pid) in (b"R", b"S")


def state_of(pid: int) -> bytes:
    """Its letter in ``/proc``; nothing if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1]
    except OSError:
        return b""


def reporter_of(leader: int, session_id: str) -> Process | None:
    """The fork of the session's shell that waits for a background command and reports for it; None if it has gone."""
    import psutil

    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(leader).parent()
        if parent is not None and parent.environ().get(SESSION_MARK) == session_id:
            return parent
    return None


def ignores(pid: int, number: int) -> bool:
    """Whether a process ignores a signal."""
    return in_mask(pid, "SigIgn:", number)


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    return in_mask(pid, "SigCgt:", number)


def in_mask(pid: int, field: str, number: int) -> bool:
    with contextlib.suppress(OSError, ValueError), open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith(field):
                return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False
