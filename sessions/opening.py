"""The life of an engine: what is made before it, and what is left when it ends, which is nothing."""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import weakref
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final

import trio

from .archive import Archive
from .closing import abandon
from .engine import Engine
from .errors import Broken, Conflict, Invalid
from .ids import encode
from .models import Limits, SessionInfo
from .recovery import recover, remove_run_directory
from .roots import default_root
from .shell.descriptors import raise_limit, restore_limit
from .shell.keeper import Keeper
from .shell.pipes import make_run_directory
from .shell.poller import Poller
from .stopping import Census, continue_reporters
from .store.catalog import Catalog
from .store.owners import Owner, claim, dead_owners, is_being_recovered, take_over
from .threads import run_in_thread
from .workshop import Workshop

LISTEN_SECONDS: Final = 1.0
"""Between two looks for shells that have lost their voice, and for who was stopped and must not be."""
IDLE_SECONDS: Final = 10.0
"""The same while no command runs."""
RECOVERY_POLL_SECONDS: Final = 0.02
"""Between two looks at a dead engine that another task or process recovers."""


async def check_owner(root: Path, info: SessionInfo) -> None:
    """Recover the session's engine if that is dead. Returns when this is done, also by somebody else."""
    while True:
        owner = take_over(root, info.engine_id)
        if owner is not None:
            with trio.CancelScope(shield=True):  # the lock is ours: whoever is cancelled here would keep it for ever
                await run_in_thread(recover_apart, root, owner)
            return
        if not is_being_recovered(root, info.engine_id):
            return
        await trio.sleep(RECOVERY_POLL_SECONDS)


def recover_apart(root: Path, owner: Owner) -> None:
    """Recover beside a working engine: in a thread, so with a connection of its own."""
    catalog = Catalog(root / "catalog.sqlite3")
    try:
        recover(root, catalog, owner)
    finally:
        catalog.close()


async def tidy_up(catalog: Catalog) -> None:
    with contextlib.suppress(RuntimeError):  # there may be no more threads now: it will be due again
        await run_in_thread(catalog.checkpoint)


async def listen_to_shells(archive: Archive, workshop: Workshop) -> None:
    """Look after all commands, and after the keeper. An idle engine is woken as seldom as can be: memory that was not used for a
    while takes long to come back."""
    for look in itertools.count():
        await trio.sleep(LISTEN_SECONDS)
        workshop.keeper.proceed()
        busy = [session for session in archive.live.values() if session.commands]
        for session in busy:
            session.listen()
            continue_reporters(session.commands.values(), look)
        if not busy:
            with trio.move_on_after(IDLE_SECONDS):
                await workshop.bell.wait()


OPEN: Final[weakref.WeakKeyDictionary[open_engine, None]] = weakref.WeakKeyDictionary()


def leave_in_child() -> None:
    """After a fork: locks, sockets and pipes are the parent's. While a child holds them, others would miss their end."""
    for opened in list(OPEN):
        opened.let_go()
    OPEN.clear()  # the numbers of their descriptors are free now, and may be another's when this process forks, too


os.register_at_fork(after_in_child=leave_in_child)


class open_engine:
    """An engine on `root`, for as long as the block lasts. At its end all its sessions are closed and all their processes ended.

    :param root: the state directory; by default ``$SESSIONS_HOME``, else ``$XDG_STATE_HOME/sessions``, else
        ``~/.local/state/sessions``. Several engines, also of several programs, may share one.
    :param limits: see `Limits`.

    What a crashed engine left on this root is cleaned up: its processes are ended, its commands marked as lost.

    Raises `Invalid` for what is no path or no `Limits`, `Conflict` where trio doesn't run, and `Broken` if the root can't be used.

    ::

        async with sessions.open_engine() as engine:
            session = await engine.create_session("build")
            print((await session.run("echo hello")).stdout)
    """

    def __init__(self, root: str | os.PathLike[str] | None = None, *, limits: Limits | None = None) -> None:
        if root is not None and (not isinstance(root, str | os.PathLike) or "\0" in os.fspath(root)):
            raise Invalid(f"root {root!r} is no path: pass a str or a Path")
        if limits is not None and not isinstance(limits, Limits):
            raise Invalid(f"limits is {type(limits).__name__}: pass a Limits")
        self._root = Path(root).expanduser().absolute() if root is not None else default_root().absolute()
        self._limits = limits or Limits()

    async def __aenter__(self) -> Engine:
        if not trio.lowlevel.in_trio_task():  # the first wait would fail, and leave half an engine behind
            raise Conflict(
                "an engine needs trio, which doesn't run here: open it below trio.run(), or say sessions.blocking.open_engine();"
                " asyncio programs use a server, by sessions.connect()"
            )
        root = self._root
        with contextlib.ExitStack() as undo:
            try:
                root.parent.mkdir(parents=True, exist_ok=True)
                root.mkdir(mode=0o700, exist_ok=True)
                (root / "sessions").mkdir(mode=0o700, exist_ok=True)
                catalog = Catalog(root / "catalog.sqlite3")
                undo.callback(catalog.close)
                for dead in dead_owners(root):
                    # The lock is ours: who is cancelled here would keep it for ever.
                    with trio.CancelScope(shield=True):
                        await run_in_thread(recover, root, catalog, dead)
                for info in catalog.open_sessions():
                    await check_owner(root, info)  # whose file may be gone
                run_directory = make_run_directory(root)
                undo.callback(remove_run_directory, run_directory)
                owner = claim(root, encode(int.from_bytes(os.urandom(7), "big"), 10), run_directory)
                undo.callback(owner.release)
                poller = Poller()
            except (OSError, sqlite3.OperationalError) as error:
                raise Broken(f"the root {root} can't be used: {error}") from error
            undo.pop_all()
        self._poller = poller
        self._closing = trio.CancelScope(shield=True)
        self._owner = owner
        self._catalog = catalog
        self._keeper = Keeper(poller, run_directory)
        # Entered by hand, so that what the caller's block raises does not come out wrapped in an exception group.
        self._nursery_manager = trio.open_nursery()
        self._nursery = await self._nursery_manager.__aenter__()
        with trio.CancelScope(shield=True):  # a cancelled start would wait for ever for a task that is shielded itself
            services = await self._nursery.start(self._serve)
        services.start_soon(poller.run)
        catalog.on_checkpoint_due = lambda: services.start_soon(tidy_up, catalog)
        workshop = Workshop(
            catalog,
            poller,
            self._keeper,
            Census(),
            self._limits,
            services,
            run_directory,
            raise_limit(),
        )
        archive = Archive(root, catalog, partial(check_owner, root))
        services.start_soon(listen_to_shells, archive, workshop)
        self._engine = Engine(root, self._limits, owner, archive, workshop)
        OPEN[self] = None
        return self._engine

    def let_go(self) -> None:
        with contextlib.suppress(OSError):
            self._owner.drop()
        self._keeper.let_go()
        for live in self._engine.archive.live.values():
            for command in live.commands.values():
                command.let_go()
            if live.shells.now is not None:
                live.shells.now.let_go()

    async def _serve(self, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        """Home of the engine's own tasks: shielded, since they are needed for ending things when the caller is cancelled."""
        try:
            with trio.CancelScope(shield=True) as self._services:
                async with trio.open_nursery() as services:
                    task_status.started(services)
                    await trio.sleep_forever()
        except BaseException:
            # A bug: without these tasks nothing can be ended in good order. The keeper still ends all processes.
            self._closing.cancel()
            self._keeper.abandon()
            self._engine.abandon()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            try:
                with self._closing:
                    await self._engine.close()
            finally:  # whatever has failed: the keeper ends all processes
                with trio.CancelScope(shield=True):
                    await self._keeper.close()
        finally:
            self._services.cancel()
            self._nursery.cancel_scope.cancel()
            # If a task of the engine failed, the block was cancelled for it: then the group tells of that failure.
            from_nursery = isinstance(error, trio.Cancelled)
            try:
                await self._nursery_manager.__aexit__(
                    kind if from_nursery else None, error if from_nursery else None, traceback if from_nursery else None
                )
            finally:
                if self._engine.unwritten is None:  # its close has failed
                    self._engine.abandon()
                for live in self._engine.unwritten or ():
                    abandon(live)
                for live in list(self._engine.archive.live.values()):
                    live.dispose()
                OPEN.pop(self, None)  # from here on its descriptors' numbers may be another's
                self._poller.close()
                self._engine.workshop.census.close()
                self._catalog.close()
                restore_limit()
                remove_run_directory(self._owner.run_directory)
                if self._engine.unwritten == []:
                    self._owner.release()
                else:
                    self._owner.drop()  # the next engine finds it, and marks what could not be written as lost
