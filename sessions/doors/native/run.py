"""The native door's way to run commands: started and left to work (202), or waited for (200).

The answer to a waited run is one JSON object that begins at once with the command's id, so that a client whose connection
dies knows what to ask for; then white space while there is nothing to tell; then all the rest.
"""

from __future__ import annotations

from typing import Any, Final

import attrs
import trio
from starlette.types import ASGIApp, Receive, Scope, Send

from ...command import Command
from ...errors import SessionsError
from ...models import Logs
from ...reading_logs import read_logs_beside
from ...selection import Selection
from ...session import Session
from ...wire import CommandView, SubmitCommand, WrongField, to_wire
from ..open_streams import Streams
from ..operations import Call, Disconnected, Operation, while_connected
from ..requests import error_json, json_response, read_base64, to_bytes, to_json
from .commands import encode, view
from .sessions import find_session

INLINE_BYTES: Final = 8 << 20
"""More output than this is not part of the answer."""


@attrs.frozen(kw_only=True)
class CommandResult(CommandView):
    """The answer to a waited run."""

    restarted: bool
    """The shell is a fresh one since the result before."""
    shell_ended: bool
    """This command ended its session's shell."""
    omitted: bool
    """There is more output than an answer carries: the next three are null."""
    stdout: str | None
    stderr: str | None
    output: str | None


async def submit(call: Call) -> ASGIApp:
    asked: SubmitCommand = call.body
    if asked.stdin_base64 is not None and asked.stdin is not False:
        raise WrongField("give stdin or stdin_base64, not both", "$.stdin_base64")
    if not asked.run_async and asked.detach:
        raise WrongField("needs run_async: true", "$.detach")
    if asked.run_async and asked.on_disconnect != "continue":
        raise WrongField("goes with commands that are waited for: leave out run_async", "$.on_disconnect")
    stdin = asked.stdin if asked.stdin_base64 is None else read_base64(asked.stdin_base64, "$.stdin_base64")
    session = await find_session(call)
    command = await session.run_async(
        asked.command,
        in_shell=asked.in_shell or not asked.run_async,
        stdin=stdin,
        timeout=asked.timeout,
        idle_timeout=asked.idle_timeout,
        env=asked.env,
        cwd=asked.cwd,
        labels=asked.labels,
        detach=asked.detach,
    )
    headers = {"Location": f"{call.base}/commands/{command.id}", "Sessions-Command-Id": command.id}
    if asked.run_async:
        return json_response(view(command), 202, headers)
    return WaitedRun(call.streams, session, command, headers, asked)


class WaitedRun:
    """Tells a command's id at once, and the rest when it is over."""

    def __init__(
        self, streams: Streams, session: Session, command: Command, headers: dict[str, str], asked: SubmitCommand
    ) -> None:
        self._streams = streams
        self._command = command
        self._archive = session.archive
        self._live = session.archive.live.get(session.id)
        self._running = session.archive.running(command.id)
        self._headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self._asked = asked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def say(text: bytes = b" ", more: bool = True) -> None:
            await send({"type": "http.response.body", "body": text, "more_body": more})

        async def tell() -> None:
            headers = [(b"content-type", b"application/json"), *self._headers]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await say(b'{"id":"%s",' % self._command.id.encode())
            try:
                await self._streams.wait_aloud(self._command.wait, say)
                parts = await self._parts()
            except SessionsError as error:
                parts = [error_json(error)[1:]]
            for part in parts[:-1]:
                await say(to_bytes(part))
            await say(to_bytes(parts[-1] + "\n"), more=False)

        try:
            await while_connected(receive, tell)
        except Disconnected:
            # Of one that is finished, a kill would end what it left behind.
            if self._asked.on_disconnect == "interrupt" and self._command.state != "finished":
                with trio.CancelScope(shield=True):
                    await self._command.kill()

    async def _parts(self) -> list[str]:
        """The answer but for its beginning."""
        command = self._command
        fields: dict[str, Any] = to_wire(view(command))
        del fields["id"]
        fields["restarted"] = self._live is not None and self._live.restarted
        if self._live is not None:
            self._live.restarted = False
        fields["shell_ended"] = self._running is not None and self._running.ended_shell
        fields["omitted"] = command.size_bytes > INLINE_BYTES
        logs = Logs(b"", b"", b"")
        if command.size_bytes and not fields["omitted"]:
            logs = await read_logs_beside(self._archive, command.info, Selection())
        parts = [to_json(fields)[1:-1]]
        for name in ("stdout", "stderr", "output"):
            told = None if fields["omitted"] else encode(getattr(logs, name), self._asked.encoding)
            parts.append(f',"{name}":{to_json(told)}')
        parts[-1] += "}"
        return parts


OPERATIONS: Final = [
    Operation(
        method="POST",
        path="/sessions/{session}/commands",
        summary="Run shell text in a session: wait for its end (200), or leave it to work (202).",
        answer=submit,
        body=SubmitCommand,
        result=CommandResult,
        also={202: CommandView},
    ),
]
