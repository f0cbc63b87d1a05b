"""The ways into a server: sockets that are open, and what each asks of those who come there."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import attrs
import trio

from ..doors.superserve.door import HOSTS
from ..errors import Invalid
from .admission import Rules, digest
from .limits import ServerLimits
from .listening import Addresses, Bind, open_tcp, resolve, unix_listener, url_of
from .token import check_token, find_token

SOCKET: Final = "serve.sock"
"""In the root, unless another path is asked for."""

AnyPath: TypeAlias = str | os.PathLike[str]


@attrs.frozen(kw_only=True)
class Wanted:
    """Where to listen and whom to let in, as it was asked for; see `serve`."""

    bind: Sequence[str] = ()
    unix: AnyPath | Literal[False] | None = None
    token: str | None = None
    certfile: AnyPath | None = None
    keyfile: AnyPath | None = None
    insecure: bool = False
    hosts: Sequence[str] = ()
    superserve_front: str | None = None

    def __attrs_post_init__(self) -> None:
        for name in ("bind", "hosts"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise Invalid(f"{name}={value!r} is one text: pass a list, such as [{value!r}]")
        if self.unix is False and not self.bind:
            raise Invalid("there is nowhere to listen: pass bind=[...], or leave out unix=False")
        if (self.certfile is None) != (self.keyfile is None):
            raise Invalid("a certificate and its key go together: pass both certfile and keyfile, or neither")
        if self.token is not None:
            check_token(self.token, "what token= holds")


@attrs.frozen
class Entrance:
    """A socket to listen on, and what it asks of those who come there."""

    listener: trio.abc.Listener[Any]
    rules: Rules


async def open_entrances(
    wanted: Wanted,
    root: Path,
    certificate: ssl.SSLContext | None,
    limits: ServerLimits,
    stack: ExitStack | AsyncExitStack,
) -> tuple[list[Entrance], Addresses]:
    """Open what is wanted; `stack` closes it. Where others could read the token on its way, `Invalid`."""
    binds = [await resolve(text) for text in wanted.bind]
    for bind in binds:
        if bind.is_exposed and certificate is None and not wanted.insecure:
            raise Invalid(
                f"bind {bind.text!r} can be reached from other machines, and the token would go there unencrypted: "
                "pass certfile and keyfile, or insecure=True (--insecure) if something else encrypts"
            )
    entrances = []
    path = None
    if wanted.unix is not False:
        path = Path(wanted.unix).expanduser().absolute() if wanted.unix is not None else root / SOCKET
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(stack.enter_context(unix_listener(path))))
        # No token: whoever may open the file is its owner.
        entrances.append(
            Entrance(
                listener,
                Rules(token_digest=None, hosts=None, header_bytes=limits.header_bytes, body_bytes=limits.body_bytes),
            )
        )
    urls = []
    rules = rules_for_tcp(wanted, root, binds, limits) if binds else None
    for bind in binds:
        assert rules is not None
        sock = stack.enter_context(open_tcp(bind))
        plain = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        if certificate is None:
            entrances.append(Entrance(plain, rules))
        else:
            entrances.append(Entrance(trio.SSLListener(plain, certificate, https_compatible=True), rules))
        urls.append(url_of(sock, "http" if certificate is None else "https"))
    return entrances, Addresses(urls, path)


def rules_for_tcp(wanted: Wanted, root: Path, binds: Sequence[Bind], limits: ServerLimits) -> Rules:
    return Rules(
        token_digest=digest(wanted.token if wanted.token is not None else find_token(root)),
        hosts=frozenset({bind.name for bind in binds} | {host.lower() for host in wanted.hosts} | set(HOSTS)),
        header_bytes=limits.header_bytes,
        body_bytes=limits.body_bytes,
    )
