"""`sessions doctor`: what a user should know of a root, and what to do about it."""

from __future__ import annotations

import json
import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
import click

from ..errors import SessionsError
from ..lifecycle import OPEN_STATES
from ..models import SessionInfo
from ..server.lock import FILE as LOCK
from ..server.lock import read_holder
from ..shell.pipes import make_run_directory
from ..shell.processes import snapshot
from . import checks
from .checks import Finding
from .outlets import has_colour, say
from .place import Place
from .reading import open_catalog
from .starting import LOG, answers
from .text import styled

SIGNS: Final = {"ok": ("ok   ", "green"), "note": ("note ", "yellow"), "wrong": ("WRONG", "red")}


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as a JSON array.")
@click.pass_obj
def doctor(place: Place, /, as_json: bool) -> int:
    """Look at the shells, the root, its server, its sessions and the limits of this machine. Changes nothing.

    Says what is wrong and what to do, and exits with 1 if anything is. With --url, asks that server whether it is well.
    """
    findings = list(examine_server(place) if place.url is not None else examine(place))
    if as_json:
        say(json.dumps([attrs.asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            sign, style = SIGNS[finding.state]
            say(f"{styled(sign, style, has_colour(1))} {finding.what}")
            if finding.do:
                say(f"      {finding.do}")
    return 1 if any(finding.state == "wrong" for finding in findings) else 0


def examine(place: Place) -> Iterator[Finding]:
    root = place.root
    yield from checks.judge_shells({name: shutil.which(name) for name in ("bash", "sh", "zsh")})
    yield from examine_root(root)
    yield from examine_run_directory(root)
    yield checks.judge_descriptors(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    yield from checks.judge_socket(str(place.socket), len(os.fsencode(place.socket)))
    yield from examine_lock(place)
    yield from examine_catalog(root)


def examine_server(place: Place) -> Iterator[Finding]:
    """All that can be seen of a server elsewhere."""
    import trio

    from .reaching import server_of

    async def ask() -> int:
        async with server_of(place) as client:
            return len(await client.list_commands(state="running"))

    try:
        running = trio.run(ask)
    except SessionsError as error:
        yield Finding("wrong", str(error))
    else:
        yield Finding("ok", f"the server {place.url} answers; {running} commands run there")


def examine_root(root: Path) -> Iterator[Finding]:
    there = root
    while (found := look_at(there)) is None:
        there = there.parent
    if there != root and not os.access(there, os.X_OK):
        yield checks.judge_hidden_root(root=str(root), place=str(there))
        return
    yield from checks.judge_root(
        root=str(root),
        exists=there == root,
        writable=os.access(there, os.W_OK | os.X_OK),
        mine=found.st_uid == os.geteuid(),
        mode=found.st_mode,
        system=file_system(there),
    )
    space = os.statvfs(there)
    yield checks.judge_space(space.f_bavail * space.f_frsize, space.f_favail if space.f_files else None)


def look_at(path: Path) -> os.stat_result | None:
    """None if it isn't there, as far as we may see."""
    try:
        return path.stat()
    except OSError:
        return None


def file_system(path: Path) -> str | None:
    """The kind of file system that `path` is on."""
    import psutil

    best = max(
        (part for part in psutil.disk_partitions(all=True) if path.resolve().is_relative_to(part.mountpoint)),
        key=lambda part: len(part.mountpoint),
        default=None,
    )
    return best.fstype if best is not None else None


def examine_run_directory(root: Path) -> Iterator[Finding]:
    if look_at(root) is None:
        return
    try:
        made = make_run_directory(root)
    except SessionsError as error:
        yield Finding("wrong", str(error), "set $XDG_RUNTIME_DIR to a directory of your own")
        return
    made.rmdir()
    if made.is_relative_to(root):
        yield Finding(
            "note", f"pipes lie on disk, in {made.parent}", "with $XDG_RUNTIME_DIR in memory, commands start faster"
        )
    else:
        yield Finding("ok", f"pipes lie in {made.parent}")


def examine_lock(place: Place) -> Iterator[Finding]:
    holder = read_holder(place.root / LOCK)
    pid = holder.get("pid") if holder else None
    yield from checks.judge_server(
        locked=holder is not None,
        answers=answers(place.socket),
        left_socket=look_at(place.socket) is not None,
        pid=pid,
        descriptors=descriptors_of(pid) if pid else None,
        log=str(place.root / LOG),
    )


def descriptors_of(pid: int) -> tuple[int, int] | None:
    """How many a process has open, and may have."""
    import psutil

    try:
        process = psutil.Process(pid)
        return process.num_fds(), int(process.rlimit(psutil.RLIMIT_NOFILE)[0])
    except psutil.Error:
        return None


def examine_catalog(root: Path) -> Iterator[Finding]:
    if look_at(root / "catalog.sqlite3") is None:
        return
    try:
        catalog = open_catalog(root)
    except SessionsError as error:
        yield Finding("wrong", str(error), "restore it from a backup, or choose another root")
        return
    try:
        sessions = catalog.list_sessions()
        running = catalog.list_commands(state="running")
    finally:
        catalog.close()
    opened = [info for info in sessions if info.state in OPEN_STATES]
    yield Finding("ok", f"{len(sessions)} sessions are stored, {len(opened)} are open; {len(running)} commands run")
    alive = {info.engine_id for info in sessions if read_holder(root / "engines" / info.engine_id) is not None}
    dead: dict[str, int] = {}
    for info in opened:
        if info.engine_id not in alive:
            dead[info.engine_id] = dead.get(info.engine_id, 0) + 1
        else:
            yield from checks.judge_session(info.name, info.state, info.problem)
    yield from checks.judge_engines(dead)
    yield from checks.judge_leftovers(leftovers(sessions, alive))


def leftovers(sessions: list[SessionInfo], alive: set[str]) -> list[int]:
    """Processes of sessions of this root whose engine is dead. A living one may have some that outlive their session."""
    orphans = {info.id for info in sessions if info.engine_id not in alive}
    return [seen.pid for seen in snapshot() if seen.session_id in orphans]
