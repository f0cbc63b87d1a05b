"""A network of its own, where every name leads to this machine: for clients that ask for fixed names at fixed ports.

Run as a program, it is that network's name server, and the network lasts as long as it does.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path
from typing import Final

import pytest
import trustme
from server_process import TOKEN

SET_FLAGS: Final = 0x8914
"""SIOCSIFFLAGS."""
UP: Final = 1
ADDRESS: Final = bytes([127, 0, 0, 1])
TOOLS: Final = ("unshare", "nsenter", "mount")


def can_have_own_names() -> bool:
    if os.geteuid() != 0 or not all(map(shutil.which, TOOLS)):
        return False
    return subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True).returncode == 0


needs_own_names = pytest.mark.skipif(
    not can_have_own_names(), reason="no root, no unshare, nsenter or mount: names that lead here are NOT TESTED"
)


@contextmanager
def own_names(place: Path) -> Iterator[list[str]]:
    """What to put before a command so that it runs in that network."""
    place.mkdir()
    (place / "resolv.conf").write_text("nameserver 127.0.0.1\noptions attempts:1\n")
    (place / "hosts").write_text("127.0.0.1 localhost\n")
    bind = " && ".join(f"mount --bind {place}/{name} /etc/{name}" for name in ("resolv.conf", "hosts"))
    with subprocess.Popen(
        ["unshare", "--net", sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        # Another view of files for each command: one that is entered would have no current directory.
        enter = ["nsenter", f"--net=/proc/{server.pid}/ns/net", "unshare", "--mount"]
        yield [*enter, "sh", "-c", f'{bind} && exec "$@"', "sh"]


@contextmanager
def named_server(place: Path, names: Sequence[str], *options: str) -> Iterator[tuple[list[str], dict[str, str]]]:
    """A server in such a network, at the port of HTTPS, with a certificate for `names`; it is started as people start one.

    What to put before a command that runs there, too, and the variables that have it trust the certificate.
    """
    place.mkdir()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(place / "ca.pem")
    issued = authority.issue_cert(*names)
    issued.private_key_pem.write_to_path(place / "key.pem")
    issued.cert_chain_pems[0].write_to_path(place / "cert.pem")
    (place / "token").write_text(f"{TOKEN}\n")
    secure = [f"--certfile={place}/cert.pem", f"--keyfile={place}/key.pem", f"--token-file={place}/token"]
    command = [
        sys.executable,
        "-m",
        "sessions",
        "--root",
        str(place / "root"),
        "serve",
        "--json",
        "--bind=127.0.0.1:443",
    ]
    with own_names(place / "etc") as inside, (place / "log").open("ab") as log:
        with subprocess.Popen([*inside, *command, *secure, *options], stdout=subprocess.PIPE, stderr=log) as server:
            try:
                assert server.stdout is not None
                told = server.stdout.readline()
                assert told, (place / "log").read_text()
                assert json.loads(told)["urls"] == ["https://127.0.0.1:443"]
                certificate = str(place / "ca.pem")
                yield inside, {"SSL_CERT_FILE": certificate, "NODE_EXTRA_CA_CERTS": certificate, "HOME": str(place)}
            finally:
                server.terminate()


def answer(query: bytes) -> bytes:
    """To whoever asks for an address of the fourth version: our own. Of all else there is nothing."""
    end = query.index(b"\0", 12) + 5  # of the question: its name, its type, its class
    found = b""
    if query[end - 4 : end - 2] == b"\0\1":
        found = struct.pack("!HHHIH", 0xC00C, 1, 1, 60, len(ADDRESS)) + ADDRESS
    return query[:2] + struct.pack("!HHHHH", 0x8180, 1, bool(found), 0, 0) + query[12:end] + found


def serve() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as names:
        ioctl(names, SET_FLAGS, struct.pack("16sh14x", b"lo", UP))
        names.bind(("127.0.0.1", 53))
        print("ready", flush=True)
        while sys.stdin not in select.select([names, sys.stdin], [], [])[0]:  # which ends with whoever has started us
            query, client = names.recvfrom(512)
            names.sendto(answer(query), client)


if __name__ == "__main__":
    serve()
