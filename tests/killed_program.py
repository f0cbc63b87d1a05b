"""A program that has an engine and is killed: nothing of Python's runs any more, and nothing is closed."""

from __future__ import annotations

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
    with open(root.parent / "printed", "wb") as printed:  # no pipe: what it leaves behind would keep that open
        process = await trio.lowlevel.open_process([sys.executable, "-c", text], stdout=printed)
        try:
            with trio.fail_after(30):
                assert await process.wait() == -9
        finally:
            process.kill()
    return (root.parent / "printed").read_text().split()
