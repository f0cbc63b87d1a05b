"""The server of a root: whether there is one, and how to get one. It is started once, however many ask for it at the same time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..errors import Broken, Conflict
from .place import Place

START_SECONDS: Final = 30.0
"""For a loaded machine: it takes half a second."""
AFTER_END_SECONDS: Final = 2.0
"""One that ended at once may have lost to another, which will answer soon."""
FIRST_LOOK_SECONDS: Final = 0.01
LARGEST_LOG_BYTES: Final = 4 << 20
SHOWN_BYTES: Final = 2000
LOG: Final = "serve.log"
STARTING_LOCK: Final = "serve.starting"
MARKS: Final = ("SESSIONS_SESSION_ID", "SESSIONS_COMMAND_ID")
"""A server that is started from inside of a session must not end with it."""


def answers(path: Path) -> bool:
    """Whether a server listens on this socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except BlockingIOError:
            return True  # so busy that its backlog is full
        except OSError:
            return False
    return True


def ensure_server(place: Place) -> None:
    """Start the root's server unless there is one, and wait until it answers. A server that was named by its URL is never started."""
    if place.url is not None or answers(place.socket):
        return
    try:
        place.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if place.root.stat().st_uid != os.geteuid():
            # As with sudo: what we leave there would lock its owner out, and he would run commands as us.
            raise Conflict(f"the root {place.root} belongs to another user: choose your own with --root")
        with one_at_a_time(place.root / STARTING_LOCK):
            if not answers(place.socket):
                start(place)
    except OSError as error:
        raise Broken(f"no server can be started for {place.root}: {error}") from error


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """The server's own lock decides who serves; this one spares ten callers at once the start of ten programs."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def start(place: Place) -> None:
    log = os.open(place.root / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(log).st_size > LARGEST_LOG_BYTES:
            os.ftruncate(log, 0)
        before = os.fstat(log).st_size
        server = subprocess.Popen(
            [sys.executable, "-P", "-m", "sessions", "--root", str(place.root), "serve"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={name: value for name, value in os.environ.items() if name not in MARKS},
            start_new_session=True,
        )
    finally:
        os.close(log)
    deadline = time.monotonic() + START_SECONDS
    pause = FIRST_LOOK_SECONDS
    ended = False
    while not answers(place.socket):
        if not ended and server.poll() is not None:
            ended = True
            deadline = min(deadline, time.monotonic() + AFTER_END_SECONDS)
        if time.monotonic() > deadline:
            raise Broken(failure(place.root / LOG, before))
        time.sleep(pause)
        pause = min(2 * pause, 0.05)


def failure(log: Path, begin: int) -> str:
    """What to say of a server that doesn't come up: the last line that it wrote itself."""
    with open(log, "rb") as file:
        file.seek(max(begin, os.fstat(file.fileno()).st_size - SHOWN_BYTES))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    last = lines[-1].removeprefix("error: ") if lines else "it said nothing"
    return f"the server that was started does not answer: {last} (its log: {log}); `sessions doctor` may tell more"
