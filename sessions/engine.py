"""The engine: all sessions of a program, in one nursery, on one root."""

from __future__ import annotations

import os
import shlex
import sqlite3
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import attrs
import trio

from . import retention
from .archive import Archive
from .arguments import check_count, check_directory, check_env, check_flag, check_labels, check_shell, check_text
from .closing import abandon, close_session, end_detached
from .command import Command
from .errors import Broken, Busy, Closed, Conflict, NotFound
from .ids import check_name, command_id, new_session_id
from .lifecycle import OPEN_STATES
from .live import LiveSession
from .live_terminal import LiveTerminal
from .models import Limits, Pruned, SessionInfo
from .session import Session
from .shells import terminal_argv
from .store.owners import Owner
from .streams import EventStream
from .terminal import Terminal, check_size, command_from
from .threads import run_in_thread
from .workshop import Workshop

Live = TypeVar("Live", bound=LiveSession)


@contextmanager
def storage(what: str) -> Iterator[None]:
    """What the disk or the database says is told as `Broken`."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        raise Broken(f"{what}: {error}") from error


class Engine:
    """Owns sessions. Made by `open_engine`."""

    def __init__(self, root: Path, limits: Limits, owner: Owner, archive: Archive, workshop: Workshop) -> None:
        self.root = root
        self.limits = limits
        self._owner = owner
        self.archive = archive
        self.workshop = workshop
        self._closing = False
        self._pruning = trio.Lock()
        self._creating = 0
        self._created = trio.Event()
        self._all_live: weakref.WeakSet[LiveSession] = weakref.WeakSet()
        self.unwritten: list[LiveSession] | None = None
        """At its end: the sessions of which not all that there was to tell could be written down."""

    @property
    def id(self) -> str:
        return self._owner.engine_id

    def __repr__(self) -> str:
        return f"<Engine {self.id} {str(self.root)!r}>"

    # Sessions

    async def create_session(
        self,
        name: str | None = None,
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        shell: str = "bash",
        labels: Mapping[str, str] | None = None,
        restart: bool = False,
    ) -> Session:
        """Open a session: a fresh shell without startup files.

        :param name: unique among open sessions, 1 to 100 letters, digits, ``.``, ``_``, ``-``; its id if left out.
        :param cwd: where it begins; this program's directory if left out.
        :param env: added to this program's environment.
        :param shell: ``"bash"``, ``"sh"`` or ``"zsh"``.
        :param labels: to find it by, and its commands.
        :param restart: replace a shell that has ended by a fresh one when the next command comes; the result of that
            command says so (``result.restarted``).

        Raises `Invalid`, `Conflict` if the name is taken, `Busy` at ``Limits.sessions``, `Broken` if the shell can't be started.

        ::

            session = await engine.create_session("build", cwd="/src", env={"CC": "clang"})
        """
        info = self._new_session(name, check_shell(shell), cwd, env, labels, check_flag("restart", restart))
        live = await self._open(info, LiveSession, lambda live: live.open_shell())
        return Session(self.archive, info, live)

    async def create_terminal(
        self,
        text: str | None = None,
        *,
        name: str | None = None,
        rows: int = 24,
        columns: int = 80,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Terminal:
        """Open a terminal: a program that believes that a person sits in front of it.

        :param text: shell text to run in it; an interactive login shell (bash) if left out.
        :param name: of its session; see `create_session`, also for the other arguments.

        ::

            terminal = await engine.create_terminal("python3 -q")
            await terminal.send_input("6 * 7\\n")
            await terminal.wait_for("42")
        """
        check_size(rows, columns)
        argv = terminal_argv(text if text is None else check_text(text))
        info = self._new_session(name, "terminal", cwd, env, labels, False)
        await self._open(info, LiveTerminal, lambda it: it.open_program(text or shlex.join(argv), argv, rows, columns))
        return self._terminal(info.id)

    async def get_terminal(self, name_or_id: str) -> Terminal:
        """The terminal whose session has this name or id; a closed one, too. `NotFound` if there is none."""
        session = await self.get_session(name_or_id)
        if session.shell != "terminal":
            raise NotFound(f"session {session.name!r} is no terminal")
        return self._terminal(session.id)

    def _terminal(self, session_id: str) -> Terminal:
        info = self.archive.command(command_id(session_id, 1))
        return Terminal(self.archive, info, self.archive.running(info.id))

    def _new_session(
        self,
        name: str | None,
        shell: str,
        cwd: str | os.PathLike[str] | None,
        env: Mapping[str, str] | None,
        labels: Mapping[str, str] | None,
        restart: bool,
    ) -> SessionInfo:
        session_id = new_session_id()
        return SessionInfo(
            id=session_id,
            name=check_name(name) if name is not None else session_id,
            engine_id=self.id,
            shell=shell,
            cwd=check_directory(cwd),
            env=check_env(env),
            labels=check_labels(labels),
            restart=restart,
            state="open",
            created_at=time.time(),
        )

    async def _open(self, info: SessionInfo, kind: type[Live], start: Callable[[Live], Awaitable[None]]) -> Live:
        """Register a session and start what it is there for. If that fails, nothing is left of it."""
        await trio.lowlevel.checkpoint()
        catalog = self.workshop.catalog
        namesake = catalog.find_session(info.name)
        if namesake is not None and namesake.state in OPEN_STATES and namesake.id not in self.archive.live:
            await self.archive.check_owner(namesake)  # a dead engine holds no name
        # From here to its registration nobody else runs.
        if self._closing:
            raise Closed("the engine is closing: it opens no sessions")
        if len(self.archive.live) >= self.limits.sessions:
            raise Busy(f"{len(self.archive.live)} sessions are open: close some, or raise Limits.sessions")
        self._creating += 1
        try:
            with storage(f"session {info.name!r} can't be created in {self.root}"):
                catalog.add_session(info)
                try:
                    live = kind(info, self.archive.directory(info.id), self.workshop, lambda: self._forget(info.id))
                    # Its event is out: who reacts to that finds it, and waits until it has a shell.
                    self.archive.live[info.id] = live
                    try:
                        async with live.shells.lock:
                            await start(live)
                    except BaseException:
                        live.closing = True
                        live.closed.set()
                        live.dispose()
                        raise
                except BaseException:
                    # Who watches is told of its end, too.
                    catalog.update_session(attrs.evolve(info, state="closed", closed_at=time.time()))
                    catalog.delete_session(info.id)
                    self.archive.remove(info.id)
                    raise
            self._all_live.add(live)
        finally:
            self._creating -= 1
            self._created.set()
            self._created = trio.Event()
        return live

    def _forget(self, session_id: str) -> None:
        self.archive.live.pop(session_id, None)

    @asynccontextmanager
    async def open_session(
        self,
        name: str | None = None,
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        shell: str = "bash",
        labels: Mapping[str, str] | None = None,
        restart: bool = False,
    ) -> AsyncIterator[Session]:
        """A session that is closed at the end of the block. The arguments are those of `create_session`.

        ::

            async with engine.open_session("scratch") as session:
                await session.run("cd /tmp")
        """
        session = await self.create_session(name, cwd=cwd, env=env, shell=shell, labels=labels, restart=restart)
        try:
            yield session
        finally:
            with trio.CancelScope(shield=True):
                await session.close()

    async def get_session(self, name_or_id: str) -> Session:
        """The open session of this name, or the one with this id, or the newest that had this name. `NotFound` if there is none."""
        await trio.lowlevel.checkpoint()
        return self._session(await self.archive.session_now(name_or_id))

    async def list_sessions(
        self, *, state: str | None = None, labels: Mapping[str, str] | None = None
    ) -> list[Session]:
        """The sessions of this root, other engines' and closed ones too, oldest first."""
        await trio.lowlevel.checkpoint()
        return [self._session(info) for info in await self.archive.list_sessions(state, check_labels(labels))]

    def _session(self, info: SessionInfo) -> Session:
        return Session(self.archive, info, self.archive.live.get(info.id))

    async def delete_session(self, name_or_id: str) -> None:
        """Close a session and remove it, its commands and their logs. Their ids are unknown from then on."""
        session = await self.get_session(name_or_id)
        await session.close()
        live = self.archive.live.get(session.id)
        if live is not None:
            with trio.CancelScope(shield=True):
                await end_detached(live, self.limits.kill_grace_seconds)
        elif any(command.finished_at is None for command in self.archive.catalog.list_commands(session.id)):
            raise Conflict(f"session {session.name!r} has a detached command in another engine: kill it there first")
        try:
            with trio.CancelScope(shield=True), storage(f"session {session.name!r} can't be deleted from {self.root}"):
                # The files first, which a full disk may need; whoever reads them meanwhile is told that they have gone.
                await run_in_thread(self.archive.remove, session.id)
                self.archive.catalog.delete_session(session.id)
        finally:
            if live is not None and live.recorder.stalled:
                abandon(live)  # somebody may wait for what could not be written down

    # Commands

    async def get_command(self, command_id: str) -> Command:
        """A command of this root, long finished ones too. `NotFound` if there is none, `Expired` if retention has removed it."""
        await trio.lowlevel.checkpoint()
        info = await self.archive.command_now(command_id)
        return command_from(self.archive, info)

    async def list_commands(
        self,
        *,
        session: str | Session | None = None,
        state: str | None = None,
        labels: Mapping[str, str] | None = None,
        limit: int | None = None,
        before: str | None = None,
    ) -> list[Command]:
        """Commands of this root, oldest first; of more than `limit` the newest.

        `session` is a name or an id, `state` is ``"queued"``, ``"running"`` or ``"finished"``. All `labels` must be a command's own
        or, for keys that it has none of, its session's.
        With `before`, a command's id, only those that were submitted before it: page through many by passing the first one's.
        """
        await trio.lowlevel.checkpoint()
        chosen = None
        if session is not None:
            chosen = session.id if isinstance(session, Session) else self.archive.session(session).id
        if state != "finished":
            for info in self.archive.catalog.open_sessions():
                if info.id not in self.archive.live:
                    await self.archive.check_owner(info)  # what a dead engine left shows as lost, not as running
        infos = self.archive.list_commands(chosen, state, check_labels(labels), limit, before)
        return [command_from(self.archive, info) for info in infos]

    def watch(self, after: int | None = None) -> EventStream:
        """What happens in this root from now on, or after the event with seq `after`, in all its engines.

        ::

            async with engine.watch() as events:
                async for event in events:
                    print(event.seq, event.type, event.command_id)
        """
        check_count("after", after)
        return EventStream(self.archive, after)

    async def prune(self, *, older_than: float | None = None, keep_bytes: int | None = None) -> Pruned:
        """Remove the logs of finished commands, those that finished first before others.

        :param older_than: all that finished more than so many seconds ago.
        :param keep_bytes: as many as it takes for the rest to hold no more bytes than this.

        Their ids answer `Expired` from then on. Running commands and what they wrote are never touched; a closed session in which
        nothing is left goes too.
        """
        retention.check(older_than, keep_bytes)
        await trio.lowlevel.checkpoint()
        async with self._pruning:
            with storage(f"{self.root} can't be pruned"):
                return await retention.prune(self.archive, older_than, keep_bytes)

    async def close(self) -> None:
        """Close all sessions and end all processes."""
        self._closing = True
        while self._creating:
            await self._created.wait()
        async with trio.open_nursery() as nursery:
            for live in list(self.archive.live.values()):
                nursery.start_soon(close_session, live, self.limits.kill_grace_seconds)
        async with trio.open_nursery() as nursery:
            for live in list(self.archive.live.values()):
                nursery.start_soon(end_detached, live, self.limits.kill_grace_seconds)
        self.unwritten = [live for live in self._all_live if live.recorder.stalled or live.abandoned]

    def abandon(self) -> None:
        """Its tasks have failed: open no more sessions, and let nobody wait for those there are."""
        self._closing = True
        for live in list(self.archive.live.values()):
            abandon(live)
