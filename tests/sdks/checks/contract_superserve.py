"""Superserve's clients in the scenario that all doors are compared by."""

from __future__ import annotations

from typing import Any

from contract_scenario import Door, Ended, NoCall, See, main
from superserve import AsyncSandbox, Sandbox


class Superserve(Door):
    async def __aenter__(self) -> Door:
        self.api: Any = Sandbox if self.kind == "sync" else AsyncSandbox
        self.sandbox = await self.call(self.api.create, name="compared")
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.call(self.sandbox.kill)

    async def run(self, text: str, timeout: int | None = None) -> Ended:
        found = await self.call(self.sandbox.commands.run, text, timeout_seconds=timeout)
        return Ended(found.stdout, found.stderr, found.exit_code)

    async def stream(self, text: str, see: See) -> int:
        options = {"on_stdout": lambda piece: see("stdout", piece), "on_stderr": lambda piece: see("stderr", piece)}
        found = await self.call(self.sandbox.commands.run, text, timeout_seconds=300, **options)
        return int(found.exit_code)

    async def start(self, text: str) -> Any:
        return await self.call(self.sandbox.commands.spawn, text)

    async def wait(self, command: Any) -> Ended:
        found = await command.wait()
        return Ended(found.stdout, found.stderr, found.exit_code)

    async def logs(self, command: Any) -> tuple[str, str]:
        raise NoCall

    async def kill(self, command: Any) -> None:
        await command.kill("SIGKILL")

    async def feed(self, text: str, lines: list[str]) -> Ended:
        command = await self.start(text)
        for line in lines:
            await command.stdin.write(line)
        return await self.wait(command)

    async def ask_for_nobody(self) -> None:
        raise NoCall

    async def ask_for_nowhere(self) -> None:
        await self.call(self.api.connect, "00000000-0000-4000-8000-000000000000")


if __name__ == "__main__":
    main(Superserve)
