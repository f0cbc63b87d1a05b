"""`sessions close` and `rm`: the end of sessions, and of what is kept of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ..errors import Conflict
from ..lifecycle import OPEN_STATES
from .kinds import sessions_here, span
from .place import Place

if TYPE_CHECKING:
    from .hosts import AnyCommand, AnySession, Host


@click.command("close")
@click.argument("sessions", nargs=-1, required=True, shell_complete=sessions_here)
@click.option("--grace", callback=span, metavar="SPAN", help="From the first signal to SIGKILL.  [the server's: 5s]")
@click.pass_obj
def close(place: Place, /, sessions: Sequence[str], grace: float | None) -> None:
    """Close SESSIONS, named in full: every process in them ends, except commands that were started with --detach. Logs stay."""
    import trio

    async def main() -> None:
        from .reaching import acting_on

        async with acting_on(place) as host:
            chosen = await named(host, sessions)
            async with trio.open_nursery() as nursery:
                for session in chosen:
                    nursery.start_soon(session.close, grace)

    trio.run(main)


@click.command("rm")
@click.argument("sessions", nargs=-1, required=True, shell_complete=sessions_here)
@click.option("-f", "--force", is_flag=True, help="Also those in which something runs; it is ended.")
@click.pass_obj
def rm(place: Place, /, sessions: Sequence[str], force: bool) -> None:
    """Close SESSIONS, named in full, and remove them with their commands and logs. That can't be undone."""
    import trio

    async def main() -> None:
        from .reaching import acting_on

        async with acting_on(place) as host:
            chosen = await named(host, sessions)
            if not force:
                for session in chosen:
                    await check_idle(host, session)
            for session in chosen:
                await host.delete_session(session.id)

    trio.run(main)


async def named(host: Host, names: Sequence[str]) -> list[AnySession]:
    """All are looked up before anything is done to one of them."""
    found: dict[str, AnySession] = {}
    for name in names:
        session: AnySession = await host.get_session(name)
        found[session.id] = session
    return list(found.values())


async def check_idle(host: Host, session: AnySession) -> None:
    if session.state not in OPEN_STATES:
        return
    for state in ("running", "queued"):
        commands: Sequence[AnyCommand] = await host.list_commands(session=session.id, state=state, limit=1)
        if commands:
            raise Conflict(
                f"in session {session.name!r}, command {commands[0].id} is {state}: wait for it, or say --force"
            )
