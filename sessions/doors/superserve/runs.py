"""Commands of the Superserve dialect: what is asked for, and one that runs for one client.

A command can't be listed, killed or found again by another request, so it lives no longer than the interest of its client: if
that leaves, it is ended with all that it has started.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import attrs
import trio

from ...arguments import NoDirectory, check_encodable
from ...command import Command
from ...errors import Closed, Conflict, Invalid, SessionsError
from ...spaces import Space
from ..fields import Fields
from ..open_streams import OpenStream, Streams
from ..outcomes import CANNOT_START, NOT_FOUND, TIMED_OUT, told_exit_code
from ..own_shells import SHOWN, is_argument
from ..starting import exit_code_of
from .errors import Unavailable
from .routing import Call
from .tokens import find_space

T = TypeVar("T")

GRACE_SECONDS: Final = 0.5
"""From SIGTERM to SIGKILL. Clients leave five seconds after the time limit that they have asked for."""
KEEPALIVE_SECONDS: Final = 3.0
"""The longest silence. The shortest that makes a client give up is five seconds."""
LONGEST_SECONDS: Final = 10**9
FIRST_LINE_BYTES: Final = 256
"""As much of a script's first line as Linux reads."""
LONG_TEXT: Final = "exec /bin/sh -c '. /dev/fd/9' 9<<<"
"""In front of a text that is longer than an argument may be, for its shell to read."""
CLOSES: Final = "exec 9<&-; "
"""In front of it, on its first line: its programs have nothing to do with where it is read from."""
LAST_WORDS: Final = "the server is about to end, and the command with it"


class CannotStart(SessionsError):
    """What was asked for can't be run. There is an exit code for that."""

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@attrs.frozen
class Asked:
    """A command as a client describes it."""

    command: str
    args: list[str] | None
    """Without a shell, if there is this list, even if it is empty."""
    cwd: str
    env: dict[str, str]
    seconds: float | None

    @property
    def text(self) -> str:
        """For our shell, which gives way to what is run."""
        if self.args is not None:
            return shlex.join(["exec", "--", self.command, *self.args])
        if is_argument(self.command):
            return shlex.join(["exec", "/bin/sh", "-c", self.command])
        return f"{LONG_TEXT}{shlex.quote(CLOSES + self.command)}"

    @property
    def shown(self) -> str:
        return self.command if self.args is None else shlex.join([self.command, *self.args])


def read_asked(fields: Fields, default_seconds: float | None) -> Asked:
    command = fields.needed_text("command")
    if not command:
        raise Invalid("command: expected a text that is not empty")
    args = fields.text_list("args") if fields.values.get("args") is not None else None
    for word in [command, *(args or [])]:
        if "\0" in word:
            raise Invalid("a command can't have a NUL character: remove it")
        check_encodable("the command", word)
    return Asked(
        command, args, fields.text("working_dir") or "", fields.texts("env"), read_limit(fields, default_seconds)
    )


def read_limit(fields: Fields, default_seconds: float | None) -> float | None:
    """Zero is as good as left out."""
    seconds = fields.values.get("timeout_s")
    if seconds is None:
        return default_seconds
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST_SECONDS:
        raise Invalid(f"timeout_s: expected seconds from 0, not {seconds!r}")
    return seconds or default_seconds


def check_program(asked: Asked, space: Space) -> None:
    """`CannotStart` if there is no such program. A shell tells that of its own commands itself."""
    if asked.args is None:
        return
    cwd = os.path.join(space.info.home, asked.cwd)
    path = {**os.environ, **space.info.env, **asked.env}.get("PATH", os.defpath)
    entries = [""] if "/" in asked.command else path.split(":")
    found = [os.path.join(cwd, entry, asked.command) for entry in entries]
    found = [name for name in found if os.path.exists(name)]
    if not found:
        raise CannotStart(NOT_FOUND, f"{asked.command}: not found")
    program = next((name for name in found if os.path.isfile(name) and os.access(name, os.X_OK)), None)
    if program is None:
        raise CannotStart(CANNOT_START, f"{asked.command}: permission denied, or not a program")
    interpreter = interpreter_of(program)
    if interpreter and not os.path.exists(os.path.join(cwd, interpreter)):
        raise CannotStart(NOT_FOUND, f"{asked.command}: its interpreter {interpreter} is not found")


def interpreter_of(program: str) -> str:
    """What a script names in its first line; nothing if it is none, or can't be read."""
    try:
        with open(program, "rb") as file:
            line = file.readline(FIRST_LINE_BYTES)
    except OSError:
        return ""
    words = line.removeprefix(b"#!").split() if line.startswith(b"#!") else []
    return os.fsdecode(words[0]) if words else ""


def ended(exit_code: int, error: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The last that is told. Without an exit code, clients would read 0; an error is added to stderr by them."""
    found: dict[str, Any] = {"finished": True, "exit_code": exit_code}
    return found if error is None else {**found, "error": error, "code": code}


class Run:
    """One command, and the client that it runs for. Made by `start`.

    When its time is over, its session asks it to end; if it has not done so after the grace, here it is killed.
    """

    def __init__(self, streams: Streams, stream: OpenStream, command: Command, seconds: float | None) -> None:
        self.command = command
        self.stream = stream
        self._streams = streams
        self._seconds = seconds
        self._is_overdue = False

    async def wait(self, work: Callable[[], Awaitable[T]], say: Callable[[], Awaitable[None]]) -> T:
        """What `work` returns, which is never None and may be called again. Says something before the silence grows too long."""
        while True:
            silent_until = trio.current_time() + KEEPALIVE_SECONDS
            until = min(silent_until, trio.current_time() + self._seconds_left())
            found = await self._streams.wait_aloud(work, trio.lowlevel.checkpoint, until)
            if found is not None:
                return found
            if trio.current_time() >= silent_until:
                await say()
            if self._seconds_left() <= 0:
                self._is_overdue = True
                await self.command.kill(grace=0)

    async def wait_until_over(self, say: Callable[[], Awaitable[None]]) -> None:
        """Until the command is finished; if its time was over, also until nothing is left of what it has started."""
        await self.wait(self.command.wait, say)
        if self.exit_code == TIMED_OUT and self.command.reason != "exit":
            await self.command.kill(grace=GRACE_SECONDS)

    def _seconds_left(self) -> float:
        """Until it is killed."""
        if self._seconds is None or self._is_overdue:
            return float("inf")
        started_at = self.command.info.started_at
        spent = time.time() - started_at if started_at is not None else 0.0
        return self._seconds + GRACE_SECONDS - spent

    @property
    def exit_code(self) -> int:
        return TIMED_OUT if self._is_overdue else told_exit_code(self.command)


def space_in_use(call: Call) -> Space:
    """The sandbox that a request is for, able to run something. Says so before anything is started."""
    space = find_space(call.spaces, call.scope)
    if space.state != "started":
        raise Unavailable(f"sandbox is {'paused' if space.state == 'stopped' else space.state}: activate it")
    return space


@asynccontextmanager
async def start(streams: Streams, space: Space, asked: Asked, stdin: bool = False) -> AsyncIterator[Run]:
    """A command for the length of the block. What is left of it then is ended."""
    with streams.one_more() as stream, space.use():
        check_program(asked, space)
        try:
            _, command = await space.start_process(
                asked.text,
                cwd=asked.cwd,
                env=asked.env,
                timeout=asked.seconds,
                stdin=stdin,
                labels={SHOWN: asked.shown},
            )
        except NoDirectory as error:
            raise CannotStart(exit_code_of(error), str(error)) from None
        except (Closed, Conflict) as error:
            raise Unavailable(str(error)) from None  # it was paused or stopped in this moment
        try:
            yield Run(streams, stream, command, asked.seconds)
        finally:
            if command.state != "finished":
                with trio.CancelScope(shield=True):
                    await command.kill(grace=GRACE_SECONDS)
