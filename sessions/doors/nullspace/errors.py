"""Errors as Nullspace's clients read them. No I/O.

The code chooses the client's exception and its command line's exit code; the status alone says nothing there.
"""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response
from starlette.types import Scope

from ...errors import Broken, Busy, Closed, Conflict, Invalid, NotFound, SessionsError, TimedOut
from ..refusals import Codes
from ..refusals import Refusal as Refusal
from ..requests import json_response

CODES: Final = Codes(
    [
        (Invalid, 400, "invalid_request"),
        (NotFound, 404, "not_found"),
        (Conflict, 409, "conflict"),
        (Closed, 409, "conflict"),
        (Busy, 429, "rate_limit_exceeded"),
        (TimedOut, 504, "timeout"),
        (Broken, 502, "exec_failed"),
    ],
    {
        400: "invalid_request",
        401: "unauthorized",
        403: "forbidden",
        404: "not_found",
        405: "method_not_allowed",
        408: "timeout",
        413: "payload_too_large",
        431: "invalid_request",
        501: "not_implemented",
        503: "unavailable",
    },
    "internal",
)
RETRY_SECONDS: Final = "1"
"""Clients send a request that was refused with 429 again, three times."""


status_and_code = CODES.find


def not_here(what: str) -> Refusal:
    return Refusal(
        501,
        "not_implemented",
        f"{what} are not there: this server runs processes (commands, process, pty) in local directories",
    )


def error_answer(scope: Scope, error: SessionsError) -> Response:
    status, code = status_and_code(error)
    body: dict[str, Any] = {"error": str(error), "code": code}
    if isinstance(error, Refusal) and error.details is not None:
        body["details"] = error.details
    headers = {"Retry-After": RETRY_SECONDS} if status == 429 else {}
    return json_response(body, status, headers)
