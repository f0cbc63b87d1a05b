"""Removing what is no longer wanted: finished commands' logs, oldest first, and sessions in which nothing is left."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

import trio

from .archive import Archive
from .lifecycle import OPEN_STATES
from .models import CommandInfo, Pruned
from .store.transcript import Transcript


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
    candidates = [command for command in catalog.prunable() if archive.running(command.id) is None]
    total = sum(held_bytes(command) for command in candidates)
    chosen = choose(candidates, total, now, older_than, keep_bytes)
    freed = 0
    by_session: dict[str, list[CommandInfo]] = {}
    for command in chosen:
        by_session.setdefault(command.session_id, []).append(command)
    removed = 0
    for session_id, commands in by_session.items():
        # First the catalog: from now on nobody reads what is about to go.
        for command in commands:
            catalog.expire_command(command.session_id, command.number)
            freed += held_bytes(command)
            await trio.lowlevel.checkpoint()
        session = catalog.find_session(session_id)
        if session is not None and session.state not in OPEN_STATES and not catalog.holds_logs(session_id):
            await trio.to_thread.run_sync(archive.remove, session_id)
            removed += 1
        else:
            await free(archive, session_id, commands)
    if older_than is not None:
        catalog.forget_events(now - older_than)
    return Pruned(len(chosen), removed, freed)


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
    session = archive.catalog.find_session(session_id)
    if (session is not None and session.state in OPEN_STATES) or any(
        command.finished_at is None for command in archive.catalog.list_commands(session_id)
    ):
        return  # another engine writes there: only it may
    transcript = Transcript(session_id, directory)
    try:
        for command in commands:
            transcript.give_up(command.number, command.first_seq, held_bytes(command))
            await trio.lowlevel.checkpoint()
    finally:
        transcript.close()
