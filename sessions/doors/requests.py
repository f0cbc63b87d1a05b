"""Requests, read strictly, and errors as answers. No I/O.

A body is one JSON object in UTF-8, a query is known names with values of their types, each given once. What is not so is
refused with the place where it is not: ``$.field`` in a body, ``?name`` in a query.
"""

from __future__ import annotations

import binascii
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn, TypeVar
from urllib.parse import parse_qsl

import attrs
from starlette.responses import Response

from ..errors import SessionsError
from ..wire import ErrorBody, ErrorDetail, WrongField, from_wire, to_wire

T = TypeVar("T")

INTEGER: Final = re.compile(r"-?[0-9]{1,18}")
NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
INTEGER_DIGITS: Final = 18
"""Whole numbers up to here fit into 64 bits; nothing that is counted here is larger."""


class MethodNotAllowed(SessionsError):
    """The path is known, the method is not."""

    code = "method_not_allowed"
    status = 405

    def __init__(self, message: str, allowed: str) -> None:
        super().__init__(message)
        self.headers = {"Allow": allowed}


class TooLarge(SessionsError):
    """The answer would not fit into one JSON object."""

    code = "too_large"
    status = 413


# Queries


@attrs.frozen
class Parameter:
    """One name that a query may have."""

    doc: str
    schema: Mapping[str, Any]
    """Its type as JSON Schema."""
    parse: Callable[[str], Any]
    """The value; `ValueError` with what was expected if the text is none."""
    repeated: bool = False
    """May be given more than once: its value is a list, else it is None when left out."""


def count(doc: str, least: int = 0, most: int | None = None) -> Parameter:
    """A whole number."""

    def parse(text: str) -> int:
        if INTEGER.fullmatch(text) and least <= int(text) <= (10**INTEGER_DIGITS if most is None else most):
            return int(text)
        raise ValueError(f"expected a whole number from {least}" + (f" to {most}" if most is not None else ""))

    schema = {"type": "integer", "minimum": least, "maximum": 10**INTEGER_DIGITS - 1 if most is None else most}
    return Parameter(doc, schema, parse)


def number(doc: str, least: float | None = None) -> Parameter:
    def parse(text: str) -> float:
        value = float(text) if NUMBER.fullmatch(text) else math.nan
        if not math.isfinite(value) or (least is not None and value < least):
            raise ValueError("expected a number" + (f" from {least:g}" if least is not None else ""))
        return value

    return Parameter(doc, {"type": "number"} | ({"minimum": least} if least is not None else {}), parse)


def choice(doc: str, *names: str) -> Parameter:
    def parse(text: str) -> str:
        if text not in names:
            raise ValueError("expected " + " or ".join(names))
        return text

    return Parameter(doc, {"type": "string", "enum": list(names)}, parse)


def flag(doc: str) -> Parameter:
    def parse(text: str) -> bool:
        if text not in ("true", "false"):
            raise ValueError("expected true or false")
        return text == "true"

    return Parameter(doc, {"type": "boolean"}, parse)


def text(doc: str, repeated: bool = False) -> Parameter:
    return Parameter(doc, {"type": "string"}, str, repeated)


def pairs(doc: str, separator: str, value: Callable[[str], Any] = str) -> Parameter:
    """``key<separator>value``, repeatable; its value is a list of pairs."""

    def parse(text: str) -> tuple[str, Any]:
        key, found, rest = text.partition(separator)
        if not key or not found:
            raise ValueError(f"expected key{separator}value")
        return key, value(rest)

    return Parameter(doc, {"type": "string", "pattern": f"^[^{separator}]+{separator}"}, parse, True)


def read_query(query: bytes, known: Mapping[str, Parameter]) -> dict[str, Any]:
    """The value of each known parameter."""
    values: dict[str, Any] = {name: [] if parameter.repeated else None for name, parameter in known.items()}
    try:
        given = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise WrongField("expected UTF-8, percent-encoded", "?") from None
    for name, value in given:
        parameter = known.get(name)
        if parameter is None:
            listed = ", ".join(known) or "none"
            raise WrongField(f"this parameter is not known here: known are {listed}", f"?{name}")
        try:
            parsed = parameter.parse(value)
        except ValueError as error:
            raise WrongField(f"{error}, not {value!r}", f"?{name}") from None
        if parameter.repeated:
            values[name].append(parsed)
        elif values[name] is not None:
            raise WrongField("given more than once", f"?{name}")
        else:
            values[name] = parsed
    return values


# Bodies


def read_body(body: bytes, kind: type[T], optional: bool) -> T:
    """A `kind` from a request's body. With `optional`, no body is an empty object."""
    return from_wire({} if optional and not body.strip() else read_json(body), kind)


def read_json(body: bytes) -> Any:
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise WrongField(f"the body is not UTF-8 at byte {error.start}", "$") from None
    try:
        return json.loads(
            text,
            parse_constant=refuse_constant,
            parse_int=read_integer,
            parse_float=read_fraction,
            object_pairs_hook=read_object,
        )
    except json.JSONDecodeError as error:
        raise WrongField(f"the body is not JSON: {error}", "$") from None
    except RecursionError:
        raise WrongField("the body is nested too deeply", "$") from None


def refuse_constant(name: str) -> NoReturn:
    raise WrongField(f"the body is not JSON: {name} is no number there", "$")


def read_integer(digits: str) -> int:
    if len(digits.lstrip("-")) > INTEGER_DIGITS:
        raise WrongField(f"a number with {len(digits)} digits is too large", "$")
    return int(digits)


def read_fraction(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise WrongField(f"the number {digits[:INTEGER_DIGITS]} is too large", "$")
    return value


def read_object(items: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(items)
    if len(found) < len(items):
        names = [name for name, _ in items]
        raise WrongField("given more than once", "$." + next(name for name in names if names.count(name) > 1))
    return found


def read_base64(text: str, path: str) -> bytes:
    try:
        return binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except ValueError as error:  # binascii.Error is one, and so is what ASCII can't say
        raise WrongField(f"not base64: {error}", path) from None


# Answers


def to_json(value: Any, ascii: bool = False) -> str:
    """A wire value as JSON on one line."""
    return json.dumps(to_wire(value), ensure_ascii=ascii, separators=(",", ":"))


def to_bytes(text: str) -> bytes:
    # A lone surrogate comes out as its JSON escape.
    return text.encode("utf-8", "backslashreplace")


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(to_bytes(to_json(value) + "\n"), status, headers, "application/json")


def error_body(error: SessionsError) -> ErrorBody:
    return ErrorBody(
        error=ErrorDetail(
            code=error.code, message=str(error), path=error.path if isinstance(error, WrongField) else None
        )
    )


def error_json(error: SessionsError, ascii: bool = False) -> str:
    """``{"error": {...}}``; without ``path`` where there is none."""
    body = to_wire(error_body(error))
    if body["error"]["path"] is None:
        del body["error"]["path"]
    return to_json(body, ascii)


def error_response(error: SessionsError) -> Response:
    """Some errors have headers of their own."""
    headers = getattr(error, "headers", None)
    return Response(to_bytes(error_json(error) + "\n"), error.status, headers, "application/json")
