"""A program that has an engine and is killed: nothing of Python's runs any more, and nothing is closed."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path

import trio

PROGRAM = """
import os, signal, time, trio, sessions

async def main():
    async with sessions.open_engine({root!r}) as engine:
{body}
        os.kill(os.getpid(), signal.SIGKILL)

trio.run(main)
"""


async def killed_program(root: Path, body: str) -> list[str]:
    """Runs `body`, statements that use ``engine``, in a program that is killed behind them; the words that it printed."""
    text = PROGRAM.format(root=str(root), body=textwrap.indent(textwrap.dedent(body), " " * 8))
    printed = root.parent / "printed"  # no pipe: what the program leaves behind would keep that open
    descriptor = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC)
    try:
        process = await trio.lowlevel.open_process([sys.executable, "-P", "-c", text], stdout=descriptor)
    finally:
        os.close(descriptor)
    try:
        with trio.fail_after(30):
            assert await process.wait() == -9
    finally:
        process.kill()
    return printed.read_text().split()
