"""Requests as plain data: from a verb and its arguments to method, path, query and body.

Arguments are refused here where that needs no look at the server's machine; the rest the server refuses, with the same errors.
"""

from __future__ import annotations

import binascii
import os
import signal as signals
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote

import attrs

from ..arguments import (
    check_count,
    check_encodable,
    check_env,
    check_flag,
    check_grace,
    check_input,
    check_labels,
    check_seconds,
    check_signal,
    check_size,
    check_stream,
    check_text,
)
from ..errors import Conflict, Invalid, NotFound
from ..ids import NAME, check_name, parse_command_id
from ..lifecycle import SESSION_STATES
from ..selection import Selection
from ..wire import (
    CreateSession,
    CreateTerminal,
    FollowMany,
    Grace,
    PruneLogs,
    Resize,
    SendInput,
    SendSignal,
    SubmitCommand,
    to_wire,
)

Query: TypeAlias = tuple[tuple[str, str], ...]

LONGEST_SECONDS: Final = 1e9
"""JSON has no infinity."""
PAGE: Final = 1000
"""The most commands that a server lists at once."""


@attrs.frozen
class Call:
    """One request."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    query: Query = ()
    body: Any = None
    """A JSON object, or None for no body."""
    repeatable: bool = False
    """Twice does no harm: it is sent again if the connection breaks."""
    heard: bool = False
    """The answer gives a sign of life each 15 s."""
    streamed: bool = False
    """The answer is server-sent events."""


# Where things are


def session_path(name_or_id: str) -> str:
    """`NotFound` for what can be neither; so no name becomes another path."""
    if not isinstance(name_or_id, str) or not NAME.fullmatch(name_or_id):
        raise NotFound(f"no session has the name or id {name_or_id!r}: a list of the sessions shows those there are")
    return "/sessions/" + quote(name_or_id, safe="")


def terminal_path(name_or_id: str) -> str:
    return "/terminals" + session_path(name_or_id).removeprefix("/sessions")


def command_path(command_id: str) -> str:
    if not isinstance(command_id, str) or parse_command_id(command_id) is None:
        raise NotFound(f"no command has the id {command_id!r}: a list of the commands shows those there are")
    return "/commands/" + command_id


def get(path: str, query: Query = ()) -> Call:
    return Call("GET", path, query, repeatable=True)


# Sessions


def create_session(
    name: str | None,
    cwd: str | os.PathLike[str] | None,
    env: Mapping[str, str] | None,
    shell: str,
    labels: Mapping[str, str] | None,
    restart: bool,
) -> Call:
    if not isinstance(shell, str):
        raise Invalid(f"shell is {type(shell).__name__}: pass a name such as 'bash'")
    asked = CreateSession(
        name=check_name(name) if name is not None else None,
        cwd=check_path(cwd),
        env=check_env(env),
        shell=check_encodable("shell", shell),
        labels=check_labels(labels),
        restart=check_flag("restart", restart),
    )
    return Call("POST", "/sessions", body=to_wire(asked))


def list_sessions(state: str | None, labels: Mapping[str, str] | None) -> Call:
    if state not in (None, *SESSION_STATES):
        raise Invalid(f"state {state!r} is none: say one of {', '.join(map(repr, SESSION_STATES))}")
    return get("/sessions", given(state=state) + label_query(labels))


def close_session(session_id: str, grace: float | None) -> Call:
    return Call("POST", session_path(session_id) + "/close", body=grace_body(grace), repeatable=True, heard=True)


def restart_session(session_id: str) -> Call:
    return Call("POST", session_path(session_id) + "/restart", heard=True)


def delete_session(session_id: str) -> Call:
    return Call("DELETE", session_path(session_id), heard=True)


# Terminals


def create_terminal(
    text: str | None,
    name: str | None,
    rows: int,
    columns: int,
    cwd: str | os.PathLike[str] | None,
    env: Mapping[str, str] | None,
    labels: Mapping[str, str] | None,
) -> Call:
    check_size(rows, columns)
    asked = CreateTerminal(
        text=check_text(text) if text is not None else None,
        name=check_name(name) if name is not None else None,
        rows=rows,
        columns=columns,
        cwd=check_path(cwd),
        env=check_env(env),
        labels=check_labels(labels),
    )
    return Call("POST", "/terminals", body=to_wire(asked))


def resize(command_id: str, rows: int, columns: int) -> Call:
    check_size(rows, columns)
    body = to_wire(Resize(rows=rows, columns=columns))
    return Call("POST", command_path(command_id) + "/resize", body=body, repeatable=True)


# Running commands


def submit(
    session_id: str,
    text: str,
    *,
    run_async: bool,
    in_shell: bool = False,
    stdin: bool | bytes | str = False,
    timeout: float | None = None,
    idle_timeout: float | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    labels: Mapping[str, str] | None = None,
    detach: bool = False,
) -> Call:
    if check_flag("detach", detach) and check_flag("in_shell", in_shell):
        raise Conflict("a command in the shell can't outlive it: leave out detach or in_shell")
    fed = None if isinstance(stdin, bool) else check_input(stdin)
    asked = SubmitCommand(
        command=check_text(text),
        run_async=run_async,
        in_shell=in_shell,
        timeout=finite(check_seconds("timeout", timeout)),
        idle_timeout=finite(check_seconds("idle_timeout", idle_timeout)),
        env=check_env(env) if env is not None else {},
        cwd=check_path(cwd),
        stdin=stdin if isinstance(stdin, bool) else False,
        stdin_base64=to_base64(fed) if fed is not None else None,
        labels=check_labels(labels) if labels is not None else {},
        detach=detach,
        encoding="base64",
    )
    return Call("POST", session_path(session_id) + "/commands", body=to_wire(asked), heard=not run_async)


# Commands


def list_commands(
    session: str | None, state: str | None, labels: Mapping[str, str] | None, limit: int | None, before: str | None
) -> Call:
    """A page of at most `limit`, the server's largest if that is None or more."""
    if state not in (None, "queued", "running", "finished"):
        raise Invalid(f"state {state!r} is none: say 'queued', 'running' or 'finished'")
    check_count("limit", limit)
    if session is not None:
        session_path(session)
    if before is not None and (not isinstance(before, str) or parse_command_id(before) is None):
        raise NotFound(f"before={before!r}: no command has this id")
    size = PAGE if limit is None else min(limit, PAGE)
    return get("/commands", given(session=session, state=state, limit=size, before=before) + label_query(labels))


def wait(command_id: str) -> Call:
    return Call("GET", command_path(command_id) + "/wait", repeatable=True, heard=True)


def send_input(command_id: str, data: bytes | str) -> Call:
    asked = SendInput(base64=to_base64(check_input(data)))
    return Call("POST", command_path(command_id) + "/input", body=to_wire(asked), heard=True)


def close_input(command_id: str) -> Call:
    body = to_wire(SendInput(close=True))
    return Call("POST", command_path(command_id) + "/input", body=body, repeatable=True, heard=True)


def interrupt(command_id: str) -> Call:
    return Call("POST", command_path(command_id) + "/interrupt")


def send_signal(command_id: str, signal: str | int) -> Call:
    # By name: numbers are not the same on all machines.
    asked = SendSignal(signal=signals.Signals(check_signal(signal)).name)
    return Call("POST", command_path(command_id) + "/signal", body=to_wire(asked))


def kill(command_id: str, grace: float | None) -> Call:
    return Call("POST", command_path(command_id) + "/kill", body=grace_body(grace), repeatable=True, heard=True)


def excerpt(command_id: str, max_bytes: int) -> Call:
    check_count("max_bytes", max_bytes, 1)
    return get(command_path(command_id) + "/excerpt", given(max_bytes=max_bytes, encoding="base64"))


def prune(older_than: float | None, keep_bytes: int | None) -> Call:
    for name, value in (("older_than", older_than), ("keep_bytes", keep_bytes)):
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf")
        ):
            raise Invalid(f"{name}={value!r}: pass a number from 0")
    if older_than is None and keep_bytes is None:
        raise Invalid("prune() without older_than and keep_bytes would remove nothing: pass at least one")
    whole = None if keep_bytes is None else int(keep_bytes)
    return Call("POST", "/prune", body=to_wire(PruneLogs(older_than=older_than, keep_bytes=whole)))


# Streams. `target` is a command's or a session's path.


def logs(target: str, asked: Selection) -> Call:
    return stream(target + "/logs", given(**attrs.asdict(asked), encoding="auto"))


def follow(target: str, after: int | None, only: str | None, late: bool, encoding: str = "auto") -> Call:
    return stream(target + "/follow", given(after=after, stream=only, late=late or None, encoding=encoding))


def follow_many(commands: Sequence[str], after: Mapping[str, int], only: str | None, late: bool) -> Call:
    check_stream(only)
    asked = FollowMany(
        commands=list(commands),
        after=dict(after),
        stream="stdout" if only == "stdout" else "stderr" if only else None,
        encoding="auto",
        late=late,
    )
    return Call("POST", "/follow", body=to_wire(asked), repeatable=True, heard=True, streamed=True)


def watch(after: int | None) -> Call:
    return stream("/events", given(after=after))


def stream(path: str, query: Query) -> Call:
    return Call("GET", path, query, repeatable=True, heard=True, streamed=True)


# Values


def given(**values: str | float | None) -> Query:
    """A query of those that are not None."""
    return tuple((name, as_text(value)) for name, value in values.items() if value is not None)


def as_text(value: str | float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)


def label_query(labels: Mapping[str, str] | None) -> Query:
    found = check_labels(labels)
    wrong = [key for key in found if "=" in key]
    if wrong:
        raise Invalid(f"labels: {wrong[0]!r} has a '=': no query can say where the key ends")
    return tuple(("label", f"{key}={value}") for key, value in found.items())


def grace_body(grace: float | None) -> Any:
    return to_wire(Grace(grace=None if grace is None else finite(check_grace(grace, 0.0))))


def finite(seconds: float | None) -> float | None:
    return None if seconds is None else min(seconds, LONGEST_SECONDS)


def check_path(path: str | os.PathLike[str] | None) -> str | None:
    """A path on the server's machine."""
    if path is None:
        return None
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str):
        raise Invalid(f"cwd is {type(path).__name__}: pass a str or a Path")
    if "\0" in text:
        raise Invalid("cwd has a NUL character: remove it")
    return check_encodable("cwd", text)


def to_base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode()
