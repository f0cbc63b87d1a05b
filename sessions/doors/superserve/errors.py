"""Errors as Superserve's clients read them: ``{"error": {"code": ..., "message": ...}}``. No I/O.

The status chooses the client's exception. On the data plane, 401 and 503 make a client activate its sandbox and ask once more, so
nothing has been started where they are answered.
"""

from __future__ import annotations

from typing import Final

from starlette.responses import Response
from starlette.types import Scope

from ...errors import Invalid, SessionsError
from ..requests import json_response

BAD_REQUEST: Final = "bad_request"
EXEC_FAILED: Final = "exec_failed"
CLOSING: Final = "closing"


class BadToken(SessionsError):
    """What came is not the token of the sandbox that was asked."""

    code = "unauthorized"
    status = 401


class Unavailable(SessionsError):
    """The sandbox is there, and nothing can be run in it before it is activated."""

    code = "sandbox_unavailable"
    status = 503


class NotHere(SessionsError):
    code = "not_implemented"
    status = 501


def not_here(what: str) -> NotHere:
    return NotHere(f"{what} are not there: this server runs processes in local directories")


def code_of(error: SessionsError) -> str:
    return BAD_REQUEST if isinstance(error, Invalid) else error.code


def error_answer(scope: Scope, error: SessionsError) -> Response:
    body = {"error": {"code": code_of(error), "message": str(error)}}
    return json_response(body, error.status, getattr(error, "headers", None))
