"""Where logs are found: in a session that this engine runs, or in files that another engine writes or has written."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from .arguments import check_count
from .errors import Expired, Invalid, NotFound
from .ids import NAME, parse_command_id
from .lifecycle import OPEN_STATES, SESSION_STATES
from .live import LiveSession
from .models import CommandInfo, SessionInfo
from .running import RunningCommand
from .store.catalog import Catalog
from .store.reading import TranscriptReader
from .store.transcript import EVERYBODY


class Log(Protocol):
    """One session's transcript, opened for reading."""

    reader: TranscriptReader
    polled: bool
    """True if nobody tells when something is added."""

    def subscribe(self, number: int | None, wake: Callable[[], None]) -> None: ...
    def unsubscribe(self, number: int | None, wake: Callable[[], None]) -> None: ...
    def is_over(self, number: int | None, late: bool) -> bool:
        """Whether nothing more can come from this command (None: from this session)."""

    async def check_owner(self) -> None:
        """See to it that `is_over` becomes true if the engine that writes here is dead."""

    def close(self) -> None: ...


class OwnLog:
    """The log of a session of this engine."""

    polled = False

    def __init__(self, session: LiveSession) -> None:
        self._session = session
        self.reader = session.transcript.hold()

    def subscribe(self, number: int | None, wake: Callable[[], None]) -> None:
        self._session.transcript.subscribe(number or EVERYBODY, wake)

    def unsubscribe(self, number: int | None, wake: Callable[[], None]) -> None:
        self._session.transcript.unsubscribe(number or EVERYBODY, wake)

    def is_over(self, number: int | None, late: bool) -> bool:
        if number is None or self._session.abandoned:
            return self._session.transcript.closed or self._session.abandoned
        command = self._session.commands.get(number)
        return command is None or (command.is_finished and not late)

    async def check_owner(self) -> None:
        pass

    def close(self) -> None:
        self._session.transcript.release()


class StoredLog:
    """The log of a session that another engine runs, or that nobody runs any more."""

    polled = True

    def __init__(self, archive: Archive, session_id: str) -> None:
        self._archive = archive
        self._session_id = session_id
        self.reader = TranscriptReader.open(session_id, archive.directory(session_id))

    def subscribe(self, number: int | None, wake: Callable[[], None]) -> None:
        wake()

    def unsubscribe(self, number: int | None, wake: Callable[[], None]) -> None:
        pass

    def is_over(self, number: int | None, late: bool) -> bool:
        session = self._archive.catalog.find_session(self._session_id)
        closed = session is None or session.state not in OPEN_STATES
        if number is None or session is None:
            return closed
        command = self._archive.catalog.get_command(self._session_id, number)
        # A detached command goes on when its session is closed.
        return command is None or (command.finished_at is not None and (closed or not late))

    async def check_owner(self) -> None:
        session = self._archive.catalog.find_session(self._session_id)
        if session is not None:
            await self._archive.check_owner(session)

    def close(self) -> None:
        self.reader.close()


class Archive:
    """All that a root holds, seen from one engine."""

    def __init__(self, root: Path, catalog: Catalog, check_owner: Callable[[SessionInfo], Awaitable[None]]) -> None:
        self.root = root
        self.catalog = catalog
        self.check_owner = check_owner
        """Called for an open session of another engine: if that is dead, marks what it left."""
        self.live: dict[str, LiveSession] = {}
        """The sessions whose transcript is open in this engine, by id."""

    def directory(self, session_id: str) -> Path:
        return self.root / "sessions" / session_id

    def open_log(self, session_id: str) -> Log:
        """Close it. `Expired` if retention has removed it."""
        live = self.live.get(session_id)
        return OwnLog(live) if live is not None and not live.transcript.closed else StoredLog(self, session_id)

    def running(self, command_id: str) -> RunningCommand | None:
        """The command, if it is one of this engine's and something can still come from it."""
        parsed = parse_command_id(command_id)
        live = self.live.get(parsed[0]) if parsed else None
        return live.commands.get(parsed[1]) if live and parsed else None

    def command(self, command_id: str) -> CommandInfo:
        """`NotFound` if there never was one, `Expired` if retention has removed it."""
        running = self.running(command_id) if isinstance(command_id, str) else None
        if running is not None:
            return running.info
        parsed = parse_command_id(command_id) if isinstance(command_id, str) else None
        info = self.catalog.get_command(*parsed) if parsed else None
        if info is None:
            raise NotFound(f"no command has the id {command_id!r}: a list of the commands shows those there are")
        if info.expired:
            raise Expired(f"command {command_id} has expired: retention has removed its log")
        return info

    async def command_now(self, command_id: str) -> CommandInfo:
        """The same, and what a dead engine left is lost, not running."""
        info = self.command(command_id)
        if info.finished_at is None and info.session_id not in self.live:
            session = self.catalog.find_session(info.session_id)
            if session is not None:
                await self.check_owner(session)
                return self.command(command_id)
        return info

    def session(self, name_or_id: str) -> SessionInfo:
        """`NotFound` if there is none."""
        may_be_one = isinstance(name_or_id, str) and NAME.fullmatch(name_or_id)
        info = self.catalog.find_session(name_or_id) if may_be_one else None
        if info is None:
            raise NotFound(
                f"no session has the name or id {name_or_id!r}: a list of the sessions shows those there are"
            )
        live = self.live.get(info.id)
        return live.info if live is not None else info

    async def session_now(self, name_or_id: str) -> SessionInfo:
        """The same, and what a dead engine left is lost, not open."""
        info = self.session(name_or_id)
        if info.state in OPEN_STATES and info.id not in self.live:
            await self.check_owner(info)
            return self.session(info.id)
        return info

    async def list_sessions(self, state: str | None, labels: Mapping[str, str] | None) -> list[SessionInfo]:
        """Oldest first, as they are now: what a dead engine left is lost."""
        if state not in (None, *SESSION_STATES):
            raise Invalid(f"state {state!r} is none: say one of {', '.join(map(repr, SESSION_STATES))}")
        catalog = self.catalog
        found = []
        # One that is open may be another engine's, or stall where that can't be written down: the catalog has not the last word.
        for info in catalog.open_sessions(labels) if state in OPEN_STATES else catalog.list_sessions(None, labels):
            with suppress(NotFound):  # another engine has deleted it meanwhile
                found.append(await self.session_now(info.id) if info.state in OPEN_STATES else info)
        return [info for info in found if state in (None, info.state)]

    def list_commands(
        self,
        session_id: str | None,
        state: str | None,
        labels: Mapping[str, str] | None,
        limit: int | None,
        before: str | None,
    ) -> list[CommandInfo]:
        """Those that have not expired, oldest first; of more than `limit` the newest. `before` is a command's id."""
        if state not in (None, "queued", "running", "finished"):
            raise Invalid(f"state {state!r} is none: say 'queued', 'running' or 'finished'")
        check_count("limit", limit)
        position = None
        if before is not None:
            position = parse_command_id(before) if isinstance(before, str) else None
            if position is None or self.catalog.get_command(*position) is None:
                raise NotFound(f"before={before!r}: no command has this id")
        infos = self.catalog.list_commands(session_id, state, labels, limit, position)
        # A running command's byte counts are in memory until it is finished.
        return [running.info if (running := self.running(info.id)) else info for info in infos]

    def remove(self, session_id: str) -> None:
        """Remove the files of a session. Blocks for as long as the file system takes."""
        shutil.rmtree(self.directory(session_id), ignore_errors=True)
