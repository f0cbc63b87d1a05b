"""A root without an engine of our own: what is stored there can be read, whoever runs its sessions, or if nobody does.

On a full disk, too, where nothing can be written down: then what is told, and marked as lost, is a copy of the catalog in memory.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs
import trio

from .. import retention
from ..archive import Archive
from ..arguments import check_labels
from ..command import Command
from ..errors import Broken
from ..models import CommandInfo, Pruned, SessionInfo
from ..opening import check_owner
from ..reading_logs import bounds
from ..recovery import recover
from ..session import Session
from ..store.catalog import Catalog
from ..store.owners import Owner, take_over
from ..store.reading import select
from ..store.records import STDOUT
from ..store.schema import copy_to_memory


def open_catalog(root: Path) -> Catalog:
    """To look at; where the disk is too full to open it, a copy in memory."""
    path = root / "catalog.sqlite3"
    try:
        return Catalog(path)
    except Broken as error:
        if not isinstance(error.__cause__, sqlite3.OperationalError):
            raise
        return Catalog(path, copy_to_memory(path))


class Borrowed(Owner):
    """A dead engine's lock, held while what it left is marked in a copy. Whoever can write that down will do it again."""

    def release(self) -> None:
        self.drop()


class RootReader:
    """The reading verbs of an engine, and `prune`. What a dead engine left is marked as lost, as any engine would do."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._path = root / "catalog.sqlite3"
        self.archive = Archive(root, open_catalog(root), self._check_owner)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.archive.catalog.close()

    async def get_session(self, name_or_id: str) -> Session:
        return Session(self.archive, await self.archive.session_now(name_or_id))

    async def list_sessions(
        self, *, state: str | None = None, labels: Mapping[str, str] | None = None
    ) -> list[Session]:
        await self._check_owners()
        infos = self.archive.catalog.list_sessions(state, check_labels(labels))
        return [Session(self.archive, info) for info in infos]

    async def get_command(self, command_id: str) -> Command:
        return self._command(await self.archive.command_now(command_id))

    async def list_commands(
        self,
        *,
        session: str | None = None,
        state: str | None = None,
        labels: Mapping[str, str] | None = None,
        limit: int | None = None,
        before: str | None = None,
    ) -> list[Command]:
        chosen = None if session is None else self.archive.session(session).id
        if state != "finished":
            await self._check_owners()
        infos = self.archive.list_commands(chosen, state, check_labels(labels), limit, before)
        return [self._command(info) for info in infos]

    async def prune(self, *, older_than: float | None = None, keep_bytes: int | None = None) -> Pruned:
        """See `Engine.prune`. Where the disk is too full to write down what goes, bytes go first, chosen from a copy."""
        try:
            await self._check_owners()
            if not self.archive.catalog.is_copy:
                return await retention.prune(self.archive, older_than, keep_bytes)
        except (OSError, sqlite3.OperationalError):
            self._turn_to_copy()
        try:
            await self._check_owners()
            pruned = await retention.prune(self.archive, older_than, keep_bytes)
            if not pruned.commands and not pruned.sessions:
                return pruned
            self._exchange(Catalog(self._path))
            await self._check_owners()
            if not self.archive.catalog.is_copy:
                await retention.prune(self.archive, older_than, keep_bytes)
                return pruned
        except (OSError, sqlite3.OperationalError, Broken) as error:
            if isinstance(error, OSError) and error.errno != errno.ENOSPC:
                raise Broken(f"{self.root} can't be pruned: {error}") from error
        # What was removed took no space.
        raise Broken(
            f"{self.root} can't be pruned, because its disk is full: delete something else there, and try again"
        )

    def _exchange(self, catalog: Catalog) -> None:
        self.archive.catalog.close()
        self.archive.catalog = catalog

    def _turn_to_copy(self) -> None:
        self._exchange(Catalog(self._path, copy_to_memory(self._path)))

    async def _check_owner(self, info: SessionInfo) -> None:
        if not self.archive.catalog.is_copy:
            try:
                await check_owner(self.root, info)
            except (OSError, sqlite3.OperationalError, Broken):
                self._turn_to_copy()
            else:
                return
        try:
            found = take_over(self.root, info.engine_id)
        except OSError:
            return  # nothing at all can be written here, as in a backup: who lives can't be found out
        if found is not None:
            owner = Borrowed(found.engine_id, found.run_directory, found._path, found._descriptor)
            with trio.CancelScope(shield=True):  # the lock is ours: whoever is cancelled here would keep it for ever
                await trio.to_thread.run_sync(recover, self.root, self.archive.catalog, owner)

    async def _check_owners(self) -> None:
        # Closed ones too: detached commands may have outlived them, but not their engine.
        for session_id in retention.kept_by_others(self.archive):
            info = self.archive.catalog.find_session(session_id)
            if info is not None:
                await self.archive.check_owner(info)

    def _command(self, info: CommandInfo) -> Command:
        # Its engine counts a running command's bytes in memory until it is finished.
        return Command(
            self.archive, info if info.started_at is None or info.finished_at else measured(self.archive, info)
        )


def measured(archive: Archive, info: CommandInfo) -> CommandInfo:
    """With the bytes that its log holds now."""
    log = archive.open_log(info.session_id)
    try:
        out = err = 0
        last = info.last_seq
        for span in select(log.reader, info.number, *bounds(log.reader, info)):
            last = span.seq
            if span.kind == STDOUT:
                out += span.end - span.begin
            else:
                err += span.end - span.begin
    finally:
        log.close()
    return attrs.evolve(info, stdout_bytes=out, stderr_bytes=err, last_seq=max(last, info.last_seq))
