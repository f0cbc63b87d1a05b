"""What a door refuses, in its dialect's words. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ..errors import SessionsError


class Refusal(SessionsError):
    """An answer that has a status and a code of its own."""

    def __init__(self, status: int, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.answer_status = status
        self.answer_code = code
        self.details = details
        """What else is told, in dialects that have a place for it."""


@attrs.frozen
class Codes:
    """How a dialect calls what goes wrong."""

    kinds: Sequence[tuple[type[SessionsError], int, str]] = ()
    """Statuses and codes of our errors. Of several that fit, the first one counts."""
    statuses: Mapping[int, str] = attrs.field(factory=dict)
    """Codes of all others, by their status."""
    otherwise: str | None = None
    """The code of those that have none by now; if there is none here either, it is our own."""

    def find(self, error: SessionsError) -> tuple[int, str]:
        """The status and the code of an error."""
        if isinstance(error, Refusal):
            return error.answer_status, error.answer_code
        for kind, status, code in self.kinds:
            if isinstance(error, kind):
                return status, code
        return error.status, self.statuses.get(error.status, self.otherwise or error.code)
