"""Commands of the Nullspace dialect over HTTP: waited for, or left to work.

A client waits for half a minute or for two before it gives up, whatever time its command may take. So a command that takes
longer is answered with 200 before it is over, and with white space until then. One that exceeds its time in the meantime
ends with 124 and all its output; else it is an error, as it is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

import trio
from starlette.types import ASGIApp

from ...command import Command
from ..endings import finish
from ..kept_alive import KeptAlive
from ..outcomes import told_exit_code
from ..requests import json_response
from .errors import Refusal
from .machines import PROOF
from .processes import SILENCE_SECONDS, read_timeout, start
from .routing import Call, Row
from .texts import log_pieces

PATIENCE_SECONDS: Final = 20.0
"""How long all clients wait in silence, and somewhat less."""
CREATOR_PATIENCE_SECONDS: Final = 100.0
"""The same of those who have made the machine themselves."""


async def execute(call: Call) -> ASGIApp:
    machine, fields = await call.awake(), call.body
    if fields.flag("background"):
        pid, _ = await start(machine, fields, timeout=None, stdin=True)
        return json_response({"pid": pid})
    timeout = read_timeout(fields)
    pid, command = await start(machine, fields, timeout=timeout, stdin=False)
    patience = CREATOR_PATIENCE_SECONDS if PROOF.lower() in call.headers else PATIENCE_SECONDS
    until = trio.current_time() + patience
    await call.streams.wait_aloud(partial(finish, command), trio.lowlevel.checkpoint, until)
    if command.state == "finished" and command.reason == "timeout":
        message = f"it ran for more than {timeout:g} s and was killed; its output is in the logs of process {pid}"
        raise Refusal(504, "exec_timeout", message, {"pid": pid})
    return KeptAlive(call.streams, partial(finish, command), partial(result, pid, command), SILENCE_SECONDS)


def result(pid: int, command: Command) -> Iterator[bytes]:
    facts = {"exit_code": told_exit_code(command), "pid": pid}
    return log_pieces(command.archive, command.info, ("stdout", "stderr"), facts)


ROWS: Final = [Row("POST", "/v1/machines/{machine}/exec", execute, waits=True)]
