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


class Unreadable(SessionsError):
    """It is no HTTP."""

    code = "invalid"
    status = 400


class UnknownEncoding(SessionsError):
    """Its body is encoded in a way that is not known here."""

    code = "not_implemented"
    status = 501


def unread(status: int, header_bytes: int) -> SessionsError:
    """What to say of a request that can't be read, where no more than this status is known of it."""
    match status:
        case 431:
            return HeadTooLarge(f"the request's head has more than the {header_bytes} bytes that are accepted")
        case 501:
            return UnknownEncoding("of the transfer encodings, only chunked is known here")
        case _:
            return Unreadable("what came is no request in HTTP/1.1")
