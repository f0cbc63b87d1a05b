"""Daytona's clients in the scenario that all doors are compared by."""

from __future__ import annotations

import uuid
import warnings
from typing import Any

from contract_scenario import Door, Ended, See, main
from daytona import AsyncDaytona, Daytona, SessionExecuteRequest

warnings.simplefilter("ignore")


class DaytonaDoor(Door):
    """A command is known by its session and its id. A session's commands wait for each other, so each gets one of its own."""

    async def __aenter__(self) -> Door:
        self.daytona: Any = Daytona() if self.kind == "sync" else await AsyncDaytona().__aenter__()
        self.sandbox = await self.call(self.daytona.create)
        self.process = self.sandbox.process
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.call(self.sandbox.delete)
        if self.kind != "sync":
            await self.daytona.__aexit__(*exception)

    async def execute(self, text: str, **options: Any) -> tuple[str, Any]:
        session = str(uuid.uuid4())
        await self.call(self.process.create_session, session)
        request = SessionExecuteRequest(command=text, **options)
        return session, await self.call(self.process.execute_session_command, session, request)

    async def run(self, text: str, timeout: int | None = None) -> Ended:
        if timeout is not None:  # only `exec` has one
            found = await self.call(self.process.exec, text, timeout=timeout)
            return Ended(found.result, "", found.exit_code)
        _, found = await self.execute(text)
        return Ended(found.stdout, found.stderr, found.exit_code)

    async def stream(self, text: str, see: See) -> int:
        return await self.follow(await self.start(text), see)

    async def follow(self, command: Any, see: See) -> int:
        await self.process.get_session_command_logs_async(
            *command, lambda piece: see("stdout", piece), lambda piece: see("stderr", piece)
        )
        return int((await self.call(self.process.get_session_command, *command)).exit_code)

    async def start(self, text: str) -> Any:
        session, found = await self.execute(text, run_async=True, suppress_input_echo=True)
        return session, found.cmd_id

    async def wait(self, command: Any) -> Ended:
        await self.call(self.process.get_session_command, *command)  # whose errors say more than those of a stream
        code = await self.follow(command, lambda stream, piece: None)
        return Ended(*await self.logs(command), code)

    async def logs(self, command: Any) -> tuple[str, str]:
        found = await self.call(self.process.get_session_command_logs, *command)
        return found.stdout, found.stderr

    async def kill(self, command: Any) -> None:
        await self.call(self.process.delete_session, command[0])

    async def feed(self, text: str, lines: list[str]) -> Ended:
        command = await self.start(text)
        for line in lines:
            await self.call(self.process.send_session_command_input, *command, line)
        return await self.wait(command)

    async def ask_for_nobody(self) -> None:
        session, _ = await self.start("true")
        await self.call(self.process.get_session_command, session, "nobody")

    async def ask_for_nowhere(self) -> None:
        await self.call(self.daytona.get, "nowhere")


if __name__ == "__main__":
    main(DaytonaDoor)
