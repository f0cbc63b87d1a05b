"""Input that shows in a command's log, as what is typed shows on a terminal."""

from __future__ import annotations

from .command import Command
from .store.records import STDOUT


async def send_and_echo(command: Command, data: bytes) -> None:
    """As `Command.send_input`. What the command takes is logged as if it had written it to its stdout, before what it answers."""
    live = command.archive.live.get(command.session_id)
    running = command.archive.running(command.id)
    if live is None or running is None or running.input is None or running.is_over:
        await command.send_input(data)  # which says why it can't be
        return
    recorder = live.recorder
    await running.input.send(data, f"command {command.id}", lambda part: recorder.log(running, STDOUT, part))
