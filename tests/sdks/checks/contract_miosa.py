"""Miosa's clients in the scenario that all doors are compared by."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

from contract_scenario import Door, Ended, See, main
from miosa import AsyncMiosa, Miosa

warnings.simplefilter("ignore")


class MiosaDoor(Door):
    async def __aenter__(self) -> Door:
        self.miosa: Any = Miosa() if self.kind == "sync" else AsyncMiosa()
        self.sandbox = await self.call(self.miosa.sandboxes.create)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.call(self.sandbox.destroy)
        await self.call(self.miosa.close)

    async def run(self, text: str, timeout: int | None = None) -> Ended:
        found = await self.call(self.sandbox.exec.run, text, {"timeout": timeout} if timeout else {})
        return Ended(found.stdout, found.stderr, found.exit_code)

    async def stream(self, text: str, see: See) -> int:
        codes = []

        def hear(event: Any) -> None:
            if event.type in ("stdout", "stderr"):
                see(event.type, event.data["line"])
            else:
                codes.append(event.data["exit_code"])

        await self.each(self.sandbox.exec_stream, (text, {"timeout": 300}), hear)
        (code,) = codes
        return int(code)

    async def each(self, method: Any, arguments: tuple[Any, ...], hear: Any) -> None:
        """Hear of all that a stream tells."""
        if self.kind == "sync":
            await asyncio.to_thread(lambda: [hear(event) for event in method(*arguments)])
            return
        found = method(*arguments)
        async for event in await found if asyncio.iscoroutine(found) else found:
            hear(event)

    async def start(self, text: str) -> Any:
        return (await self.call(self.miosa.commands.run, self.sandbox.id, text, detached=True))["pid"]

    async def wait(self, command: Any) -> Ended:
        await self.each(self.sandbox.processes.stream, (command,), lambda event: None)
        code = (await self.call(self.miosa.commands.get, self.sandbox.id, command))["exit_code"]
        return Ended(*await self.logs(command), code)

    async def logs(self, command: Any) -> tuple[str, str]:
        found = await self.call(self.miosa.commands.logs, self.sandbox.id, command)
        return found["stdout"], found["stderr"]

    async def kill(self, command: Any) -> None:
        await self.call(self.miosa.commands.kill, self.sandbox.id, command)

    async def feed(self, text: str, lines: list[str]) -> Ended:
        if self.kind == "sync":  # it says all at the beginning
            found = await self.call(self.miosa.commands.run, self.sandbox.id, text, stdin="".join(lines))
            return Ended(found["stdout"], found["stderr"], found["exit_code"])
        computer = await self.miosa.computers.create(name="typed-to")
        process = await computer.exec.spawn(text)
        for line in lines:
            await process.write(line)
        out = "".join([piece async for piece in process.stdout()])
        err = "".join([piece async for piece in process.stderr()])
        code = await process.wait()
        await computer.destroy()
        return Ended(out, err, code)

    async def ask_for_nobody(self) -> None:
        await self.call(self.sandbox.processes.get, 999)

    async def ask_for_nowhere(self) -> None:
        await self.call(self.miosa.sandboxes.get, "nowhere")


if __name__ == "__main__":
    main(MiosaDoor)
