"""Errors as Declaw's clients read them. No I/O.

The status chooses the client's exception; its text and its ``code`` are those of the body. A 5xx makes clients ask again, up to
three times, so there is none once something has been started.
"""

from __future__ import annotations

from typing import Final

from starlette.responses import Response
from starlette.types import Scope

from ...errors import Broken, SessionsError
from ..open_streams import ServerCloses
from ..requests import to_bytes, to_json

UNREACHABLE: Final = 502
"""There is a sandbox, and nothing can be started in it."""
BUSY: Final = 429
RETRY_SECONDS: Final = 1


class Refusal(SessionsError):
    """An answer that has a status and a code of its own."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.answer_status = status
        self.answer_code = code


def paused(sandbox_id: str) -> Refusal:
    return Refusal(409, "sandbox_paused", f"sandbox {sandbox_id} is paused: resume it first")


def killed(sandbox_id: str) -> Refusal:
    return Refusal(410, "sandbox_killed", f"sandbox {sandbox_id} was killed: create another one")


def stopped(sandbox_id: str) -> Refusal:
    return Refusal(503, "sandbox_stopped", f"sandbox {sandbox_id} is stopped: resume it first")


def not_here(what: str) -> Refusal:
    return Refusal(501, "not_implemented", f"{what} are not there: this server runs processes in local directories")


def status_and_code(error: SessionsError) -> tuple[int, str]:
    if isinstance(error, Refusal):
        return error.answer_status, error.answer_code
    if isinstance(error, Broken) and not isinstance(error, ServerCloses):
        return UNREACHABLE, error.code
    return error.status, error.code


def error_answer(scope: Scope, error: SessionsError) -> Response:
    status, code = status_and_code(error)
    headers = dict(getattr(error, "headers", {}))
    if status == BUSY:
        headers["Retry-After"] = str(RETRY_SECONDS)
    return Response(to_bytes(to_json({"error": str(error), "code": code}) + "\n"), status, headers, "application/json")
