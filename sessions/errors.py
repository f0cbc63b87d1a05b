"""Every error that the library raises on purpose, split by who must act.

    SessionsError
    ├── Invalid           you: an argument is wrong; nothing was done
    ├── NotFound          you: no session or command has this id or name
    │   └── Expired       you: it existed; retention has removed what it held
    ├── Conflict          you: the name is taken, or the state forbids it
    ├── Busy              you: a limit is reached; try later or raise the limit
    ├── Closed            you: the session or its shell has ended
    ├── CommandFailed     you asked for check=True, and the command did not exit with 0
    ├── EndedFirst        the command ended before what you waited for came
    ├── TimedOut          the time that you gave for waiting is over (also a TimeoutError)
    ├── Broken            the world: disk, descriptors, a lost server
    └── Corrupt           a bug or a bad disk: stored data contradicts itself

Each class has a ``code`` for programs and an HTTP ``status`` for servers. A message says what is wrong, with which id,
and what to do next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from .models import Result


class SessionsError(Exception):
    """Root of all errors that this library raises on purpose."""

    code: ClassVar[str] = "error"
    """Stable name of the kind of error, for programs."""
    status: ClassVar[int] = 500
    """The HTTP status that stands for it."""


class Invalid(SessionsError, ValueError):
    """An argument is wrong. Nothing was started and nothing was stored."""

    code = "invalid"
    status = 400


class NotFound(SessionsError, LookupError):
    """No session or command has this id or name."""

    code = "not_found"
    status = 404


class Expired(NotFound):
    """The session or command existed, and retention has removed what it held."""

    code = "expired"
    status = 410


class Conflict(SessionsError):
    """The name is taken, or the present state forbids what was asked."""

    code = "conflict"
    status = 409


class Busy(SessionsError):
    """A limit is reached: try again later, or raise the limit in `Limits`."""

    code = "busy"
    status = 429


class Closed(SessionsError):
    """The session is closed, its shell has ended, or the command's input is shut."""

    code = "closed"
    status = 410


class CommandFailed(SessionsError):
    """A command that was run with ``check=True`` did not exit with 0. Shows the end of its output."""

    code = "command_failed"
    status = 422

    def __init__(self, message: str, result: Result) -> None:
        super().__init__(message)
        self.result = result
        """The whole result: exit code, reason and output."""

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (*self.args, self.result), self.__dict__  # else a copy would be made without its result


class EndedFirst(SessionsError):
    """The command ended before the output that you waited for came."""

    code = "ended_first"
    status = 409


class TimedOut(SessionsError, TimeoutError):
    """The time that you gave for waiting is over. The command goes on."""

    code = "timed_out"
    status = 408


class Broken(SessionsError):
    """The world failed: a full disk, no descriptors left, a shell that can't be started."""

    code = "broken"
    status = 503


class Corrupt(SessionsError):
    """Stored data contradicts itself: a bug or a bad disk."""

    code = "corrupt"
    status = 500
