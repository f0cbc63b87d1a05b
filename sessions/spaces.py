"""Spaces: what a hosted system calls sandbox, machine or computer. A home directory, an environment, and the sessions in it.

A door makes spaces and puts sessions into them; two spaces never see each other's sessions through a door. Their sessions and
commands are ordinary ones, labelled with the space, so that `list_sessions(labels={"space": id})` finds them. A space outlives
its server; its sessions don't. It is no security boundary: all that runs in it runs as the user who runs the engine.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final

import attrs
import trio

from .arguments import check_env, check_labels
from .command import Command
from .engine import Engine
from .errors import Closed, Conflict, Invalid, NotFound
from .lifecycle import OPEN_STATES, SPACE_MOVES, SpaceState, move
from .models import SpaceInfo
from .recent import RecentCommands
from .session import Session
from .shell import processes
from .stopping import freeze
from .terminal import Terminal

LOOK_SECONDS: Final = 1.0
"""Between two looks for spaces whose time is over."""
BASE: Final = ""
"""The name of the session in which a space's processes are started: no user can give it."""


class Space:
    """One space. Made by `Spaces`."""

    def __init__(self, spaces: Spaces, info: SpaceInfo) -> None:
        self.info = info
        self.sessions: dict[str, Session] = {}
        """By the name that their user gave."""
        self.terminals: dict[str, Terminal] = {}
        """Likewise. Those whose program has ended may still be among them."""
        self.processes = RecentCommands()
        """Commands that were started by `start_process`, by number; `process` finds older ones, too."""
        self._spaces = spaces
        self._lock = trio.Lock()
        self._used_at = trio.current_time()
        self._users = 0

    @property
    def id(self) -> str:
        return self.info.id

    @property
    def state(self) -> SpaceState:
        return self.info.state

    @property
    def idle_seconds(self) -> float:
        return 0.0 if self._users else trio.current_time() - self._used_at

    def __repr__(self) -> str:
        return f"<Space {self.info.door} {self.info.name!r} {self.id} {self.state}>"

    # Its use

    @contextmanager
    def use(self) -> Iterator[None]:
        """While this lasts, and for ``stop_after`` seconds behind it, it is in use. `Conflict` unless it is started."""
        if self.state != "started":
            raise Conflict(f"space {self.info.name!r} ({self.id}) is {self.state}: start it first")
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            self._used_at = trio.current_time()

    async def create_session(
        self,
        name: str,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        shell: str = "bash",
        labels: Mapping[str, str] | None = None,
    ) -> Session:
        """A session in it, in its home and with its environment. `Conflict` if it has one of this name."""
        async with self._lock:
            if name in self.sessions:
                raise Conflict(f"space {self.info.name!r} has a session {name!r} already")
            session = await self._spaces.engine.create_session(
                cwd=os.path.join(self.info.home, cwd or ""),
                env={"HOME": self.info.home, **self.info.env, **(env or {})},
                shell=shell,
                labels={"space": self.id, "door": self.info.door, "session": name, **(labels or {})},
                restart=name == BASE,
            )
            self.sessions[name] = session
            return session

    def session(self, name: str) -> Session:
        """`NotFound` if it has none of this name."""
        try:
            return self.sessions[name]
        except KeyError:
            raise NotFound(f"space {self.info.name!r} has no session {name!r}") from None

    async def close_session(self, name: str) -> None:
        """End a session and forget its name. Its logs stay in the history."""
        session = self.session(name)
        del self.sessions[name]
        await session.close()

    async def create_terminal(
        self,
        name: str,
        *,
        rows: int = 24,
        columns: int = 80,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Terminal:
        """A login shell on a terminal. `Conflict` if one of this name runs."""
        async with self._lock:
            self.terminals = {key: found for key, found in self.terminals.items() if found.state != "finished"}
            if name in self.terminals:
                raise Conflict(f"space {self.info.name!r} has a terminal {name!r} already")
            terminal = await self._spaces.engine.create_terminal(
                rows=rows,
                columns=columns,
                cwd=os.path.join(self.info.home, cwd or ""),
                env={"HOME": self.info.home, **self.info.env, **(env or {})},
                labels={"space": self.id, "door": self.info.door, "terminal": name},
            )
            self.terminals[name] = terminal
            return terminal

    async def start_process(
        self,
        text: str,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        stdin: bool | bytes | str = False,
        labels: Mapping[str, str] | None = None,
    ) -> tuple[int, Command]:
        """Run a text beside all others, in a shell of its own state, and give it a process number."""
        if (base := self.sessions.get(BASE)) is None or base.state not in OPEN_STATES:
            self.sessions.pop(BASE, None)
            try:
                base = await self.create_session(BASE)
            except Conflict:  # somebody else has just made it
                base = self.session(BASE)
        number = self._spaces.table.next_process(self.id)
        marks = {"space": self.id, "door": self.info.door, "process": str(number), **(labels or {})}
        command = await base.run_async(
            text, cwd=os.path.join(self.info.home, cwd or ""), env=env, timeout=timeout, stdin=stdin, labels=marks
        )
        self.processes[number] = command
        return number, command

    async def process(self, number: int) -> Command:
        """`NotFound` if it never had this process."""
        if number in self.processes:
            return self.processes[number]
        labels = {"space": self.id, "process": str(number)}
        for command in await self._spaces.engine.list_commands(labels=labels, limit=1):
            return command
        raise NotFound(f"space {self.info.name!r} has no process {number}")

    # Its life

    async def start(self) -> None:
        """Let it have sessions again."""
        self._move("start")

    async def stop(self) -> None:
        """End all its sessions. Its home stays."""
        async with self._lock:
            if self.state == "paused":
                await self._continue()
            self._move("stop")
            await self._close_sessions()

    async def pause(self) -> None:
        """Stop all its processes where they are."""
        async with self._lock:
            self._move("pause")
            await freeze(self._spaces.engine.workshop.census, self._find_processes())

    async def resume(self) -> None:
        """Let its processes go on."""
        async with self._lock:
            self._move("resume")
            await self._continue()

    async def delete(self) -> None:
        """End all that runs in it and remove its home. Its commands and logs stay in the history."""
        async with self._lock:
            if self.state == "destroyed":
                return
            if self.state == "paused":
                await self._continue()
            self._move("delete")
            self._spaces.forget(self)
            await self._close_sessions()
            await trio.to_thread.run_sync(lambda: shutil.rmtree(self.info.home, ignore_errors=True))

    def change(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        facts: Mapping[str, Any] | None = None,
        **times: float | None,
    ) -> None:
        """Store other labels, facts, ``stop_after`` or ``delete_after``."""
        changes: dict[str, Any] = dict(times)
        if labels is not None:
            changes["labels"] = check_labels(labels)
        if facts is not None:
            changes["facts"] = {**self.info.facts, **facts}
        self.info = attrs.evolve(self.info, **changes)
        self._spaces.table.update(self.info)

    def _move(self, event: str) -> None:
        state = move(SPACE_MOVES, self.state, event, f"space {self.info.name!r} ({self.id})")
        self.info = attrs.evolve(self.info, state=state, changed_at=time.time())
        self._used_at = trio.current_time()
        self._spaces.table.update(self.info)

    async def _close_sessions(self) -> None:
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for session in self.sessions.values():
                    nursery.start_soon(session.close)
                for terminal in self.terminals.values():
                    nursery.start_soon(self._close_terminal, terminal)
        self.sessions.clear()
        self.terminals.clear()

    async def _close_terminal(self, terminal: Terminal) -> None:
        await (await self._spaces.engine.get_session(terminal.session_id)).close()

    def _find_processes(self) -> Callable[[list[processes.Seen]], list[processes.Seen]]:
        ids = {session.id for session in self.sessions.values()}
        ids |= {terminal.session_id for terminal in self.terminals.values()}
        shells = {pid for session in self.sessions.values() if (pid := session.shell_pid) is not None}
        return lambda seen: processes.of_sessions(seen, ids, shells, {})

    async def _continue(self) -> None:
        seen = await self._spaces.engine.workshop.census.take()
        processes.send(self._find_processes()(seen), signal.SIGCONT)

    async def look(self) -> None:
        """Stop or delete it if its time is over."""
        stop_after, delete_after = self.info.stop_after, self.info.delete_after
        if self.state == "started" and stop_after is not None and self.idle_seconds >= stop_after:
            await self.stop()
        at_rest = time.time() - self.info.changed_at if self.state in ("stopped", "paused") else 0.0
        if delete_after is not None and at_rest and at_rest >= delete_after:
            await self.delete()


class Spaces:
    """All spaces of an engine's root. Made by `open_spaces`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.table = engine.workshop.catalog.spaces()
        self.looks: dict[str, Callable[[Space], Awaitable[None]]] = {}
        """What else a door wants done at each look at one of its spaces, by door."""
        self._spaces: dict[str, Space] = {info.id: Space(self, info) for info in self.table.list()}

    async def create(
        self,
        door: str,
        space_id: str,
        *,
        name: str | None = None,
        env: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        facts: Mapping[str, Any] | None = None,
        stop_after: float | None = None,
        delete_after: float | None = None,
    ) -> Space:
        """A new one, started. `space_id` is of the shape that its door's clients expect, and never used before."""
        if not space_id or "/" in space_id or space_id.startswith("."):
            raise Invalid(f"space id {space_id!r} can't be part of a path")
        now = time.time()
        home = self.engine.root / "spaces" / space_id
        info = SpaceInfo(
            id=space_id,
            name=name or space_id,
            door=door,
            home=str(home),
            env=check_env(env),
            labels=check_labels(labels),
            facts=dict(facts or {}),
            state="started",
            created_at=now,
            changed_at=now,
            stop_after=stop_after,
            delete_after=delete_after,
        )
        self.table.add(info)
        await trio.to_thread.run_sync(lambda: home.mkdir(mode=0o700, parents=True))
        self._spaces[space_id] = space = Space(self, info)
        return space

    def get(self, door: str, name_or_id: str) -> Space:
        """`NotFound` if this door has none of this name or id."""
        info = self.table.find(door, name_or_id)
        space = self._spaces.get(info.id) if info else None
        if space is None:
            raise NotFound(f"no space has the name or id {name_or_id!r}")
        return space

    def list(self, door: str, labels: Mapping[str, str] | None = None) -> list[Space]:
        """Those of this door that are not destroyed, oldest first."""
        return [self._spaces[info.id] for info in self.table.list(door, labels) if info.id in self._spaces]

    def forget(self, space: Space) -> None:
        self._spaces.pop(space.id, None)

    async def watch_times(self) -> None:
        """Honour ``stop_after`` and ``delete_after``."""
        while True:
            await trio.sleep(LOOK_SECONDS)
            for space in list(self._spaces.values()):
                with suppress(Closed, Conflict):  # somebody else was faster
                    await space.look()
                    if space.info.door in self.looks:
                        await self.looks[space.info.door](space)


@asynccontextmanager
async def open_spaces(engine: Engine) -> AsyncIterator[Spaces]:
    """The spaces of an engine's root, for as long as the block lasts. They stay when it ends; what runs in them ends with the engine."""
    spaces = Spaces(engine)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(spaces.watch_times)
        yield spaces
        nursery.cancel_scope.cancel()
