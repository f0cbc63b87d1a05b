"""`sessions run`: a command in the foreground of a session, as if it ran here."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from .outcomes import LEFT, code_of, tell_end
from .outlets import Outlet, notice, tell_loss
from .place import Place
from .starting import ensure_server
from .submitting import Submission, session_for, submission, text_of

if TYPE_CHECKING:
    import trio

    from ..models import Record
    from .hosts import AnyCommand, Host

QUEUE_SECONDS = 1.0
"""Then somebody wonders why nothing comes."""
INPUT_BYTES = 65536


@click.command("run", cls=Submission)
@submission
@click.option("-i", "--stdin", is_flag=True, help="Hand on our stdin; else its stdin is empty.")
@click.pass_obj
def run(place: Place, /, session: str, words: Sequence[str], stdin: bool, **request: Any) -> int:
    """Run COMMAND in the shell of SESSION, which is made if there is none, and show what it writes, stdout and stderr apart.

    One word is taken as shell text; of several, each stays one word. Options stand in front of COMMAND.

    Exits with the command's exit code. Ctrl-C interrupts the command, not the session; once more leaves it running.
    The server of the root is started if there is none.
    """
    ensure_server(place)
    import trio

    return trio.run(run_in, place, session, text_of(words), stdin, request)


async def run_in(place: Place, name: str, text: str, stdin: bool, request: Mapping[str, Any]) -> int:
    from .reaching import server_of

    async with server_of(place) as client:
        with Interrupts() as interrupts:
            session = await session_for(client, name, place)
            command = await session.run_async(text, in_shell=True, stdin=stdin, **request)
            interrupts.command_id = command.id
            await attend(client, command, stdin, interrupts)
        if not interrupts.count:
            told = tell_end(command.info)
            if told:
                notice(told)
        return code_of(command.info)


class Interrupts:
    """The first Ctrl-C is for the command. The second leaves at once, whatever we are waiting for just then."""

    def __init__(self) -> None:
        import trio

        self.count = 0
        self.bell = trio.Event()
        self.command_id: str | None = None
        """What goes on if we leave; None while nothing has been started."""
        self._token = trio.lowlevel.current_trio_token()
        self._before: Any = None

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._heard)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count == 1:
            self._token.run_sync_soon(self.bell.set)
        else:
            named = self.command_id
            if named is not None:
                notice(f"command {named} goes on: `sessions follow {named}` shows it, `sessions kill {named}` ends it")
            # Nothing here needs to be put in order, and a write that nobody reads may never return.
            os._exit(LEFT)


async def attend(host: Host, command: AnyCommand, stdin: bool, interrupts: Interrupts) -> None:
    """Be the command's terminal until it ends."""
    import trio

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pass_on_interrupt, command, interrupts.bell)
        nursery.start_soon(explain_queue, host, command)
        if stdin:
            nursery.start_soon(feed, command)
        try:
            await show(command)
        except BrokenPipeError:
            # As in a pipeline: who writes for nobody ends.
            await command.interrupt()
            raise
        nursery.cancel_scope.cancel()


async def show(command: AnyCommand) -> None:
    from ..doors.rendering import Losses

    outlets = {"stdout": Outlet(1), "stderr": Outlet(2)}
    losses = Losses()

    async def tell(records: Sequence[Record]) -> None:
        for record in records:
            if record.stream == "dropped":
                tell_loss(record)
            else:
                await outlets[record.stream].write(record.data)

    async with command.follow() as records:
        async for record in records:
            await tell(losses.feed([record]))
    await tell(losses.finish())


async def pass_on_interrupt(command: AnyCommand, bell: trio.Event) -> None:
    await bell.wait()
    notice(f"interrupting command {command.id}; Ctrl-C again leaves it running")
    await command.interrupt()


async def explain_queue(host: Host, command: AnyCommand) -> None:
    """Say so if the shell is busy with something else."""
    import trio

    from ..errors import SessionsError

    await trio.sleep(QUEUE_SECONDS)
    with suppress(SessionsError):  # who shows the output will find out, and may have more patience
        await command.refresh()
        if command.state == "queued":
            running: Sequence[AnyCommand] = await host.list_commands(session=command.session_id, state="running")
            first = next((other.id for other in running if other.in_shell), None)
            notice(f"command {command.id} waits for its session's shell" + (f", which runs {first}" if first else ""))


async def feed(command: AnyCommand) -> None:
    """Our stdin to its own, up to the end of either."""
    import trio

    from ..errors import Closed

    try:
        while data := await trio.to_thread.run_sync(os.read, 0, INPUT_BYTES, abandon_on_cancel=True):
            await command.send_input(data)
        await command.close_input()
    except Closed:
        pass
    except OSError:
        # It would wait for the rest for ever, and an end would make a part look like all of it.
        await command.interrupt()
        raise
