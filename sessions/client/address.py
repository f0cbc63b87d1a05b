"""Where a server is, and what it wants to see: from what was passed, else from the environment, else from the default root."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

import attrs

from ..errors import Invalid
from ..roots import default_root

PREFIX: Final = "/v1"
"""Where a server has its own dialect."""

LOOPBACK_NAMES: Final = ("localhost", "ip6-localhost")


@attrs.frozen
class Address:
    """A server, and how to speak to it."""

    url: str
    """As people write it."""
    base: str
    """What all requests' paths are put behind."""
    socket: str | None = None
    """The unix socket's path."""
    token: str | None = attrs.field(default=None, repr=False)

    def __str__(self) -> str:
        return self.url


def find_address(url: str | None, token: str | None, environ: Mapping[str, str] = os.environ) -> Address:
    """`url`, else ``$SESSIONS_URL``, else the default root's socket. `Invalid` if it can't be an address.

    The token is `token`, else ``$SESSIONS_TOKEN``, else, for a server on this machine, what the default root keeps.
    """
    if token is not None and not isinstance(token, str):
        raise Invalid(f"token is {type(token).__name__}: pass a str")
    chosen = url if url is not None else environ.get("SESSIONS_URL") or None
    found = parse_url(chosen) if chosen is not None else at_socket(str(default_root().absolute() / "serve.sock"))
    secret = token or environ.get("SESSIONS_TOKEN") or None
    if secret is None and found.socket is None and is_loopback(urlsplit(found.base).hostname or ""):
        secret = read_token(default_root())
    if secret is not None and not (secret.isascii() and secret.isprintable() and " " not in secret):
        raise Invalid("the token has characters that no HTTP header can carry: pass it without spaces and line ends")
    return attrs.evolve(found, token=secret)


def parse_url(url: str) -> Address:
    """
    >>> parse_url("http://127.0.0.1:7878/").base
    'http://127.0.0.1:7878/v1'
    >>> parse_url("unix:///run/serve.sock").socket
    '/run/serve.sock'
    """
    if not isinstance(url, str):
        raise Invalid(f"url is {type(url).__name__}: pass a str such as 'http://127.0.0.1:7878'")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Invalid(f"url {url!r} can't be read: {error}") from None
    if parts.scheme == "unix":
        if parts.netloc or not parts.path.startswith("/") or parts.query or parts.fragment:
            raise Invalid(f"url {url!r} has no absolute path: write it as 'unix:///path/to/serve.sock'")
        return at_socket(parts.path)
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise Invalid(f"url {url!r} is no server's: write 'http://HOST:PORT', 'https://HOST:PORT' or 'unix:///PATH'")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise Invalid(f"url of {parts.hostname!r} has more than host, port and path: a token is passed as token=")
    return Address(url, bare(parts) + PREFIX)


def bare(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def at_socket(path: str) -> Address:
    # Whatever host it is, the request goes through the socket.
    return Address(f"unix://{path}", "http://localhost" + PREFIX, path)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in LOOPBACK_NAMES


def read_token(root: Path) -> str | None:
    """What a server on this root made for its clients."""
    try:
        return (root / "token").read_text().strip() or None
    except (OSError, UnicodeDecodeError):
        return None
