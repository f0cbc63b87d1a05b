"""A root without an engine of our own: what is stored there can be read, whoever runs its sessions, or if nobody does."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs

from ..archive import Archive
from ..arguments import check_labels
from ..command import Command
from ..lifecycle import OPEN_STATES
from ..models import CommandInfo
from ..opening import check_owner
from ..reading_logs import bounds
from ..session import Session
from ..store.catalog import Catalog
from ..store.reading import select
from ..store.records import STDOUT


class RootReader:
    """The reading verbs of an engine. What a dead engine left is marked as lost, as any engine would do."""

    def __init__(self, root: Path) -> None:
        self.archive = Archive(root, Catalog(root / "catalog.sqlite3"), partial(check_owner, root))

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

    async def _check_owners(self) -> None:
        for info in self.archive.catalog.list_sessions():
            if info.state in OPEN_STATES:
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
