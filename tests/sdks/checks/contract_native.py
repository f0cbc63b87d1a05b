"""Our own clients in the scenario that all doors are compared by."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from contract_scenario import Door, Ended, See, main

import sessions
from sessions import blocking


class Native(Door):
    # `run` returns when the shell is free again; what the command left beside it has its grace.
    tells_when_all_is_over = False

    async def __aenter__(self) -> Door:
        url, token = os.environ["CONTRACT_URL"], os.environ["CONTRACT_TOKEN"]
        self.client: Any = (blocking if self.kind == "sync" else sessions).connect(url, token=token)
        self.session = await self.call(self.client.create_session)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.call(self.session.close)
        await self.call(self.client.close)

    async def run(self, text: str, timeout: int | None = None) -> Ended:
        found = await self.call(self.session.run, text, timeout=timeout)
        return Ended(found.stdout, found.stderr, found.exit_code)

    async def stream(self, text: str, see: See) -> int:
        command = await self.start(text)
        hear = {"on_stdout": lambda piece: see("stdout", piece), "on_stderr": lambda piece: see("stderr", piece)}
        if self.kind == "sync":
            await asyncio.to_thread(lambda: [None for _ in command.follow(**hear)])
        else:
            async with command.follow(**hear) as records:
                async for _ in records:
                    pass
        return (await self.wait(command)).exit_code

    async def start(self, text: str, **options: Any) -> Any:
        return await self.call(self.session.run_async, text, **options)

    async def wait(self, command: Any) -> Ended:
        code = (await self.call(command.wait)).exit_code
        return Ended(*await self.logs(command), code)

    async def logs(self, command: Any) -> tuple[str, str]:
        logs = await self.call(command.logs)
        return logs.stdout.decode(), logs.stderr.decode()

    async def kill(self, command: Any) -> None:
        await self.call(command.kill)

    async def feed(self, text: str, lines: list[str]) -> Ended:
        command = await self.start(text, stdin=True)
        for line in lines:
            await self.call(command.send_input, line)
        return await self.wait(command)

    async def ask_for_nobody(self) -> None:
        await self.call(self.client.get_command, f"{self.session.id}-999")

    async def ask_for_nowhere(self) -> None:
        await self.call(self.client.get_session, "nowhere")


if __name__ == "__main__":
    main(Native)
