"""What `CommandFailed` says."""

from __future__ import annotations

from typing import Final

from .models import Result

SHOWN_BYTES: Final = 2000
"""How much of the end of its output it shows."""


def failure(result: Result) -> str:
    command = result.command
    text = command.text if len(command.text) <= 200 else command.text[:200] + "..."
    end = result.logs.output[-SHOWN_BYTES:].decode("utf-8", "replace").rstrip()
    how = (
        f"exit code {command.exit_code}"
        if command.reason == "exit"
        else f"{command.reason}, exit code {command.exit_code}"
    )
    return f"command {command.id} failed ({how}): {text}" + (f"\n{end}" if end else "")
