"""Declaw's clients in the scenario that all doors are compared by."""

from __future__ import annotations

import codecs
from typing import Any

from contract_scenario import Door, Ended, See, main
from declaw import AsyncSandbox, CommandExitException, Sandbox


class Declaw(Door):
    async def __aenter__(self) -> Door:
        self.api: Any = Sandbox if self.kind == "sync" else AsyncSandbox
        self.sandbox = await self.call(self.api.create)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.call(self.sandbox.kill, wait=True)

    def method(self, sync: str, other: str) -> Any:
        return getattr(self.sandbox.commands, sync) if self.kind == "sync" else getattr(self.sandbox, other)

    async def run(self, text: str, timeout: int | None = None) -> Ended:
        found = await self.call(self.method("run", "run_command"), text, timeout=timeout)
        return Ended(found.stdout, found.stderr, found.exit_code)

    async def stream(self, text: str, see: See) -> int:
        if self.kind == "sync":
            options = {"on_stdout": lambda piece: see("stdout", piece), "on_stderr": lambda piece: see("stderr", piece)}
            return int((await self.call(self.sandbox.commands.run_stream, text, timeout=300, **options)).exit_code)
        # Only the blocking client has it; this one has processes, whose bytes are as they were written.
        process = await self.sandbox.stdio.start(text)
        decoders = {name: codecs.getincrementaldecoder("utf-8")("replace") for name in ("stdout", "stderr")}
        async for stream, data in process:
            see(stream, decoders[stream].decode(data))
        return int(process.exit_code)

    async def start(self, text: str, **options: Any) -> Any:
        handle = await self.call(self.method("run", "run_command"), text, background=True, timeout=None, **options)
        return handle.pid

    async def wait(self, command: Any) -> Ended:
        handle = self.method("connect", "connect_command")(command)
        try:
            found = await self.call(handle.wait)
        except CommandExitException as error:
            found = error
        return Ended(found.stdout, found.stderr, found.exit_code)

    async def logs(self, command: Any) -> tuple[str, str]:
        found = await self.wait(command)  # as often as one likes
        return found.stdout, found.stderr

    async def kill(self, command: Any) -> None:
        assert await self.call(self.method("kill", "kill_command"), command)

    async def feed(self, text: str, lines: list[str]) -> Ended:
        if self.kind == "sync":
            command = await self.start(text, stdin=True)
            for line in lines:
                await self.call(self.sandbox.commands.send_stdin, command, line)
            return await self.wait(command)
        process = await self.sandbox.stdio.start(text)  # the only ones with an input in this client
        for line in lines:
            await process.send_stdin(line)
        found = {"stdout": b"", "stderr": b""}
        async for stream, data in process:
            found[stream] += data
        return Ended(found["stdout"].decode(), found["stderr"].decode(), process.exit_code)

    async def ask_for_nobody(self) -> None:
        await self.wait(10**6)

    async def ask_for_nowhere(self) -> None:
        await self.call(self.api.connect, "sbx-00000000")


if __name__ == "__main__":
    main(Declaw)
