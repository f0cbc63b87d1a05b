"""Input that shows in a command's log, as what is typed shows on a terminal."""

from __future__ import annotations

from .command import Command
from .store.records import STDOUT


def echo(command: Command, data: bytes) -> None:
    """Log `data` as if the command had written it to its stdout. Nothing happens once it is over."""
    live = command.archive.live.get(command.session_id)
    running = command.archive.running(command.id)
    if live is not None and running is not None and not running.is_over:
        with memoryview(data) as view:
            live.recorder.log(running, STDOUT, view)
