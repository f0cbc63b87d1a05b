"""A session's shell has ended, or is to: a fresh one under the same session, or an error that says who ended the old one."""

from __future__ import annotations

import trio

from .errors import Broken, Closed
from .lifecycle import OPEN_STATES
from .live import LiveSession
from .stopping import await_birth, most_seconds, stop


async def ensure_shell(session: LiveSession) -> None:
    """Raise `Closed` if the shell has ended; restart it if the session was created so."""
    if session.shells.lock.locked() and not session.closing:
        async with session.shells.lock:  # it is being restarted
            pass
    check_open(session)
    if session.info.state != "ended":
        return
    if session.info.restart:
        await restart(session, only_if_ended=True)
        return
    by = f"command {session.info.ended_by} ended it" if session.info.ended_by else "it was ended from outside"
    raise Closed(
        f"session {session.info.name!r} has no shell: {by}; call restart() for a fresh one, or create_session(restart=True)"
    )


def check_open(session: LiveSession) -> None:
    info = session.info
    if session.closing or info.state not in OPEN_STATES:
        raise Closed(f"session {info.name!r} ({info.id}) is closed: create another one; its logs stay readable")


async def restart(session: LiveSession, only_if_ended: bool = False) -> None:
    """End the shell if it lives, with the command that it runs and those that wait for it, and open a fresh one."""
    async with session.shells.lock:
        check_open(session)
        if only_if_ended and session.shells.now is not None:
            return
        session.end_queue()
        shop, grace = session.workshop, session.workshop.limits.kill_grace_seconds
        with trio.move_on_after(most_seconds(grace)) as limit:
            if session.foreground is not None:
                await stop(session.foreground, shop.census, "killed", grace)
            for number in list(session.starting):  # about to be forked: they go on
                if (command := session.commands.get(number)) is not None:
                    await await_birth(command)
            await session.shells.kill()
        if limit.cancelled_caught:
            raise Broken(
                f"the shell of session {session.info.name!r} can't be ended, as it or its command sits in the kernel, which may"
                " wait for a disk or a server: try again later, or close it"
            )
        await session.open_shell()
        check_open(session)  # a close may have begun meanwhile: it ends the fresh one, too
        session.restarted = True
        session.set_state("restart")
