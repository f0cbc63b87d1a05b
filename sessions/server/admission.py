"""Who may come in: decided from a request's head alone, before anything else looks at it. No I/O.

- A token, where one is needed, as ``Authorization: Bearer TOKEN``, or as ``X-API-Key: TOKEN``, as some of the SDKs send it that a
  door serves. Digests are compared, in constant time.
- ``Host`` must be an IP address, ``localhost`` or a name that the server was told: a page whose own name was made to point to
  our address (DNS rebinding) comes by that name.
- ``Origin``, which browsers send and programs don't, must be the host that was asked: no page of another site, or of another
  port of this machine, gets at us, by WebSocket either, which no browser holds back.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, TypeAlias

import attrs

from ..errors import SessionsError
from .refusals import BodyTooLarge, Forbidden, HeadTooLarge, Unauthorized, Unreadable, WrongVersion

Voucher: TypeAlias = Callable[[Callable[[str], bool]], bool]
"""Whether a request without the token in a header may come in, told by the door that it is for: for what it carries elsewhere,
which the argument says of a text whether it is the token.
"""

HOST: Final = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]]+))(?::[0-9]{1,5})?")


@attrs.frozen(kw_only=True)
class Rules:
    """What one address of the server asks of those who come there."""

    token_digest: bytes | None
    """None where no token is needed: the file system has let them in."""
    hosts: frozenset[str] | None
    """Names beside IP addresses and ``localhost``; None where any will do."""
    header_bytes: int
    body_bytes: int


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def refusal(
    version: str, target: bytes, headers: Iterable[tuple[bytes, bytes]], rules: Rules, vouch: Voucher | None = None
) -> SessionsError | None:
    """Why this request is not let in; None if it is."""
    found: dict[bytes, list[str]] = {}
    size = len(target)
    for name, value in headers:
        size += len(name) + len(value) + 4
        found.setdefault(name.lower(), []).append(value.decode("latin-1"))
    if not version.startswith("1"):
        return WrongVersion(f"HTTP/{version} is not spoken here: use HTTP/1.1")
    if size > rules.header_bytes:
        return HeadTooLarge(f"the request's head has {size} bytes, and {rules.header_bytes} are accepted")
    hosts = found.get(b"host", [])
    if rules.hosts is not None and (len(hosts) != 1 or not is_our_host(hosts[0], rules.hosts)):
        named = repr(hosts[0]) if hosts else "no host"
        return Forbidden(f"the request is for {named}, which this server does not go by: see its option for hosts")
    if any(not is_same_origin(origin, hosts) for origin in found.get(b"origin", [])):
        return Forbidden(f"pages of {found[b'origin'][0]!r} may not talk to this server")
    if rules.token_digest is not None and not (
        has_token(found.get(b"authorization", []), rules.token_digest)
        or has_key(found.get(b"x-api-key", []), rules.token_digest)
        or (vouch is not None and vouch(partial(is_token, wanted=rules.token_digest)))
    ):
        return Unauthorized("this server asks for its token: send it as 'Authorization: Bearer TOKEN'")
    if b"content-length" in found and b"transfer-encoding" in found:
        # Proxies and servers disagree about such a body's end, and so about what is the next request.
        return Unreadable("a body has a Content-Length or a Transfer-Encoding, not both")
    length = found.get(b"content-length", ["0"])[0]
    # More digits than 19 are more bytes than there are.
    if length.isdecimal() and (len(length) > 19 or int(length) > rules.body_bytes):
        return BodyTooLarge(f"the body has {length[:30]} bytes, and {rules.body_bytes} are accepted")
    return None


def is_our_host(value: str, names: frozenset[str]) -> bool:
    match = HOST.fullmatch(value.lower())
    if match is None:
        return False
    name = (match[1] or match[2]).removesuffix(".")
    return name == "localhost" or is_known(name, names) or is_address(name)


def is_known(name: str, names: frozenset[str]) -> bool:
    """Whether it is one of `names`, of which ``*.DOMAIN`` stands for every name right below a domain."""
    return name in names or f"*.{name.partition('.')[2]}" in names


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_same_origin(origin: str, hosts: Sequence[str]) -> bool:
    """Whether a page of `origin` was loaded from where this request goes. ``null`` is nobody's."""
    scheme, found, rest = origin.lower().partition("://")
    return bool(found) and scheme in ("http", "https") and [rest] == [host.lower() for host in hosts]


def has_token(values: Sequence[str], wanted: bytes) -> bool:
    if len(values) != 1:
        return False
    scheme, _, token = values[0].partition(" ")
    return has_key([token], wanted) and scheme.lower() == "bearer"


def has_key(values: Sequence[str], wanted: bytes) -> bool:
    return len(values) == 1 and is_token(values[0].strip(), wanted)


def is_token(text: str, wanted: bytes) -> bool:
    return hmac.compare_digest(hashlib.sha256(text.encode("utf-8", "replace")).digest(), wanted)
