"""Checks what callers pass in. Each refuses with `Invalid`, says which argument it was, and what to pass instead."""

from __future__ import annotations

import math
import os
import re
import shutil
import signal as signals
from collections.abc import Mapping
from typing import Any

from .errors import Broken, Conflict, Invalid
from .ids import SESSION_ID
from .shell.processes import COMMAND_MARK, SESSION_MARK
from .shell.script import DIALECTS

MARKS = (SESSION_MARK, COMMAND_MARK)
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_text(text: str) -> str:
    """A command's text."""
    if not isinstance(text, str):
        raise Invalid(
            f"a command is a str of shell text, not {type(text).__name__}; use shlex.join() for a list of words"
        )
    if not text.strip():
        raise Invalid("the command is empty: pass the shell text to run")
    if "\0" in text:
        raise Invalid(
            f"the command has a NUL character at position {text.index(chr(0))}, which no shell can read: remove it"
        )
    return check_encodable("the command", text)


def check_encodable(what: str, text: str) -> str:
    """Text that UTF-8 can carry."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Invalid(f"{what} has a lone surrogate at position {error.start}, which is no character") from None
    return text


def check_stream(stream: str | None) -> None:
    if stream not in (None, "stdout", "stderr"):
        raise Invalid(f"stream {stream!r} is none: say 'stdout', 'stderr', or leave it out for both")


def check_count(name: str, value: int | None, least: int = 0) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise Invalid(f"{name}={value!r}: pass a whole number from {least}")
    if value >= 1 << 63:
        raise Invalid(f"{name}={value:#x} is too large: pass a whole number below 2**63")


def check_positions(after: Mapping[str, int] | None) -> dict[str, int]:
    """Where to begin in each of many sessions. A wrong key would be a position that is not kept to."""
    if after is not None and not isinstance(after, Mapping):
        raise Invalid(f"after={after!r}: pass a dict of session ids to seqs, {{command.session_id: record.seq}}")
    for session_id, seq in (after or {}).items():
        if not isinstance(session_id, str) or not SESSION_ID.fullmatch(session_id):
            raise Invalid(f"after: {session_id!r} is no session's id: pass command.session_id")
        check_count(f"after[{session_id!r}]", seq, -1)
    return dict(after or {})


def check_size(rows: int, columns: int) -> None:
    """A terminal's size."""
    for name, value in (("rows", rows), ("columns", columns)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
            raise Invalid(f"{name}={value!r}: pass a whole number from 1 to 65535")


def check_flag(name: str, value: bool) -> bool:
    if not isinstance(value, bool):
        raise Invalid(f"{name}={value!r}: pass True or False")
    return value


def check_callback(name: str, value: object) -> None:
    if value is not None and not callable(value):
        raise Invalid(f"{name}={value!r} can't be called: pass a function that takes a str, or an async one")


def check_mapping(name: str, value: Mapping[str, str] | None) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise Invalid(f"{name} is {type(value).__name__}: pass a dict of str to str")
    return dict(value)


def to_number(value: object) -> float:
    """NaN if it is no number, infinite if it is too large for a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def check_seconds(name: str, value: float | None) -> float | None:
    """A timeout: positive, or None for none."""
    if value is None:
        return None
    seconds = to_number(value)
    if not seconds > 0:
        raise Invalid(f"{name}={value!r} is no time to wait: pass seconds greater than 0, or None for no limit")
    return seconds


def check_grace(value: float | None, default: float) -> float:
    if value is None:
        return default
    seconds = to_number(value)
    if not seconds >= 0:
        raise Invalid(f"grace={value!r} is no time: pass seconds, 0 for an immediate SIGKILL")
    return seconds


def check_env(env: Mapping[str, str] | None) -> dict[str, str]:
    checked = {}
    for name, value in check_mapping("env", env).items():
        if not isinstance(name, str) or not VARIABLE.fullmatch(name):
            raise Invalid(f"env: {name!r} is no variable name: use letters, digits and '_', not beginning with a digit")
        if name in MARKS:
            raise Invalid(f"env: {name} is how processes are told apart: leave it out")
        if not isinstance(value, str):
            raise Invalid(f"env: {name} is {type(value).__name__}, not str: convert it yourself")
        if "\0" in value:
            raise Invalid(f"env: the value of {name} has a NUL character: remove it")
        checked[name] = check_encodable(f"env: the value of {name}", value)
    return checked


def check_labels(labels: Mapping[str, str] | None) -> dict[str, str]:
    checked = check_mapping("labels", labels)
    for key, value in checked.items():
        if not isinstance(key, str) or not isinstance(value, str) or not key:
            raise Invalid(f"labels: {key!r}: {value!r} must both be str, and the key not empty")
        if "\0" in key + value:  # the catalog could not find it by that
            raise Invalid(f"labels: {key!r}: {value!r} has a NUL character: remove it")
        check_encodable(f"labels: {key!r}", key + value)
    return checked


class NoDirectory(Invalid):
    """Nothing can begin in this directory. Doors tell it apart; to all others it is `Invalid`, whose code and status it has."""

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message)
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (*self.args, self.path), self.__dict__  # else a pool of processes breaks where it arrives


def check_cwd(cwd: str | os.PathLike[str] | None, relative_to: str) -> str | None:
    """An existing directory as an absolute path."""
    if cwd is None:
        return None
    if not isinstance(cwd, str | os.PathLike):
        raise Invalid(f"cwd is {type(cwd).__name__}: pass a str or a Path")
    path = os.path.join(relative_to, os.path.expanduser(os.fspath(cwd)))
    if "\0" in path:
        raise NoDirectory("cwd has a NUL character: remove it", path)
    check_encodable("cwd", path)
    if not os.path.isdir(path):
        raise NoDirectory(f"cwd {path!r} is not a directory: create it first", path)
    if not os.access(path, os.X_OK):
        raise NoDirectory(
            f"cwd {path!r} may not be entered by this user: change its permissions or choose another", path
        )
    return os.path.normpath(path)


def check_directory(cwd: str | os.PathLike[str] | None) -> str:
    """Where a session begins: `cwd`, or this program's directory."""
    try:
        here = check_encodable("this program's own directory", os.getcwd()) if cwd is None else os.getcwd()
    except FileNotFoundError:
        if cwd is None or not os.path.isabs(cwd):
            raise Invalid("this program's own directory has been removed: pass an absolute cwd") from None
        here = "/"
    return check_cwd(cwd, here) or here


def check_shell(shell: str) -> str:
    if not isinstance(shell, str) or shell not in DIALECTS:
        raise Invalid(f"shell {shell!r} is not supported: choose one of {', '.join(DIALECTS)}")
    program = DIALECTS[shell].argv[0]
    if shutil.which(program) is None:
        raise Broken(
            f"the shell {program!r} is not installed here: install it or choose another of {', '.join(DIALECTS)}"
        )
    return shell


def check_signal(signal: str | int) -> int:
    """``"USR1"``, ``"SIGUSR1"``, 10 or `signal.SIGUSR1`."""
    try:
        if isinstance(signal, bool):
            raise ValueError
        if isinstance(signal, str):
            name = signal.upper()
            return int(signals.Signals[name if name.startswith("SIG") else "SIG" + name])
        return int(signals.Signals(signal))
    except (KeyError, ValueError):
        raise Invalid(f"signal {signal!r} is unknown: pass a name such as 'TERM' or a number such as 15") from None


def check_input(data: Any) -> bytes:
    """What goes to a command's stdin: text goes as UTF-8."""
    if isinstance(data, str):
        return check_encodable("input", data).encode()
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise Invalid(f"input is {type(data).__name__}: pass bytes or str")


def not_opened() -> Conflict:
    """For a stream that is iterated over without having been opened: it would seem to be empty."""
    return Conflict("the stream is not open: say `async with ... as records`, and iterate over `records` in that block")
