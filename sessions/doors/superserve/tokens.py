"""Access tokens: each sandbox has one, which lets in to that sandbox alone, and whose it is.

A request to the data plane names its sandbox by a header, else by the name of the host that it asks, else by its token, which
begins with the sandbox's id. Whatever has named it, the whole token must be that sandbox's: digests are compared, in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable
from typing import Final

from starlette.types import Scope

from ...errors import NotFound
from ...models import SpaceInfo
from ...spaces import Space, Spaces
from .errors import BadToken

DOOR: Final = "superserve"
"""The name of this door, on the spaces that are made through it."""
FACT: Final = "access_token"
"""Of a sandbox's facts."""
RANDOM_BYTES: Final = 32
HOSTS: Final = (
    "sandbox.superserve.ai",
    "*.sandbox.superserve.ai",
    "usw-sandbox.superserve.ai",
    "*.usw-sandbox.superserve.ai",
    "staging-sandbox.superserve.ai",
    "*.staging-sandbox.superserve.ai",
)
"""The names that clients ask for commands by, whatever base URL they were given."""
HOST: Final = re.compile(r"boxd-([0-9a-f-]{1,64})\.", re.IGNORECASE)
BAD_TOKEN: Final = "this is not the access token of that sandbox: activate it for one"
SUBPROTOCOL: Final = "token."
"""Before the token, among the subprotocols of a WebSocket, which has no other place for it."""


def make_token(space_id: str) -> str:
    """Of characters that may be part of a subprotocol's name."""
    return f"{space_id}.{secrets.token_urlsafe(RANDOM_BYTES)}"


def token_of(info: SpaceInfo) -> str:
    return str(info.facts[FACT])


def find_space(spaces: Spaces, scope: Scope) -> Space:
    """The sandbox that a request to the data plane is for. `BadToken` unless it brings that sandbox's token."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    token = headers.get("x-access-token") or from_subprotocols(scope.get("subprotocols") or ())
    host = HOST.match(headers.get("host", ""))
    named = headers.get("x-superserve-sandbox-id") or (host[1].lower() if host else token.partition(".")[0])
    try:
        space = spaces.get(DOOR, named)
    except NotFound:
        space = None
    wanted = token_of(space.info) if space is not None else make_token("")
    is_right = hmac.compare_digest(digest(token), digest(wanted))
    if space is None or not is_right:
        raise BadToken(BAD_TOKEN)
    return space


def from_subprotocols(offered: Iterable[str]) -> str:
    return next((text.removeprefix(SUBPROTOCOL) for text in offered if text.startswith(SUBPROTOCOL)), "")


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def lets_in(spaces: Spaces, scope: Scope, is_server_token: Callable[[str], bool]) -> bool:
    """Whether a request to the data plane brings the token that it needs, which never is the server's."""
    try:
        find_space(spaces, scope)
    except BadToken:
        return False
    return True
