"""What is told of a root that no engine is at work on, though one was."""

from __future__ import annotations

from pathlib import Path

import trio
from killed_program import killed_program

from sessions.cli.reading import RootReader


def test_a_detached_command_whose_engine_was_killed_does_not_run(tmp_path: Path) -> None:
    """Its session was closed long before, so that says nothing of it; and what it wrote can be removed."""

    async def look() -> None:
        words = await killed_program(
            tmp_path,
            """
            session = await engine.create_session("s")
            command = await session.run_async("echo much; sleep 1000", detach=True)
            await command.wait_for("much")
            await session.close()
            print(command.id, flush=True)
            """,
        )
        with RootReader(tmp_path) as reader:
            assert await reader.list_commands(state="running") == []
            assert [(command.id, command.reason) for command in await reader.list_commands()] == [(words[0], "lost")]
            assert (await reader.prune(keep_bytes=0)).commands == 1

    trio.run(look)
