"""One space: its sessions, terminals and processes, and its life.

Whoever changes its state or opens something in it holds its lock: what is opened while it stops would outlive the stop.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import attrs
import trio

from .arguments import check_labels
from .command import Command
from .engine import Engine, storage
from .errors import Conflict, NotFound
from .lifecycle import OPEN_STATES, SPACE_MOVES, SpaceState, move
from .models import SpaceInfo
from .recent import RecentCommands
from .session import Session
from .shell import processes
from .shell.processes import Seen
from .space_homes import remove_home, strays
from .stopping import freeze, sweep
from .store.spaces import SpaceTable
from .terminal import Terminal
from .threads import run_in_thread

BASE: Final = ""
"""The name of the session in which a space's processes are started: no user can give it."""
RESTING: Final[tuple[SpaceState, ...]] = ("stopped", "paused")


def always() -> bool:
    return True


class Space:
    """One space. Made by `Spaces`."""

    def __init__(self, engine: Engine, table: SpaceTable, info: SpaceInfo, forget: Callable[[Space], None]) -> None:
        self.info = info
        self.sessions: dict[str, Session] = {}
        """By the name that their user gave."""
        self.terminals: dict[str, Terminal] = {}
        """Likewise. Those whose program has ended may still be among them."""
        self._leaving: set[Session] = set()
        """Those whose names are forgotten, and which are just being closed."""
        self.processes = RecentCommands()
        """Commands that were started by `start_process`, by number; `process` finds older ones, too."""
        self._engine = engine
        self._table = table
        self._forget = forget
        self._lock = trio.Lock()
        self._used_at = trio.current_time()
        self._users = 0
        self._has_run = False
        """Whether anything may have been started in it."""

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
        self._check_started()
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            self._used_at = trio.current_time()

    def _check_started(self) -> None:
        if self.state != "started":
            advice = "create another one" if self.state == "destroyed" else "start it first"
            raise Conflict(f"space {self.info.name!r} ({self.id}) is {self.state}: {advice}")

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
            return await self._open_session(name, cwd, env, shell, labels)

    async def _open_session(
        self,
        name: str,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        shell: str = "bash",
        labels: Mapping[str, str] | None = None,
    ) -> Session:
        self._check_started()
        self._has_run = True
        session = await self._engine.create_session(
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
        self._leaving.add(session)
        try:
            await session.close()
        finally:
            self._leaving.discard(session)

    async def create_terminal(
        self,
        name: str,
        text: str | None = None,
        *,
        rows: int = 24,
        columns: int = 80,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Terminal:
        """A shell text on a terminal; a login shell if it is left out. `Conflict` if one of this name runs."""
        async with self._lock:
            self._check_started()
            self.terminals = {key: found for key, found in self.terminals.items() if found.state != "finished"}
            if name in self.terminals:
                raise Conflict(f"space {self.info.name!r} has a terminal {name!r} already")
            self._has_run = True
            terminal = await self._engine.create_terminal(
                text,
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
        base = self._base or await self._open_base()
        with storage(f"space {self.info.name!r} can't number a process"):
            number = self._table.next_process(self.id)
        marks = {"space": self.id, "door": self.info.door, "process": str(number), **(labels or {})}
        command = await base.run_async(
            text, cwd=os.path.join(self.info.home, cwd or ""), env=env, timeout=timeout, stdin=stdin, labels=marks
        )
        self.processes[number] = command
        return number, command

    @property
    def _base(self) -> Session | None:
        base = self.sessions.get(BASE)
        return base if base is not None and base.state in OPEN_STATES else None

    async def _open_base(self) -> Session:
        async with self._lock:
            return self._base or await self._open_session(BASE)

    async def process(self, number: int) -> Command:
        """`NotFound` if it never had this process."""
        if number in self.processes:
            return self.processes[number]
        labels = {"space": self.id, "process": str(number)}
        for command in await self._engine.list_commands(labels=labels, limit=1):
            return command
        raise NotFound(f"space {self.info.name!r} has no process {number}")

    # Its life: whoever asks for a state that somebody else was faster to bring it to has it. Who asks because of what was seen
    # says what that was (`only_if`): it must still be so when nobody else can change it.

    async def start(self) -> None:
        """Let it have sessions again."""
        async with self._lock:
            if self.state != "started":
                self._move("start")

    async def stop(self, only_if: Callable[[], bool] = always) -> None:
        """End all its sessions. Its home stays."""
        async with self._lock:
            if self.state != "stopped" and only_if():
                await self._end_by("stop")

    async def pause(self, only_if: Callable[[], bool] = always) -> None:
        """Stop all its processes where they are."""
        async with self._lock:
            if self.state != "paused" and only_if():
                with trio.CancelScope(shield=True):  # half paused is no state to be left in
                    self._move("pause")
                    await freeze(self._engine.workshop.census, self._find_processes())

    async def resume(self) -> None:
        """Let its processes go on."""
        async with self._lock:
            if self.state != "started":
                with trio.CancelScope(shield=True):
                    self._move("resume")
                    await self._continue()

    async def delete(self, only_if: Callable[[], bool] = always) -> None:
        """End all that runs in it and remove its home. Its commands and logs stay in the history."""
        async with self._lock:
            if self.state != "destroyed" and only_if():
                with trio.CancelScope(shield=True):  # nobody would find it any more to go on with that
                    await self._end_by("delete")
                    self._forget(self)
                    await run_in_thread(remove_home, self.info.home)

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
        self._store(changes)

    def _store(self, changes: Mapping[str, Any]) -> None:
        info = attrs.evolve(self.info, **changes)
        with storage(f"space {info.name!r} ({info.id}) can't be changed"):
            self._table.update(info)
        self.info = info

    def _move(self, event: str) -> None:
        state = move(SPACE_MOVES, self.state, event, f"space {self.info.name!r} ({self.id})")
        self._store({"state": state, "changed_at": time.time()})
        self._used_at = trio.current_time()

    async def _end_by(self, event: str) -> None:
        was_paused = self.state == "paused"
        self._move(event)
        with trio.CancelScope(shield=True):
            if was_paused:
                await self._continue()
            async with trio.open_nursery() as nursery:
                for session_id in self._session_ids():
                    nursery.start_soon(self._close, session_id)
            if self._has_run:
                workshop = self._engine.workshop
                await sweep(workshop.census, self._find_strays, workshop.limits.kill_grace_seconds)
        self.sessions.clear()
        self.terminals.clear()

    async def _close(self, session_id: str) -> None:
        with suppress(NotFound):  # its user has deleted it, with our own tools
            await (await self._engine.get_session(session_id)).close()

    def _session_ids(self) -> set[str]:
        return {session.id for session in self._all_sessions()} | {
            terminal.session_id for terminal in self.terminals.values()
        }

    def _all_sessions(self) -> list[Session]:
        return [*self.sessions.values(), *self._leaving]

    def _find_strays(self, seen: Sequence[Seen]) -> list[Seen]:
        return strays(seen, self._engine.workshop.keeper.pid, self.info.home)

    def _find_processes(self) -> Callable[[list[Seen]], list[Seen]]:
        ids = self._session_ids()
        shells = {pid for session in self._all_sessions() if (pid := session.shell_pid) is not None}
        return lambda seen: processes.of_sessions(seen, ids, shells, {}) + self._find_strays(seen)

    async def _continue(self) -> None:
        seen = await self._engine.workshop.census.take()
        processes.send(self._find_processes()(seen), signal.SIGCONT)

    async def look(self, resting: tuple[SpaceState, ...] = RESTING) -> None:
        """Stop or delete it if its time is over; `resting` are the states that count for ``delete_after``."""
        if self._is_unused():
            await self.stop(only_if=self._is_unused)
        if self._is_at_rest(resting):
            await self.delete(only_if=partial(self._is_at_rest, resting))

    def _is_unused(self) -> bool:
        stop_after = self.info.stop_after
        return self.state == "started" and stop_after is not None and self.idle_seconds >= stop_after

    def _is_at_rest(self, resting: tuple[SpaceState, ...]) -> bool:
        delete_after = self.info.delete_after
        return self.state in resting and delete_after is not None and time.time() - self.info.changed_at >= delete_after
