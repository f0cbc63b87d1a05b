"""`sessions send`: to a command's stdin."""

from __future__ import annotations

import os

import click

from .kinds import commands_here
from .outlets import is_terminal
from .place import Place

INPUT_BYTES = 65536


@click.command("send")
@click.argument("command", shell_complete=commands_here)
@click.argument("text", required=False)
@click.option("-n", "--no-newline", is_flag=True, help="Send TEXT as it is; else a newline follows it.")
@click.option("--close", is_flag=True, help="End its stdin afterwards.")
@click.pass_obj
def send(place: Place, /, command: str, text: str | None, no_newline: bool, close: bool) -> None:
    """Write TEXT and a newline to the stdin of COMMAND, or without TEXT, our stdin up to its end.

    The command must have been started with --stdin. Returns when all is written: a command that doesn't read is waited for.
    """
    import trio

    if text is None and close and is_terminal(0):
        data: bytes | None = b""  # nothing but the end
    else:
        data = None if text is None else (text + ("" if no_newline else "\n")).encode("utf-8", "surrogateescape")
    trio.run(send_to, place, command, data, close)


async def send_to(place: Place, text: str, data: bytes | None, close: bool) -> None:
    import trio

    from .finding import find_command
    from .reaching import acting_on

    async with acting_on(place) as host:
        command = await find_command(host, text)
        if data is not None:
            if data:
                await command.send_input(data)
        else:
            while piece := await trio.to_thread.run_sync(os.read, 0, INPUT_BYTES, abandon_on_cancel=True):
                await command.send_input(piece)
        if close:
            await command.close_input()
