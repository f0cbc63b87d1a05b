"""Nullspace's clients in the scenario that all doors are compared by."""

from __future__ import annotations

from typing import Any

from contract_scenario import Door, Ended, See, main
from nullspace import AsyncMachine, Machine


class Nullspace(Door):
    async def __aenter__(self) -> Door:
        self.api: Any = Machine if self.kind == "sync" else AsyncMachine
        self.machine = await self.call(self.api.create)
        self.commands = self.machine.commands
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.call(self.machine.kill)

    async def run(self, text: str, timeout: int | None = None) -> Ended:
        found = await self.call(self.commands.run, text, shell=True, timeout=timeout or 30)
        return Ended(found.stdout, found.stderr, found.exit_code)

    async def stream(self, text: str, see: See) -> int:
        options = {"on_stdout": lambda piece: see("stdout", piece), "on_stderr": lambda piece: see("stderr", piece)}
        found = await self.call(self.commands.run_streaming, text, shell=True, timeout=300, **options)
        return int(found.exit_code)

    async def start(self, text: str) -> Any:
        return await self.call(self.commands.run, text, shell=True, background=True)

    async def wait(self, command: Any) -> Ended:
        found = await self.call(command.wait)
        return Ended(found.stdout, found.stderr, found.exit_code)

    async def logs(self, command: Any) -> tuple[str, str]:
        found = await self.call(self.commands.get_logs, command.pid)
        return found.stdout, found.stderr

    async def kill(self, command: Any) -> None:
        await self.call(self.commands.kill, command.pid)

    async def feed(self, text: str, lines: list[str]) -> Ended:
        command = await self.start(text)
        for line in lines:
            await self.call(self.commands.send_stdin, command.pid, line)
        return await self.wait(command)

    async def ask_for_nobody(self) -> None:
        await self.call(self.commands.get_logs, 999)

    async def ask_for_nowhere(self) -> None:
        await self.call(self.api.connect, "mch_nowhere")


if __name__ == "__main__":
    main(Nullspace)
