"""Errors as Miosa's clients read them. No I/O.

A code that the client knows chooses its exception, else the status does. A request that changes nothing is sent again after 429,
500, 502, 503 and 504; one that runs something never is.
"""

from __future__ import annotations

import uuid
from typing import Final

from starlette.responses import Response
from starlette.types import Scope

from ...errors import Broken, Busy, Closed, Conflict, Expired, Invalid, NotFound, SessionsError, TimedOut
from ..open_streams import ServerCloses
from ..refusals import Codes
from ..refusals import Refusal as Refusal
from ..requests import json_response

CODES: Final = Codes(
    [
        (Invalid, 400, "VALIDATION_ERROR"),
        (Expired, 404, "EXPIRED"),
        (NotFound, 404, "NOT_FOUND"),
        (Conflict, 409, "CONFLICT"),
        (Busy, 429, "RATE_LIMITED"),
        (Closed, 409, "CONFLICT"),
        (TimedOut, 408, "REQUEST_TIMEOUT"),
        (ServerCloses, 503, "SERVICE_UNAVAILABLE"),
        (Broken, 502, "AGENT_UNAVAILABLE"),
    ],
    {
        400: "VALIDATION_ERROR",
        401: "UNAUTHORIZED",
        403: "FORBIDDEN",
        405: "METHOD_NOT_ALLOWED",
        408: "REQUEST_TIMEOUT",
        413: "PAYLOAD_TOO_LARGE",
        503: "SERVICE_UNAVAILABLE",
    },
    "INTERNAL_ERROR",
)
TRANSIENT: Final = frozenset({429, 502, 503})
RETRY_SECONDS: Final = 1


def not_running(kind: str, space_id: str, state: str) -> Refusal:
    return Refusal(409, f"{kind.upper()}_NOT_RUNNING", f"{kind} {space_id} is {state}: start it first")


def not_here(what: str) -> Refusal:
    return Refusal(501, "NOT_IMPLEMENTED", f"{what}: not there. This server runs processes in local directories")


def too_long(most: float) -> Refusal:
    return Refusal(422, "TIMEOUT_TOO_LONG", f"the timeout may be {most:g} seconds at most: run it in the background")


def error_answer(scope: Scope, error: SessionsError) -> Response:
    status, code = CODES.find(error)
    request_id = f"req_{uuid.uuid4().hex}"
    told: dict[str, object] = {"code": code, "message": str(error), "retryable": status in TRANSIENT}
    body: dict[str, object] = {"error": told, "request_id": request_id}
    headers = {**getattr(error, "headers", {}), "X-Request-Id": request_id}
    if status in TRANSIENT:
        headers["Retry-After"] = str(RETRY_SECONDS)
        body["retry_after"] = RETRY_SECONDS
        told["retry_after_ms"] = RETRY_SECONDS * 1000  # clients look only here where the error is an object
    return json_response(body, status, headers)
