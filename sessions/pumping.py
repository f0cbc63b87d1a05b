"""From the pipes of a session's commands into its log: a read and a record for what a pipe has whenever it is ready."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import trio

from .recorder import Recorder
from .running import RunningCommand
from .shell.pipes import BIG_PIPE_BYTES, OutputPipe, unread_bytes
from .shell.poller import Poller
from .shell.pseudoterminal import Screen


class Pump:
    """Reads the pipes of one session's commands whenever they are ready."""

    def __init__(
        self, poller: Poller, buffer: bytearray, recorder: Recorder, on_end: Callable[[RunningCommand], None]
    ) -> None:
        self._poller = poller
        self._buffer = buffer
        self._recorder = recorder
        self._on_end = on_end
        self._watched: set[int] = set()

    def watch(self, command: RunningCommand) -> None:
        for kind, pipe in self._as_written(command):
            if pipe.descriptor in self._watched:
                continue
            self._watched.add(pipe.descriptor)
            self._poller.watch(pipe.descriptor, partial(self._read_on, command, kind, pipe))

    def pause(self, commands: Iterable[RunningCommand]) -> None:
        """Leave these commands' pipes alone: they fill, and the commands wait."""
        for command in commands:
            for _, pipe in self._as_written(command):
                if pipe.descriptor in self._watched:
                    self._watched.discard(pipe.descriptor)
                    self._poller.rest(pipe.descriptor)

    def _forget(self, pipe: OutputPipe | Screen) -> None:
        if pipe.descriptor in self._watched:
            self._watched.discard(pipe.descriptor)
            self._poller.forget(pipe.descriptor)

    def _read_on(self, command: RunningCommand, kind: int, pipe: OutputPipe | Screen) -> None:
        """Log what a pipe has now, but no more than it can hold: other pipes wait.

        It may have more after a read that took all it could. To ask the poller first made 1.5 GB, in reads of 256 KiB, take a
        sixth longer.
        """
        total = 0
        while total < BIG_PIPE_BYTES and self._read(command, kind, pipe) == len(self._buffer):
            total += len(self._buffer)
            if pipe.descriptor not in self._watched:  # the log can't be written
                break

    def _read(self, command: RunningCommand, kind: int, pipe: OutputPipe | Screen) -> int | None:
        """Log what a pipe has now; how much that was, 0 at its end. Calls `on_end` when a command's last pipe has ended."""
        size = pipe.read_into(self._buffer)
        if size:
            command.last_output_at = trio.current_time()
            with memoryview(self._buffer) as view, view[:size] as data:
                self._recorder.log(command, kind, data)
        elif size == 0:
            self._close(command, kind, pipe)
            if not command.pipes:
                self._on_end(command)
        return size

    def _close(self, command: RunningCommand, kind: int, pipe: OutputPipe | Screen) -> None:
        self._forget(pipe)
        pipe.close()
        del command.pipes[kind]

    def drain(self, command: RunningCommand) -> None:
        """Log all that was written before now.

        A pipe holds no more than its size, so this comes to an end even if a grandchild goes on writing.
        """
        for kind, pipe in self._as_written(command):
            total = 0
            while total < BIG_PIPE_BYTES and (size := self._read(command, kind, pipe)):
                total += size

    def _as_written(self, command: RunningCommand) -> list[tuple[int, OutputPipe | Screen]]:
        """Its pipes, in the order in which something was written to them."""
        pipes = list(command.pipes.items())
        if len(pipes) > 1 and all(unread_bytes(pipe.descriptor) for _, pipe in pipes):
            places = {descriptor: place for place, descriptor in enumerate(self._poller.ready())}
            pipes.sort(key=lambda item: places.get(item[1].descriptor, 0))
        return pipes

    def close(self, command: RunningCommand) -> None:
        """Log what is there and listen no more."""
        self.drain(command)
        for kind, pipe in list(command.pipes.items()):
            self._close(command, kind, pipe)
