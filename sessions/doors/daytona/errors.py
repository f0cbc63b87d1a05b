"""Errors as Daytona's clients read them. No I/O.

The status chooses the client's exception; with the source ``DAYTONA_DAEMON``, a few codes choose a narrower one.
"""

from __future__ import annotations

import time
from typing import Final, Literal, TypeAlias

from starlette.responses import Response
from starlette.types import Scope

from ...errors import Broken, Busy, Closed, Conflict, Expired, Invalid, NotFound, SessionsError, TimedOut
from ..fields import WrongBody
from ..refusals import Codes
from ..refusals import Refusal as Refusal
from ..rendering import rfc3339
from ..requests import json_response

Source: TypeAlias = Literal["DAYTONA_API", "DAYTONA_DAEMON"]

CODES: Final = Codes(
    [
        (WrongBody, 400, "INVALID_REQUEST_BODY"),
        (Invalid, 400, "BAD_REQUEST"),
        (Expired, 410, "GONE"),
        (NotFound, 404, "NOT_FOUND"),
        (Conflict, 409, "CONFLICT"),
        (Busy, 429, "TOO_MANY_REQUESTS"),
        (Closed, 410, "GONE"),
        (TimedOut, 408, "REQUEST_TIMEOUT"),
        (Broken, 503, "SERVICE_UNAVAILABLE"),
    ],
    {
        400: "BAD_REQUEST",
        401: "UNAUTHORIZED",
        403: "FORBIDDEN",
        404: "NOT_FOUND",
        405: "METHOD_NOT_ALLOWED",
        408: "REQUEST_TIMEOUT",
        413: "PAYLOAD_TOO_LARGE",
        501: "NOT_IMPLEMENTED",
        503: "SERVICE_UNAVAILABLE",
    },
    "INTERNAL_SERVER_ERROR",
)


def session_ended(message: str) -> Refusal:
    return Refusal(410, "SESSION_ENDED", message)


def not_here(what: str) -> Refusal:
    return Refusal(
        501,
        "NOT_IMPLEMENTED",
        f"{what} are not there: this server runs processes (sessions, exec, code_run, pty) in local directories",
    )


def error_answer(scope: Scope, source: Source, path: str, error: SessionsError) -> Response:
    """`path` is that below the part of the URL that says whose it is."""
    status, code = CODES.find(error)
    body = {
        "statusCode": status,
        "message": str(error),
        "code": code,
        "source": source,
        "timestamp": rfc3339(time.time()),
        "path": path,
        "method": scope.get("method", "GET"),
    }
    return json_response(body, status)
