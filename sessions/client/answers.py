"""What a server says, as values and errors. Plain; no I/O."""

from __future__ import annotations

import binascii
import json
from typing import Any, Final, TypeVar

import attrs

from ..errors import (
    Broken,
    Busy,
    Closed,
    Conflict,
    Corrupt,
    EndedFirst,
    Expired,
    Invalid,
    NotFound,
    SessionsError,
    TimedOut,
)
from ..models import CommandInfo, Excerpt, Logs, SessionInfo
from ..wire import CommandView, TerminalView, WrongField, command_info, from_wire

T = TypeVar("T")


class ServerCloses(Broken):
    """The server is about to end, perhaps to be replaced."""


BY_CODE: Final[dict[str, type[SessionsError]]] = {
    kind.code: kind
    for kind in (Broken, Busy, Closed, Conflict, Corrupt, EndedFirst, Expired, Invalid, NotFound, TimedOut)
}
BUSY_STATUSES: Final = frozenset({429, 502, 503, 504})
"""A server, or a proxy in front of one, that may answer if asked again."""
SHOWN_CHARACTERS: Final = 200


def read_error(status: int, body: bytes, address: object) -> SessionsError:
    """The error that an answer with this status stands for; one without our JSON came from something in between."""
    try:
        detail = json.loads(body)["error"]
        code, message = str(detail["code"]), str(detail["message"])
    except (ValueError, TypeError, LookupError):
        shown = body[:SHOWN_CHARACTERS].decode("utf-8", "replace").strip()
        code, message = "", f"{address} answers with status {status}" + (f": {shown}" if shown else "")
    if code == "closing":
        return ServerCloses(f"{address}: {message}; if none comes, start it with `sessions serve`")
    kind = BY_CODE.get(code) or (Busy if status == 429 else Invalid if 400 <= status < 500 else Broken)
    if status in (401, 403):
        message += f" (server {address}; connect() takes a token=, else $SESSIONS_TOKEN)"
    return kind(message)


def read_value(value: Any, kind: type[T]) -> T:
    """A `kind` from JSON. A newer server may tell more than we know."""
    if not isinstance(value, dict):
        raise Broken(f"a server's answer can't be understood: expected an object, not {type(value).__name__}")
    known = {field.name for field in attrs.fields(kind)}  # type: ignore[arg-type]  # all kinds are attrs classes
    try:
        return from_wire({name: item for name, item in value.items() if name in known}, kind)
    except WrongField as error:
        raise Broken(f"a server's answer can't be understood: {error}") from None


def read_command(value: Any) -> CommandInfo:
    return command_info(read_value(value, CommandView))


def read_redraw(value: Any) -> tuple[CommandInfo, int | None]:
    """A terminal's command, and behind which record to follow it to see what it shows."""
    view = read_value(value, TerminalView)
    return command_info(view), view.redraw_after


def read_session(value: Any) -> SessionInfo:
    return read_value(value, SessionInfo)


def read_excerpt(value: Any) -> Excerpt:
    try:
        head, tail, stderr_tail = (from_base64(value[name]) for name in ("head", "tail", "stderr_tail"))
        omitted = (int(value[name]) for name in ("omitted_bytes", "omitted_start", "omitted_stop"))
        return Excerpt(head, tail, stderr_tail, *omitted)
    except (ValueError, TypeError, LookupError) as error:
        raise Broken(f"a server's answer can't be understood: {error!r}") from None


def read_output(value: Any, dropped_bytes: int) -> Logs | None:
    """The output in a run's answer; None if it was too much for that."""
    if value.get("omitted"):
        return None
    try:
        stdout, stderr, output = (from_base64(value[name]) for name in ("stdout", "stderr", "output"))
    except (ValueError, TypeError, LookupError) as error:
        raise Broken(f"a server's answer can't be understood: {error!r}") from None
    return Logs(stdout, stderr, output, dropped_bytes)


def from_base64(text: str) -> bytes:
    return binascii.a2b_base64(text, strict_mode=True) if text else b""
