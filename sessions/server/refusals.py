"""What a server refuses before any door is asked, as errors with an HTTP status."""

from __future__ import annotations

from ..errors import SessionsError


class Unauthorized(SessionsError):
    """The token is missing or wrong."""

    code = "unauthorized"
    status = 401


class Forbidden(SessionsError):
    """The request comes by a name that is not ours, or from a page of another site."""

    code = "forbidden"
    status = 403


class TooSlow(SessionsError):
    """The body did not come in time."""

    code = "timed_out"
    status = 408


class BodyTooLarge(SessionsError):
    code = "too_large"
    status = 413


class HeadTooLarge(SessionsError):
    code = "headers_too_large"
    status = 431


class Closing(SessionsError):
    """The server is about to end."""

    code = "closing"
    status = 503


class WrongVersion(SessionsError):
    """Only HTTP/1 is spoken."""

    code = "version_not_supported"
    status = 505
