"""What `benchmarks.daytona_sdk` measures, in the environment of Daytona's own SDK: prints one line of JSON.

Arguments: how many short commands; a command that writes lines, and how much that is; one that writes a lot, and how much.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from daytona import Daytona, SessionExecuteRequest

ENDS = 10


class Bench:
    """One sandbox and one session of the blocking client."""

    def __init__(self) -> None:
        self.sandbox = Daytona().create()
        self.sandbox.process.create_session("bench")

    def execute(self, command: str, run_async: bool = False) -> Any:
        request = SessionExecuteRequest(command=command, run_async=run_async)
        return self.sandbox.process.execute_session_command("bench", request)

    async def follow(self, command_id: str, on_text: Callable[[str], None]) -> None:
        await self.sandbox.process.get_session_command_logs_async("bench", command_id, on_text, on_text)

    def short_commands(self, rounds: int) -> list[float]:
        taken = []
        for number in range(-20, rounds):
            began = time.perf_counter()
            assert self.execute("true").exit_code == 0
            if number >= 0:
                taken.append(time.perf_counter() - began)
        return taken

    async def followed(self, command: str, size: int) -> float:
        """Seconds from the start of a command to the end of its stream, which must tell so many characters."""
        seen = 0

        def count(text: str) -> None:
            nonlocal seen
            seen += len(text)

        began = time.perf_counter()
        await self.follow(self.execute(command, run_async=True).cmd_id, count)
        taken = time.perf_counter() - began
        assert seen == size, (seen, size)
        return taken

    async def last_byte_to_end(self) -> float:
        """Seconds from when the last byte was written, which is told in it, to when the stream has ended."""
        told: list[str] = []
        command = 'sleep 0.3; LC_ALL=C; printf %s "$EPOCHREALTIME"'
        await self.follow(self.execute(command, run_async=True).cmd_id, told.append)
        return time.time() - float("".join(told))


async def main(rounds: int, talk: str, talk_size: int, pour: str, pour_size: int) -> None:
    bench = Bench()
    try:
        found: dict[str, Any] = {"short": bench.short_commands(rounds)}
        found["lines"] = [await bench.followed(talk, talk_size) for _ in range(3)]
        found["bytes"] = [await bench.followed(pour, pour_size) for _ in range(3)]
        found["end"] = [await bench.last_byte_to_end() for _ in range(ENDS)]
        print(json.dumps(found))
    finally:
        bench.sandbox.delete()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])))
