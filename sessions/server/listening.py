"""Sockets to listen on: where, whether others can reach them, and what stands in the way."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import re
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs
import trio

from ..errors import Broken, Conflict, Invalid

BIND: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%\w+)?)\]|([^:\[\]\s]+)):([0-9]{1,5})")
BACKLOG: Final = 1024
"""Clients that come all at once, until we get to them; the kernel's own limit is 4096."""
LONGEST_PATH: Final = 107
"""Bytes of a unix socket's path: sun_path has 108, and ends with a zero."""


@attrs.frozen
class Addresses:
    """Where a server really listens."""

    urls: list[str]
    """Of TCP, with the port that it got: ``http://127.0.0.1:41233``."""
    unix: Path | None
    """The unix socket."""

    def __str__(self) -> str:
        return ", ".join([*self.urls, *([f"unix:{self.unix}"] if self.unix else [])])


@attrs.frozen
class Bind:
    """An address to listen on with TCP, resolved."""

    text: str
    """As it was asked for."""
    name: str
    """The host as it was asked for."""
    family: socket.AddressFamily
    address: tuple[str, int]

    @property
    def is_exposed(self) -> bool:
        """Whether other machines can reach it."""
        return not ipaddress.ip_address(self.address[0].partition("%")[0]).is_loopback


async def resolve(text: str) -> Bind:
    """``HOST:PORT`` as an address; port 0 is any that is free. `Invalid` if it is none."""
    match = BIND.fullmatch(text) if isinstance(text, str) else None
    if match is None or int(match[3]) > 65535:
        raise Invalid(f"bind {text!r} is no address: say HOST:PORT, such as 127.0.0.1:7878, [::1]:7878 or 127.0.0.1:0")
    name, port = match[1] or match[2], int(match[3])
    try:
        found = await trio.socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise Invalid(f"bind {text!r}: the host {name!r} has no address: {error}") from error
    family, _, _, _, address = found[0]
    return Bind(text, name.lower(), family, (str(address[0]), port))


def open_tcp(bind: Bind) -> socket.socket:
    listener = socket.socket(bind.family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(bind.address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise Conflict(f"bind {bind.text!r}: somebody listens there already: choose another port, or 0") from error
        raise Broken(f"bind {bind.text!r}: can't listen there: {error}") from error
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket, scheme: str) -> str:
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


@contextlib.contextmanager
def unix_listener(path: Path) -> Iterator[socket.socket]:
    """A socket at `path` for its owner alone; gone after the block. One that a dead server left there is replaced."""
    size = len(os.fsencode(path))
    if size > LONGEST_PATH:
        raise Invalid(
            f"unix socket {path}: a path of {size} bytes is too long, {LONGEST_PATH} are possible: choose a shorter one"
        )
    make_room(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            listener.bind(os.fspath(path))
            # Nobody can connect before listen().
            path.chmod(0o600)
            listener.listen(BACKLOG)
            ours = identity(path)
        except OSError as error:
            raise Broken(f"unix socket {path}: can't listen there: {error}") from error
        listener.setblocking(False)
        try:
            yield listener
        finally:
            if identity(path) == ours:
                path.unlink()
    finally:
        listener.close()


def identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def make_room(path: Path) -> None:
    """Remove the socket that a dead server has left. `Conflict` if it is none, or is listened on."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise Conflict(f"unix socket {path}: something else is there: remove it, or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # one whose backlog is full would hold us up, and lives
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError:
            pass
    raise Conflict(f"unix socket {path}: somebody listens there already: choose another path, or end that server")
