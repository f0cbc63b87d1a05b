"""Errors as Declaw's clients read them. No I/O.

The status chooses the client's exception; its text and its ``code`` are those of the body. A 5xx makes clients ask again, up to
three times, so there is none once something has been started.
"""

from __future__ import annotations

from typing import Final

from starlette.responses import Response
from starlette.types import Scope

from ...errors import Broken, SessionsError
from ..refusals import Codes
from ..refusals import Refusal as Refusal
from ..requests import json_response

CODES: Final = Codes([(Broken, 502, Broken.code)])
"""With 502 there is a sandbox, and nothing can be started in it."""
BUSY: Final = 429
IN_PROGRESS: Final = "idempotency_in_progress"
"""Clients ask again for this code, and for no other of its status."""
RETRY_SECONDS: Final = 1

status_and_code = CODES.find


def paused(sandbox_id: str) -> Refusal:
    return Refusal(409, "sandbox_paused", f"sandbox {sandbox_id} is paused: resume it first")


def killed(sandbox_id: str) -> Refusal:
    return Refusal(410, "sandbox_killed", f"sandbox {sandbox_id} was killed: create another one")


def stopped(sandbox_id: str) -> Refusal:
    return Refusal(503, "sandbox_stopped", f"sandbox {sandbox_id} is stopped: resume it first")


def making() -> Refusal:
    return Refusal(409, IN_PROGRESS, "the sandbox of this request is just being made: ask again")


def not_here(what: str) -> Refusal:
    return Refusal(501, "not_implemented", f"{what} are not there: this server runs processes in local directories")


def error_answer(scope: Scope, error: SessionsError) -> Response:
    status, code = status_and_code(error)
    headers = dict(getattr(error, "headers", {}))
    if status == BUSY or code == IN_PROGRESS:
        headers["Retry-After"] = str(RETRY_SECONDS)
    return json_response({"error": str(error), "code": code}, status, headers)
