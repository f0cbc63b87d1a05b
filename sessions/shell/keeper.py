"""The engine's side of the keeper process, which forks the shells and ends whatever is left; see `keeper_program`."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import trio

from ..errors import Broken
from ..threads import run_in_thread
from . import keeper_program
from .poller import Poller

PATIENCE_SECONDS: Final = 1.0
"""An answer takes a few ms, if nobody stops the keeper meanwhile."""


class Keeper:
    """Starts the keeper process when the first shell is wanted, and another one should it die."""

    def __init__(self, poller: Poller, run_directory: Path) -> None:
        self._poller = poller
        self._run_directory = run_directory
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._requests = 0
        self._sending = trio.Lock()
        self._waiting: dict[int, tuple[trio.MemorySendChannel[dict[str, Any]], Callable[[int], None]]] = {}
        self._on_exit: dict[int, Callable[[int], None]] = {}
        self._on_orphan_exit: dict[int, Callable[[int], None]] = {}

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def spawn(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str,
        stdin: int,
        on_exit: Callable[[int], None],
        *,
        terminal: bool = False,
    ) -> int:
        """Start a shell in a session (setsid) of its own; its pid. `stdin` is a descriptor, ours to close.

        With `terminal` it is a terminal's: the program gets it as stdin, stdout, stderr and controlling terminal.

        `on_exit` is called with the exit code, 128 + n for signal n. Raises `OSError` if it can't be started. Whoever is
        cancelled while it is being started gets it all the same.
        """
        channel = self._channel or self._start()
        self._requests += 1
        number = self._requests
        file = self._run_directory / f"spawn{number}"
        shell = {
            "argv": list(argv),
            "env": dict(env),
            "cwd": cwd,
            "terminal": terminal,
            "fallback": find_program(argv[0]),
        }
        file.write_text(json.dumps(shell))
        send, receive = trio.open_memory_channel[dict[str, Any]](1)
        self._waiting[number] = send, on_exit
        self.proceed()
        try:
            message = json.dumps({"spawn": number, "file": str(file)}).encode()
            async with self._sending:
                while True:
                    try:
                        socket.send_fds(channel, [message], [stdin])
                        break
                    except BlockingIOError:  # hundreds of shells are being opened at once
                        await trio.lowlevel.wait_writable(channel)
            # Nobody may be cancelled now: the process would run on, and nobody know it.
            with trio.CancelScope(shield=True):
                answer = await self._answer(receive)
        except (OSError, trio.EndOfChannel, trio.ClosedResourceError) as error:
            raise Broken(f"the keeper process of this engine has gone ({error}): try again") from error
        finally:
            del self._waiting[number]
            file.unlink(missing_ok=True)  # it holds an environment; the keeper has not come to remove it
        if "error" in answer:
            raise OSError(answer["error"])
        pid: int = answer["pid"]
        return pid

    async def _answer(self, receive: trio.MemoryReceiveChannel[dict[str, Any]]) -> dict[str, Any]:
        while True:
            with trio.move_on_after(PATIENCE_SECONDS):
                return await receive.receive()
            self.proceed()

    def proceed(self) -> None:
        """Continue the keeper, if a command has stopped it: it would start no shell, and tell of no shell's end."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def expect(self, pid: int, on_exit: Callable[[int], None]) -> None:
        """Call `on_exit` with the exit code should this process be orphaned and end."""
        self._on_orphan_exit[pid] = on_exit

    def forget(self, pid: int) -> None:
        self._on_orphan_exit.pop(pid, None)

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", keeper_program.__file__, str(theirs.fileno()), str(self._run_directory)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        ours.setblocking(False)
        self._channel = ours
        self._poller.watch(ours.fileno(), self._receive)
        return ours

    def _receive(self) -> None:
        assert self._channel is not None
        while True:
            try:
                message = self._channel.recv(4096)
            except BlockingIOError:
                return
            except ConnectionError:
                message = b""
            if not message:
                self._lost()
                return
            answer = json.loads(message)
            if "exited" in answer:
                pid = answer["exited"]
                on_exit = self._on_exit.pop(pid, None) or self._on_orphan_exit.pop(pid, None)
                if on_exit is not None:
                    on_exit(exit_code_of(answer["status"]))
            else:
                waiting = self._waiting.get(answer.get("spawned") or answer.get("failed"))
                if waiting is not None:
                    answered, on_exit = waiting
                    if "pid" in answer:
                        self._on_exit[answer["pid"]] = on_exit  # now: its end may be the next message
                    answered.send_nowait(answer)

    def _lost(self) -> None:
        """The keeper died (killed from outside). The kernel kills its shells with it."""
        assert self._channel is not None
        self._poller.forget(self._channel.fileno())
        trio.lowlevel.notify_closing(self._channel)  # somebody may wait for room in it
        self._channel.close()
        self._channel = None
        if self._process is not None:
            self._process.wait()
            self._process = None
        for answered, _ in self._waiting.values():
            answered.close()
        shells, self._on_exit = self._on_exit, {}
        for on_exit in shells.values():
            on_exit(137)

    def abandon(self) -> None:
        """Nobody hears it any more: let it end all that it keeps, now, and refuse whoever wants a shell. `close` it all the same."""
        if self._channel is not None:
            with contextlib.suppress(OSError):
                self._channel.shutdown(socket.SHUT_RDWR)
        for answered, _ in self._waiting.values():
            answered.close()

    def let_go(self) -> None:
        """In a forked child: close our copy of the socket."""
        if self._channel is not None:
            os.close(self._channel.detach())
            self._channel = None

    async def close(self) -> None:
        """End the keeper, and with it every process that was started through it."""
        channel, process = self._channel, self._process
        if channel is None or process is None:
            return
        self._channel = self._process = None
        self._poller.forget(channel.fileno())
        channel.close()
        for answered, _ in self._waiting.values():
            answered.close()
        ended = False
        while not ended:
            process.send_signal(signal.SIGCONT)  # a command may have stopped it, and may do so again
            try:
                ended = await run_in_thread(wait_a_second, process)
            except RuntimeError:  # there may be no more threads
                await trio.sleep(0.01)
                ended = process.poll() is not None


def find_program(name: str) -> str | None:
    """A program on our path, for a shell whose own path has none of this name."""
    found = shutil.which(name)
    return os.path.abspath(found) if found else None


def wait_a_second(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1)
    return process.returncode is not None


def exit_code_of(status: int) -> int:
    """A shell's exit code from a wait status."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
