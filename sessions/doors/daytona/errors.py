"""Errors as Daytona's clients read them. No I/O.

The status chooses the client's exception; with the source ``DAYTONA_DAEMON``, a few codes choose a narrower one.
"""

from __future__ import annotations

import time
from typing import Final, Literal, TypeAlias

from starlette.responses import Response
from starlette.types import Scope

from ...errors import Broken, Busy, Closed, Conflict, Expired, Invalid, NotFound, SessionsError, TimedOut
from ..rendering import rfc3339
from ..requests import to_bytes, to_json

Source: TypeAlias = Literal["DAYTONA_API", "DAYTONA_DAEMON"]

CODES: Final[list[tuple[type[SessionsError], str]]] = [
    (Invalid, "BAD_REQUEST"),
    (Expired, "GONE"),
    (NotFound, "NOT_FOUND"),
    (Conflict, "CONFLICT"),
    (Busy, "TOO_MANY_REQUESTS"),
    (Closed, "GONE"),
    (TimedOut, "REQUEST_TIMEOUT"),
    (Broken, "SERVICE_UNAVAILABLE"),
]
CODES_OF_STATUS: Final = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "REQUEST_TIMEOUT",
    413: "PAYLOAD_TOO_LARGE",
    501: "NOT_IMPLEMENTED",
    503: "SERVICE_UNAVAILABLE",
}


class Refusal(SessionsError):
    """An answer that has a status and a code of its own."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.answer_status = status
        self.answer_code = code


def bad_body(message: str) -> Refusal:
    return Refusal(400, "INVALID_REQUEST_BODY", message)


def session_ended(message: str) -> Refusal:
    return Refusal(410, "SESSION_ENDED", message)


def not_here(what: str) -> Refusal:
    return Refusal(
        501,
        "NOT_IMPLEMENTED",
        f"{what} are not there: this server runs processes (sessions, exec, code_run, pty) in local directories",
    )


def status_and_code(error: SessionsError) -> tuple[int, str]:
    if isinstance(error, Refusal):
        return error.answer_status, error.answer_code
    code = next((code for kind, code in CODES if isinstance(error, kind)), None)
    return error.status, code or CODES_OF_STATUS.get(error.status, "INTERNAL_SERVER_ERROR")


def error_answer(scope: Scope, source: Source, path: str, error: SessionsError) -> Response:
    """`path` is that below the part of the URL that says whose it is."""
    status, code = status_and_code(error)
    body = {
        "statusCode": status,
        "message": str(error),
        "code": code,
        "source": source,
        "timestamp": rfc3339(time.time()),
        "path": path,
        "method": scope.get("method", "GET"),
    }
    return Response(to_bytes(to_json(body) + "\n"), status, media_type="application/json")
