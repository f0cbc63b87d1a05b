"""Removing what is no longer wanted: finished commands' logs, oldest first, and sessions in which nothing is left."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable
from pathlib import Path

import trio

from .archive import Archive
from .arguments import to_number
from .errors import Invalid
from .models import CommandInfo, Pruned
from .store.transcript import Transcript
from .threads import run_in_thread


def check(older_than: float | None, keep_bytes: int | None) -> None:
    """`Invalid` unless they say what shall be removed."""
    for name, value in (("older_than", older_than), ("keep_bytes", keep_bytes)):
        if value is not None and not 0 <= to_number(value) < math.inf:
            raise Invalid(f"{name}={value!r}: pass a number from 0")
    if older_than is None and keep_bytes is None:
        raise Invalid("prune() without older_than and keep_bytes would remove nothing: pass at least one")


def choose(
    candidates: Iterable[CommandInfo], kept_bytes: int, now: float, older_than: float | None, keep_bytes: int | None
) -> list[CommandInfo]:
    """Which of the finished commands (oldest first) must go. `kept_bytes` is what all of them hold now."""
    chosen = []
    for command in candidates:
        too_old = older_than is not None and command.finished_at is not None and command.finished_at < now - older_than
        too_much = keep_bytes is not None and kept_bytes > keep_bytes
        if too_old or too_much:
            chosen.append(command)
            kept_bytes -= held_bytes(command)
    return chosen


def held_bytes(command: CommandInfo) -> int:
    return command.stdout_bytes + command.stderr_bytes - command.dropped_bytes


async def prune(archive: Archive, older_than: float | None, keep_bytes: int | None) -> Pruned:
    """Others run between two commands."""
    catalog = archive.catalog
    now = time.time()
    foreign = kept_by_others(archive)
    candidates = [
        command
        for command in catalog.prunable()
        if command.session_id not in foreign and archive.running(command.id) is None
    ]
    chosen = choose(candidates, sum(map(held_bytes, candidates)), now, older_than, keep_bytes)
    by_session: dict[str, list[CommandInfo]] = {}
    for command in chosen:
        by_session.setdefault(command.session_id, []).append(command)
    for session_id, commands in by_session.items():
        await trio.lowlevel.checkpoint()
        with trio.CancelScope(shield=True):  # bytes of an expired command would stay for ever
            # The bytes first: a full disk has room for the catalog's change only then. Who reads meanwhile is told of the gap.
            await free(archive, session_id, commands)
            for command in commands:
                catalog.expire_command(command.session_id, command.number)
                await trio.lowlevel.checkpoint()
    removed = 0
    for session_id in catalog.empty_sessions():
        if session_id not in foreign and archive.directory(session_id).is_dir():
            await run_in_thread(archive.remove, session_id)
            removed += 1
    if older_than is not None:
        catalog.forget_events(now - older_than)
    return Pruned(len(chosen), removed, sum(map(held_bytes, chosen)))


def kept_by_others(archive: Archive) -> set[str]:
    """The sessions whose logs another engine writes: only that may prune them."""
    sessions = {info.id for info in archive.catalog.open_sessions()}
    for state in ("queued", "running"):
        sessions.update(command.session_id for command in archive.catalog.list_commands(state=state))
    return sessions - archive.live.keys()


async def free(archive: Archive, session_id: str, commands: list[CommandInfo]) -> None:
    """Give the bytes of these commands back, in a session that still has others."""
    live = archive.live.get(session_id)
    if live is not None:
        for command in commands:
            if not live.transcript.closed:
                live.transcript.give_up(command.number, command.first_seq, held_bytes(command))
            await trio.lowlevel.checkpoint()
        return
    directory: Path = archive.directory(session_id)
    if not os.path.isdir(directory):
        return
    transcript = Transcript(session_id, directory)
    try:
        for command in commands:
            transcript.give_up(command.number, command.first_seq, held_bytes(command))
            await trio.lowlevel.checkpoint()
    finally:
        transcript.close()
