"""Closing a session: every process in it ends, every command has its outcome, the log and the catalog are complete."""

from __future__ import annotations

import time
from typing import Final

import trio

from . import stopping
from .lifecycle import OPEN_STATES, Outcome, finish
from .live import LiveSession
from .shell import processes
from .store.transcript import EVERYBODY

STALL_SECONDS: Final = 10.0
"""How long a close waits for a disk that can't be written. Then what is left is for the next engine, which marks it lost."""
EXIT_SECONDS: Final = 1.0
"""What an idle shell gets to end by itself, with its EXIT trap."""


async def close_session(session: LiveSession, grace: float) -> None:
    """End a session. Returns when nothing of it is left but commands that were started detached."""
    if session.info.state not in OPEN_STATES:
        return
    if session.closing:
        await session.closed.wait()
        return
    session.closing = True
    try:
        await end_all(session, grace)
    except BaseException:
        abandon(session)  # others may wait for this close, the engine's end among them
        raise


async def end_all(session: LiveSession, grace: float) -> None:
    for command in list(session.commands.values()):
        if session.is_queued(command):
            session.drop(command, Outcome("session_closed", None))
    census = session.workshop.census
    with trio.move_on_after(stopping.most_seconds(grace)):
        for command in list(session.commands.values()):
            if command.order.detached:
                await stopping.await_birth(command)  # only then is it known which process it is
            elif not command.is_over:
                command.asked = command.asked or "session_closed"  # whoever it is who ends it
    spared = {
        command.id: command.leader
        for command in session.commands.values()
        if command.order.detached and not command.is_over
    }
    async with session.shells.lock:
        shells = {session.shells.pid} if session.shells.pid else set()
        memory = processes.Memory(lambda seen: processes.of_sessions(seen, {session.info.id}, shells, spared))
        memory.find(await census.take())
        with trio.move_on_after(stopping.most_seconds(grace)):  # what sits in the kernel then, runs on, and says so
            async with trio.open_nursery() as nursery:
                for command in list(session.commands.values()):
                    if not command.is_over and command.id not in spared:
                        nursery.start_soon(stopping.stop, command, census, "session_closed", grace)
            await session.shells.end(EXIT_SECONDS)
    await stopping.sweep(census, memory.find, grace)
    with trio.move_on_after(STALL_SECONDS):
        await session.recorder.caught_up.wait()
        for command in list(session.commands.values()):
            if command.id not in spared:
                await command.finished.wait()
    if session.abandoned:
        return
    session.set_state("close", closed_at=time.time())
    session.closed.set()
    session.dispose_if_unused()


def abandon(session: LiveSession) -> None:
    """Nothing more will be told of this session, so let nobody wait for it: the engine's tasks have failed, or its close, or
    the disk was full to the end, or until it was deleted.

    Nothing of this is written down: the next engine finds it open, and marks it lost.
    """
    session.abandoned = session.closing = True
    session.foreground = None
    session.starting.clear()
    session.queue.clear()
    for command in session.commands.values():
        if not command.is_finished:
            command.state = finish(command.state, time.time(), Outcome("lost", None), f"command {command.id}")
            command.discard_files()
        for event in (command.started, command.over, command.finished):
            event.set()
        session.transcript.wake(command.number)
    session.transcript.wake(EVERYBODY)
    session.shells.abandon()
    session.recorder.give_up()
    session.recorder.caught_up.set()
    session.closed.set()


async def end_detached(session: LiveSession, grace: float) -> None:
    """End what outlived its session, because its engine ends now."""
    with trio.move_on_after(stopping.most_seconds(grace)) as limit:
        async with trio.open_nursery() as nursery:
            for command in list(session.commands.values()):
                if not command.is_over:
                    nursery.start_soon(stopping.stop, command, session.workshop.census, "session_closed", grace)
    if limit.cancelled_caught:
        abandon(session)
    session.dispose()
