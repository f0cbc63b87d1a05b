"""What is said of a value that does not fit: always what was expected, in JSON's words, and where."""

from __future__ import annotations

import typing
from typing import Any

import attrs
import pytest

from sessions import wire
from sessions.models import Pruned, SessionInfo
from sessions.wire import (
    CommandList,
    CreateSession,
    FollowMany,
    Grace,
    PruneLogs,
    Resize,
    SendSignal,
    SubmitCommand,
    WrongField,
    describe,
    from_wire,
)  # fmt: skip

RUN: dict[str, Any] = {"command": "true"}

CASES: list[tuple[type, Any, str]] = [
    (SubmitCommand, RUN | {"encoding": "hex"}, '$.encoding: expected one of "text", "base64"'),
    (SubmitCommand, RUN | {"encoding": ["text"]}, '$.encoding: expected one of "text", "base64"'),
    (SubmitCommand, RUN | {"on_disconnect": None}, '$.on_disconnect: expected one of "continue", "interrupt"'),
    (FollowMany, {"commands": [], "stream": 3}, '$.stream: expected one of "stdout", "stderr" or null'),
    (SubmitCommand, RUN | {"timeout": "5"}, "$.timeout: expected a number or null"),
    (SubmitCommand, RUN | {"timeout": True}, "$.timeout: expected a number or null"),
    (SubmitCommand, RUN | {"stdin": 5}, "$.stdin: expected true or false or a string"),
    (SubmitCommand, {}, "$.command: required field missing"),
    (SubmitCommand, {"command": None}, "$.command: expected a string"),
    (SubmitCommand, RUN | {"env": "A=1"}, "$.env: expected an object"),
    (SubmitCommand, RUN | {"env": {"A": 1}}, "$.env['A']: expected a string"),
    (SubmitCommand, RUN | {"env": {"A @ B": 1}}, "$.env['A @ B']: expected a string"),
    (SendSignal, {"signal": True}, "$.signal: expected a string or a whole number"),
    (SendSignal, {"signal": 1.5}, "$.signal: expected a string or a whole number"),
    (SendSignal, {"signal": None}, "$.signal: expected a string or a whole number"),
    (FollowMany, {"commands": "abc"}, "$.commands: expected an array of strings"),
    (FollowMany, {"commands": ["a", 1]}, "$.commands: expected an array of strings"),
    (FollowMany, {"commands": [], "after": {"a": True}}, "$.after['a']: expected a whole number"),
    (Resize, {"rows": 1.0, "columns": 80}, "$.rows: expected a whole number"),
    (CreateSession, {"labels": {"a": {}}}, "$.labels['a']: expected a string"),
    (CreateSession, {"restart": "false"}, "$.restart: expected true or false"),
    (PruneLogs, {"keep_bytes": 1.5}, "$.keep_bytes: expected a whole number or null"),
    (Grace, {"grace": []}, "$.grace: expected a number or null"),
    (Grace, [], "$: expected an object"),
    (CommandList, {"commands": 5, "next": None}, "$.commands: expected an array"),
    (CommandList, {"commands": [5], "next": None}, "$.commands[0]: expected an object"),
    (CommandList, {"commands": [{}], "next": None}, "$.commands[0].id: required field missing"),
]


@pytest.mark.parametrize(("kind", "value", "message"), CASES)
def test_what_does_not_fit(kind: type, value: Any, message: str) -> None:
    with pytest.raises(WrongField) as caught:
        from_wire(value, kind)
    assert str(caught.value) == message
    assert message.startswith(f"{caught.value.path}: ")


PARSED = [kind for kind in vars(wire).values() if attrs.has(kind) and kind.__module__ == wire.__name__]


@pytest.mark.parametrize("kind", [*PARSED, Pruned, SessionInfo])
@pytest.mark.parametrize("value", [None, True, 5, 2.5, 10**30, "x", ["x"], [1], {"x": 1}, {"x": None}, {"x": {}}])
def test_no_value_in_any_field_is_an_unknown_error(kind: type, value: Any) -> None:
    for name, hint in typing.get_type_hints(kind).items():
        try:
            from_wire({name: value}, kind)
        except WrongField as error:
            found = str(error).partition(": ")[2]
            assert found == "required field missing" or found.startswith("expected "), (name, found)
            if error.path == f"$.{name}":
                assert found == f"expected {describe(hint)}"
