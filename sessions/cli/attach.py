"""`sessions attach`: be the screen and the keyboard of a terminal, and leave it running."""

from __future__ import annotations

import contextlib
import os
import signal
import termios
import tty
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from ..errors import Broken, Closed, Invalid
from .drawing import Modes, from_a_beginning, without_questions
from .keys import Keys
from .kinds import directories_here, pairs, sessions_here
from .outcomes import code_of, tell_end
from .outlets import Outlet, is_terminal, notice, write_all
from .place import Place, current_directory
from .starting import MARKS, ensure_server
from .submitting import Submission, text_of

if TYPE_CHECKING:
    import trio

    from .hosts import AnyTerminal, Host

KEYBOARD: Final = 0
SCREEN: Final = 1
INPUT_BYTES: Final = 65536
AHEAD_BYTES: Final = 1 << 20
"""Of typing that the program has not read. More is not taken, as by any terminal, which rings then."""
LAST_KEYS_SECONDS: Final = 1.0
"""For what was typed before leaving."""
BELL: Final = b"\a"
HANDED_ON: Final = ("TERM", "COLORTERM")
"""What a program must know of the user's terminal to draw on it."""
UNKNOWN_SIZE: Final = (24, 80)


@click.command("attach", cls=Submission)
@click.argument("name", shell_complete=sessions_here)
@click.argument("words", nargs=-1, metavar="[COMMAND...]", type=click.UNPROCESSED)
@click.option("--new", is_flag=True, help="Open it: with COMMAND in it, else with a login shell.")
@click.option(
    "-C",
    "--cwd",
    shell_complete=directories_here,
    metavar="DIRECTORY",
    help="Of a new one: where it begins; here, if the server is on this machine.",
)
@click.option("-e", "--env", multiple=True, callback=pairs, metavar="KEY=VALUE", help="Of a new one: a variable.")
@click.option(
    "-l", "--label", "labels", multiple=True, callback=pairs, metavar="KEY=VALUE", help="Of a new one: to find it by."
)
@click.pass_obj
def attach(place: Place, /, name: str, words: Sequence[str], new: bool, **request: Any) -> int:
    """Attach this terminal to the one called NAME: see what its program draws, type into it.

    Ctrl-\\ d leaves it running; Ctrl-\\ twice types that key. Any number may be attached at once; the size is that of the one
    who attached or changed his last. Exits with the program's exit code.

    With --new, the terminal is opened first, and the server of the root is started if there is none.
    """
    if not new and (words or any(request.values())):
        raise click.UsageError("COMMAND and options are for a new terminal: say --new")
    if not is_terminal(KEYBOARD):
        raise Invalid(
            "our stdin is no terminal, so there is nobody to attach:"
            " `sessions send` types into a terminal, `sessions logs` shows what it has drawn"
        )
    if new:
        if request["cwd"] is None and place.url is None:
            request["cwd"] = current_directory()
        request["env"] = {key: os.environ[key] for key in HANDED_ON if os.environ.get(key)} | request["env"]
        ensure_server(place)
    import trio

    return trio.run(attach_to, place, name, text_of(words) if words else None, request if new else None)


async def attach_to(place: Place, name: str, text: str | None, request: Mapping[str, Any] | None) -> int:
    from .reaching import server_of

    async with server_of(place) as client:
        rows, columns = window_size()
        if request is not None:
            terminal = await client.create_terminal(text, name=name, rows=rows, columns=columns, **request)
        else:
            terminal = await find_terminal(client, name)
        attachment = Attachment(terminal, is_new=request is not None)
        notice(f"attached to terminal {name} ({terminal.id}); Ctrl-\\ d leaves it running")
        try:
            with raw_mode():
                await attachment.hold()
        finally:
            with contextlib.suppress(OSError):
                write_all(SCREEN, attachment.modes.undo())
        if attachment.left_by is not None:
            notice(f"\nleft terminal {name} running: `sessions attach {name}` comes back")
            return 128 + attachment.left_by if attachment.left_by else 0
        if (told := tell_end(terminal.info)) is not None:
            notice(told)
        return code_of(terminal.info)


async def find_terminal(client: Host, name: str) -> AnyTerminal:
    terminal = await client.get_terminal(name)
    if os.environ.get(MARKS[0]) == terminal.session_id:
        raise Invalid(f"this is terminal {name} itself, which can't show itself to itself")
    return terminal


def window_size() -> tuple[int, int]:
    """Rows and columns of the user's terminal."""
    try:
        size = os.get_terminal_size(KEYBOARD)
    except OSError:
        return UNKNOWN_SIZE
    return (size.lines, size.columns) if size.lines and size.columns else UNKNOWN_SIZE


@contextlib.contextmanager
def raw_mode() -> Iterator[None]:
    """Each key comes at once and as it is; in the end the terminal is what it was."""
    before = termios.tcgetattr(KEYBOARD)
    tty.setraw(KEYBOARD, termios.TCSADRAIN)
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):  # it has gone
            termios.tcsetattr(KEYBOARD, termios.TCSADRAIN, before)


class Attachment:
    """The user's terminal and the server's, while one is the other."""

    def __init__(self, terminal: AnyTerminal, is_new: bool) -> None:
        import trio

        self.modes = Modes()
        self.left_by: int | None = None
        """Why it goes on: 0 if that was asked for, else the signal that ended us. None if it has ended."""
        self._terminal = terminal
        self._is_new = is_new
        self._keys = Keys()
        self._typed = bytearray()
        self._has_typed = trio.Event()
        self._has_sent = trio.Event()
        self._has_sent.set()

    async def hold(self) -> None:
        """Until the program ends or the user leaves."""
        import trio

        async with trio.open_nursery() as nursery:
            await nursery.start(self._hear_signals, nursery.cancel_scope)
            nursery.start_soon(self._read_keys, nursery.cancel_scope)
            nursery.start_soon(self._send_keys)
            nursery.start_soon(self._appear)
            await self._draw()
            nursery.cancel_scope.cancel()

    async def _draw(self) -> None:
        outlet = Outlet(SCREEN)
        after = None if self._is_new else await self._terminal.redraw_after()
        old = -1 if self._is_new else self._terminal.info.last_seq
        is_cut = after is not None
        async with self._terminal.follow(after=after) as records:
            async for record in records:
                data = record.data
                if record.seq <= old:
                    data = without_questions(from_a_beginning(data) if is_cut else data)
                    is_cut = False
                self.modes.feed(data)
                await outlet.write(data)

    async def _appear(self) -> None:
        """Make it as large as we are, and have programs draw that use the whole screen."""
        await self._fit()
        if not self._is_new:
            with contextlib.suppress(Broken):
                await self._terminal.send_signal(signal.SIGWINCH)

    async def _fit(self) -> None:
        with contextlib.suppress(Broken):  # if the server has gone, `_draw` finds out
            await self._terminal.resize(*window_size())

    async def _hear_signals(self, everything: trio.CancelScope, task_status: trio.TaskStatus[None]) -> None:
        import trio

        # A terminal that goes is found out twice, by reading and by a signal, which must not end us when it comes second.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with trio.open_signal_receiver(signal.SIGWINCH, signal.SIGCONT, signal.SIGTERM, signal.SIGHUP) as numbers:
            task_status.started()
            async for number in numbers:
                if number in (signal.SIGTERM, signal.SIGHUP):
                    self._leave(number, everything)
                    continue
                if number == signal.SIGCONT:  # a shell has had the terminal meanwhile
                    with contextlib.suppress(termios.error):  # or it has gone: that wakes those who sleep, too
                        tty.setraw(KEYBOARD, termios.TCSADRAIN)
                await self._fit()

    def _leave(self, reason: int, everything: trio.CancelScope) -> None:
        self.left_by = reason
        everything.cancel()

    async def _read_keys(self, everything: trio.CancelScope) -> None:
        import trio

        while True:
            await trio.lowlevel.wait_readable(KEYBOARD)
            try:
                data = os.read(KEYBOARD, INPUT_BYTES)
            except OSError:
                data = b""
            if not data:
                return self._leave(signal.SIGHUP, everything)
            typed, leaves = self._keys.feed(data)
            if len(self._typed) + len(typed) > AHEAD_BYTES:
                write_all(SCREEN, BELL)
            elif typed:
                self._typed += typed
                self._has_sent = trio.Event()
                self._has_typed.set()
            if leaves:
                with trio.move_on_after(LAST_KEYS_SECONDS):
                    await self._has_sent.wait()
                return self._leave(0, everything)

    async def _send_keys(self) -> None:
        import trio

        is_told = False
        while True:
            await self._has_typed.wait()
            self._has_typed = trio.Event()
            while self._typed:
                data = bytes(self._typed[:INPUT_BYTES])
                del self._typed[:INPUT_BYTES]
                try:
                    await self._terminal.send_input(data)
                    is_told = False
                except Closed:
                    return  # its end is being shown
                except Broken as error:
                    if not is_told:
                        notice(f"\r\nwhat is typed now may not arrive: {error}\r")
                    is_told = True
            self._has_sent.set()
