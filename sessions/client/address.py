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
from ..server.lock import read_server

PREFIX: Final = "/v1"
"""Where a server has its own dialect."""

LOOPBACK_NAMES: Final = ("localhost", "ip6-localhost")
EVERYWHERE: Final = {False: ("0.0.0.0", "::"), True: ("::",)}
"""What a server listens on that is asked by any address of this machine: of IPv4, and of IPv6."""


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

    The token is `token`, else ``$SESSIONS_TOKEN``, else, for the server of the default root, what that root keeps.
    """
    if token is not None and not isinstance(token, str):
        raise Invalid(f"token is {type(token).__name__}: pass a str")
    chosen = url if url is not None else environ.get("SESSIONS_URL") or None
    found = parse_url(chosen) if chosen is not None else at_socket(str(default_root().absolute() / "serve.sock"))
    secret = token or environ.get("SESSIONS_TOKEN") or None
    if secret is None and found.socket is None:
        root = default_root()
        base = place_of_server(root, found.base)
        if base is not None:
            found, secret = attrs.evolve(found, base=base), read_token(root)
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
    check_host(url, parts.hostname)
    return Address(url, bare(parts) + PREFIX)


def check_host(url: str, host: str) -> None:
    """Refuse what no request and no look-up would take."""
    import httpx  # here, as `sessions env --help` does without

    try:
        httpx.URL(url)
        host.encode("idna")
    except (httpx.InvalidURL, UnicodeError) as error:
        raise Invalid(f"url {url!r} can't be read: {error}") from None


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


def place_of_server(root: Path, base: str) -> str | None:
    """Where the server of `root` is asked for `base`; None if it does not listen there.

    Its token is for nobody else: any user of this machine can listen on a port that is free. ``localhost`` is more than one
    address, on each of which somebody else may listen, so it becomes the one that is ours. With TLS the certificate
    tells, and it is for the name.
    """
    parts = urlsplit(base)
    host = parts.hostname or ""
    if not is_loopback(host):
        return None
    port = parts.port or (443 if parts.scheme == "https" else 80)
    for url in listed(root):
        ours = urlsplit(url)
        if (ours.scheme, ours.port) != (parts.scheme, port):
            continue
        if host in LOOPBACK_NAMES and parts.scheme == "http":
            return parts._replace(netloc=f"{reachable(ours.hostname or '')}:{port}").geturl()
        if host in LOOPBACK_NAMES or ours.hostname in (host, *EVERYWHERE[":" in host]):
            return base
    return None


def listed(root: Path) -> list[str]:
    """The URLs at which the server of `root` listens."""
    facts = read_server(root)
    urls = facts.get("urls") if facts is not None else None
    return [url for url in urls if isinstance(url, str)] if isinstance(urls, list) else []


def reachable(host: str) -> str:
    """An address of this machine, as it is in a URL, for one that a server listens on."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


def read_token(root: Path) -> str | None:
    """What a server on this root made for its clients."""
    try:
        return (root / "token").read_text().strip() or None
    except (OSError, UnicodeDecodeError):
        return None
