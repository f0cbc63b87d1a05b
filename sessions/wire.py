"""What goes over the wire in our own dialect, as values: requests, views, and the strict way in.

Parsing coerces nothing: a field that is not known and a value of another type are refused with the path to it (``$.timeout``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin

import attrs
from cattrs import BaseValidationError, ClassValidationError, ForbiddenExtraKeysError, IterableValidationError
from cattrs.preconf.json import make_converter

from .errors import Invalid
from .ids import parse_command_id
from .lifecycle import CommandState, CommandStateName, Finished, Outcome, Queued, Reason, Running, state_name
from .models import CommandInfo, SessionInfo

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class CreateSession:
    """``POST /v1/sessions``; see `Engine.create_session`."""

    name: str | None = None
    cwd: str | None = None
    env: Mapping[str, str] = attrs.field(factory=dict)
    shell: str = "bash"
    labels: Mapping[str, str] = attrs.field(factory=dict)
    restart: bool = False


@attrs.frozen(kw_only=True)
class CreateTerminal:
    """``POST /v1/terminals``; see `Engine.create_terminal`."""

    text: str | None = None
    name: str | None = None
    rows: int = 24
    columns: int = 80
    cwd: str | None = None
    env: Mapping[str, str] = attrs.field(factory=dict)
    labels: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Resize:
    """``POST .../resize``."""

    rows: int
    columns: int


@attrs.frozen(kw_only=True)
class SubmitCommand:
    """``POST /v1/sessions/{session}/commands``; see `Session.run` and `Session.run_async`."""

    command: str
    """Shell text."""
    run_async: bool = False
    """Answer at once (202) and let it work beside the shell; else wait for its end (200)."""
    in_shell: bool = False
    """With `run_async`: in the shell itself, after those before it."""
    timeout: float | None = None
    """Seconds that it may run."""
    idle_timeout: float | None = None
    """Seconds without output."""
    env: Mapping[str, str] = attrs.field(factory=dict)
    cwd: str | None = None
    stdin: bool | str = False
    """Text to feed it; true leaves its stdin open for ``input``; false: it is at its end."""
    stdin_base64: str | None = None
    """Bytes to feed it, in place of `stdin`."""
    labels: Mapping[str, str] = attrs.field(factory=dict)
    detach: bool = False
    """With `run_async`: outlives its session."""
    on_disconnect: Literal["continue", "interrupt"] = "continue"
    """What becomes of it if it is waited for and this connection dies."""
    encoding: Literal["text", "base64"] = "text"
    """How `stdout`, `stderr` and `output` of the answer are written."""


@attrs.frozen(kw_only=True)
class SendInput:
    """``POST .../input``: text or base64, then the end of stdin if `close` is true."""

    text: str | None = None
    base64: str | None = None
    close: bool = False


@attrs.frozen(kw_only=True)
class SendSignal:
    """``POST .../signal``."""

    signal: str | int
    """A name such as "USR1", or a number."""


@attrs.frozen(kw_only=True)
class Grace:
    """``POST .../kill`` and ``POST .../close``."""

    grace: float | None = None
    """Seconds from the first signal to SIGKILL; the server's own limit if left out."""


@attrs.frozen(kw_only=True)
class PruneLogs:
    """``POST /v1/prune``; see `Engine.prune`."""

    older_than: float | None = None
    keep_bytes: int | None = None


@attrs.frozen(kw_only=True)
class FollowMany:
    """``POST /v1/follow``: the same as its GET, for more ids than a URL can carry."""

    commands: list[str]
    after: Mapping[str, int] = attrs.field(factory=dict)
    """For session ids, the seq behind which to begin."""
    stream: Literal["stdout", "stderr"] | None = None
    encoding: Literal["text", "base64", "auto"] = "text"
    late: bool = False
    """Also wait for what processes that a command left behind still write."""


@attrs.frozen(kw_only=True)
class CommandView:
    """A command, as answers show it. Times are Unix seconds, UTC."""

    id: str
    session_id: str
    text: str
    in_shell: bool
    labels: Mapping[str, str]
    state: CommandStateName
    exit_code: int | None
    reason: Reason | None
    signal: str | None
    """The name of the signal that ended it, such as "SIGKILL"."""
    queued_at: float
    started_at: float | None
    finished_at: float | None
    first_seq: int
    last_seq: int
    stdout_bytes: int
    stderr_bytes: int
    dropped_bytes: int
    detached: bool


@attrs.frozen(kw_only=True)
class TerminalView(CommandView):
    """A terminal, as answers show it: its command, and more."""

    redraw_after: int | None
    """Follow it behind this record to see what it shows now, without all that it ever drew; null: all of it."""


@attrs.frozen(kw_only=True)
class CommandList:
    commands: list[CommandView]
    """Oldest first."""
    next: str | None
    """Pass it as ``before=`` for the page of older ones; null if there are none."""


@attrs.frozen(kw_only=True)
class SessionList:
    sessions: list[SessionInfo]


@attrs.frozen(kw_only=True)
class ErrorDetail:
    code: str
    message: str
    path: str | None = None
    """Where in the request the fault is, such as ``$.timeout``."""


@attrs.frozen(kw_only=True)
class ErrorBody:
    error: ErrorDetail


def view_command(info: CommandInfo) -> CommandView:
    outcome = info.outcome
    return CommandView(
        id=info.id,
        session_id=info.session_id,
        text=info.text,
        in_shell=info.in_shell,
        labels=info.labels,
        state=state_name(info.state),
        exit_code=outcome.exit_code if outcome else None,
        reason=outcome.reason if outcome else None,
        signal=info.signal.name if info.signal else None,
        queued_at=info.state.queued_at,
        started_at=info.started_at,
        finished_at=info.finished_at,
        first_seq=info.first_seq,
        last_seq=info.last_seq,
        stdout_bytes=info.stdout_bytes,
        stderr_bytes=info.stderr_bytes,
        dropped_bytes=info.dropped_bytes,
        detached=info.detached,
    )


def command_info(view: CommandView) -> CommandInfo:
    """The way back."""
    state: CommandState = Queued(view.queued_at)
    if view.state == "running" and view.started_at is not None:
        state = Running(view.queued_at, view.started_at)
    elif view.reason is not None and view.finished_at is not None:
        state = Finished(view.queued_at, view.started_at, view.finished_at, Outcome(view.reason, view.exit_code))
    parsed = parse_command_id(view.id)
    if parsed is None:
        raise Invalid(f"{view.id!r} is no command id")
    return CommandInfo(
        id=view.id,
        session_id=view.session_id,
        number=parsed[1],
        text=view.text,
        in_shell=view.in_shell,
        labels=view.labels,
        state=state,
        first_seq=view.first_seq,
        last_seq=view.last_seq,
        stdout_bytes=view.stdout_bytes,
        stderr_bytes=view.stderr_bytes,
        dropped_bytes=view.dropped_bytes,
        detached=view.detached,
    )


class WrongField(Invalid):
    """A request's body has a field that is not known, lacks one, or has a value of another type."""

    def __init__(self, message: str, path: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


def only(*kinds: type) -> Callable[[Any, Any], Any]:
    """A structure hook that takes values of these types and no others: true is no number, "5" is none either."""

    def check(value: Any, _: Any) -> Any:
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise TypeError
        return value

    return check


def list_of_text(value: Any, _: Any) -> list[str]:
    """A structure hook: a text is no list of its letters."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError
    return value


WORDS: Final[Mapping[Any, str]] = {
    str: "a string", int: "a whole number", float: "a number", bool: "true or false", NoneType: "null",
    list[str]: "an array of strings",
}  # fmt: skip
"""JSON's words for types."""


def describe(kind: Any) -> str:
    """What a value of this type is in JSON.

    >>> describe(float | None), describe(Literal["text", "base64"])
    ('a number or null', 'one of "text", "base64"')
    """
    parts = get_args(kind)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(f'"{part}"' for part in parts)
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(describe, parts))
    return WORDS.get(kind, "an array" if get_origin(kind) is list else "an object")


def find_fault(error: BaseException, path: str, kind: Any) -> tuple[str, str]:
    """What is wrong first, and where; `kind` is what was expected at `path`."""
    if isinstance(error, IterableValidationError):
        inner, place = error.group_exceptions()[0][0]
        return find_fault(inner, f"{path}[{place.index!r}]", place.type)
    if isinstance(error, ClassValidationError):
        with_fields, others = error.group_exceptions()
        if with_fields:
            inner, field = with_fields[0]
            return find_fault(inner, f"{path}.{field.name}", field.type)
        error = others[0]
    if isinstance(error, ForbiddenExtraKeysError):
        return "there is no such field", f"{path}.{sorted(error.extra_fields)[0]}"
    return "required field missing" if isinstance(error, KeyError) else f"expected {describe(kind)}", path


CONVERTER: Final = make_converter(forbid_extra_keys=True)
CONVERTER.register_structure_hook(str, only(str))
CONVERTER.register_structure_hook(int, only(int))
CONVERTER.register_structure_hook(float, only(int, float))
CONVERTER.register_structure_hook(bool, only(bool))
# By predicate: cattrs has a way of its own with unions of such types, for which true is a whole number.
CONVERTER.register_structure_hook_func(lambda kind: kind == bool | str, only(bool, str))
CONVERTER.register_structure_hook_func(lambda kind: kind == str | int, only(str, int))
CONVERTER.register_structure_hook_func(lambda kind: kind == list[str], list_of_text)


def to_wire(value: Any) -> Any:
    """Plain lists, dicts and values for JSON."""
    return CONVERTER.unstructure(value)


def from_wire(value: Any, kind: type[T]) -> T:
    """A `kind` from decoded JSON; `WrongField` if it doesn't fit."""
    if not isinstance(value, dict):
        raise WrongField("expected an object", "$")
    known = attrs.fields_dict(kind)  # type: ignore[arg-type]  # all that is parsed here are attrs classes
    for name in value:
        if name not in known:
            raise WrongField(f"there is no such field: known are {', '.join(known)}", f"$.{name}")
    try:
        return CONVERTER.structure(value, kind)
    except BaseValidationError as error:
        raise WrongField(*find_fault(error, "$", kind)) from None
