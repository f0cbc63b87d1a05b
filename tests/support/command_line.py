"""The command line for tests: real processes on a root of their own, and the proof that nothing is left of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from conftest import leftovers

from sessions.store.catalog import Catalog

PROGRAM = [sys.executable, "-m", "sessions"]
SECONDS = 60


class CommandLine:
    """Calls `sessions` for one root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        hidden = ("SESSIONS_", "XDG_", "NO_COLOR", "_SESSIONS", "COLUMNS", "LINES")
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        self.environ |= {"SESSIONS_HOME": str(root)}
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str, env: Mapping[str, str] | None = None, **options: Any) -> subprocess.Popen[bytes]:
        """A call that goes on beside the test. The streams that are not told are pipes."""
        # Without a buffer, so that communicate() finds all that readline() has not returned.
        streams: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "bufsize": 0,
        }
        return self.spawn([*PROGRAM, *arguments], env=self.environ | (env or {}), **(streams | options))

    def spawn(self, words: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        """Another program, in the same environment."""
        process = subprocess.Popen(words, **({"env": self.environ} | options))
        self._started.append(process)
        return process

    def end_calls(self) -> None:
        """Those that a test has not waited for."""
        for process in self._started:
            process.kill()
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()

    def call(
        self, *arguments: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A call to its end; what it wrote as text."""
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        done = subprocess.run(
            [*PROGRAM, *arguments],
            env=self.environ | (env or {}),
            cwd=cwd,
            capture_output=True,
            timeout=SECONDS,
            **given,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        )

    def tell(self, *arguments: str, **options: Any) -> str:
        """What a call that succeeds prints, without the end of the last line."""
        done = self.call(*arguments, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout.removesuffix("\n")

    def listing(self, *arguments: str) -> Any:
        return json.loads(self.tell(arguments[0], "--json", *arguments[1:]))

    def command(self, command_id: str) -> Any:
        return next(found for found in self.listing("ps", "--all") if found["id"] == command_id)

    def wait_until_running(self, session: str) -> str:
        """The id of the command that runs in this session."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            if (self.root / "serve.sock").exists():
                found = self.call("ps", "--session", session, "--state", "running", "-q")
                if found.stdout.strip():
                    return found.stdout.strip()
            time.sleep(0.02)
        raise AssertionError(f"nothing runs in session {session}")

    @property
    def server_pid(self) -> int | None:
        try:
            return int(json.loads((self.root / "serve.lock").read_text())["pid"])
        except (OSError, ValueError):
            return None

    def stop_server(self, number: int = signal.SIGTERM) -> None:
        pid = self.server_pid
        if pid is not None and psutil.pid_exists(pid):
            server = psutil.Process(pid)
            server.send_signal(number)
            deadline = time.monotonic() + SECONDS
            # Whoever has become its parent may take its time to collect it.
            while server.is_running() and server.status() != psutil.STATUS_ZOMBIE:
                assert time.monotonic() < deadline, "the server does not end"
                time.sleep(0.01)

    def session_ids(self) -> set[str]:
        if not (self.root / "sessions").exists():
            return set()
        catalog = Catalog(self.root / "catalog.sqlite3")
        try:
            return {info.id for info in catalog.list_sessions()}
        finally:
            catalog.close()


@contextmanager
def command_line(root: Path) -> Iterator[CommandLine]:
    """For the block; then the server that it has started is ended, and no process of its sessions is left."""
    cli = CommandLine(root)
    try:
        yield cli
    finally:
        cli.end_calls()
        cli.stop_server()
    assert leftovers(cli.session_ids()) == []


def read_line(process: subprocess.Popen[bytes], name: str = "stdout") -> bytes:
    """The next line that it writes; the test's own timeout ends a wait in vain."""
    stream = getattr(process, name)
    line: bytes = stream.readline()
    return line
