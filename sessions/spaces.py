"""Spaces: what a hosted system calls sandbox, machine or computer. A home directory, an environment, and the sessions in it.

A door makes spaces and puts sessions into them; two spaces never see each other's sessions through a door. Their sessions and
commands are ordinary ones, labelled with the space, so that `list_sessions(labels={"space": id})` finds them. A space outlives
its server; its sessions don't. It is no security boundary: all that runs in it runs as the user who runs the engine.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final

import trio

from .arguments import check_encodable, check_env, check_labels
from .engine import Engine, storage
from .errors import Invalid, NotFound, SessionsError
from .lifecycle import SpaceState
from .models import SpaceInfo
from .space import BASE as BASE
from .space import RESTING
from .space import Space as Space
from .space_homes import remove_home
from .threads import run_in_thread

LOOK_SECONDS: Final = 1.0
"""Between two looks for spaces whose time is over."""


class Spaces:
    """All spaces of an engine's root. Made by `open_spaces`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.table = engine.workshop.catalog.spaces()
        self.looks: dict[str, Callable[[Space], Awaitable[None]]] = {}
        """What else a door wants done at each look at one of its spaces, by door."""
        self.resting: dict[str, tuple[SpaceState, ...]] = {}
        """In which states the time of ``delete_after`` runs, by door; for others see `RESTING`."""
        self._looked_at: set[Space] = set()
        """At this moment."""
        self._spaces: dict[str, Space] = {info.id: self._space(info) for info in self.table.list()}

    def _space(self, info: SpaceInfo) -> Space:
        return Space(self.engine, self.table, info, self._forget)

    def _forget(self, space: Space) -> None:
        self._spaces.pop(space.id, None)

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
            id=space_id, name=check_encodable("name", name or space_id), door=door, home=str(home), env=check_env(env),
            labels=check_labels(labels), facts=dict(facts or {}), state="started", created_at=now, changed_at=now,
            stop_after=stop_after, delete_after=delete_after,
        )  # fmt: skip
        with trio.CancelScope(shield=True):  # half made, it would hold its name for ever
            with storage(f"the home of space {space_id!r} can't be made"):
                await run_in_thread(partial(home.mkdir, mode=0o700, parents=True))
            try:
                with storage(f"space {info.name!r} can't be created"):
                    self.table.add(info)
            except BaseException:
                home.rmdir()
                raise
        self._spaces[space_id] = space = self._space(info)
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
        found = self.table.list(door, check_labels(labels))
        return [self._spaces[info.id] for info in found if info.id in self._spaces]

    def next_number(self, space: Space) -> int:
        """A process number that was never given out in this space before, for what is started by other means than `start_process`."""
        with storage(f"space {space.info.name!r} can't number a process"):
            return self.table.next_process(space.id)

    async def remove_leftovers(self) -> None:
        """The homes of spaces whose deletion was cut short, by a crash."""
        homes = self.engine.root / "spaces"
        names = os.listdir(homes) if homes.is_dir() else []
        for name in names:
            if self.table.is_destroyed(name):
                await run_in_thread(remove_home, str(homes / name))

    async def watch_times(self) -> None:
        """Honour ``stop_after`` and ``delete_after``. A space that takes long to end keeps no other one waiting."""
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(LOOK_SECONDS)
                for space in self._spaces.values():
                    if space not in self._looked_at:
                        self._looked_at.add(space)
                        nursery.start_soon(self._look, space)

    async def _look(self, space: Space) -> None:
        with suppress(SessionsError):  # somebody else was faster, or the disk is full: there is a next look
            await space.look(self.resting.get(space.info.door, RESTING))
            if space.info.door in self.looks:
                await self.looks[space.info.door](space)
        self._looked_at.discard(space)


@asynccontextmanager
async def open_spaces(engine: Engine) -> AsyncIterator[Spaces]:
    """The spaces of an engine's root, for as long as the block lasts. They stay when it ends; what runs in them ends with the engine."""
    spaces = Spaces(engine)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(spaces.remove_leftovers)
        nursery.start_soon(spaces.watch_times)
        yield spaces
        nursery.cancel_scope.cancel()
