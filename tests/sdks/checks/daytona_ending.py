"""A client whose server ends, and one that comes back to the next server: ``python daytona_ending.py sync before``, ``async after``.

Prints one line of JSON. Makes a file in its directory when it waits and follows.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from daytona import CreateSandboxFromSnapshotParams
from daytona_clients import Client

TEXT = "echo once | tee -a file; sleep 600"


async def told(waiting: Awaitable[Any]) -> list[Any]:
    """What an answer is that must be an error."""
    try:
        return ["answered", repr(await waiting)]
    except Exception as error:
        return [type(error).__name__, *(getattr(error, name, None) for name in ("status_code", "code", "source"))]


async def before(client: Client, name: str) -> Any:
    params = CreateSandboxFromSnapshotParams(name=name, env_vars={"WHO": "me"}, labels={"t": "kept"})
    made = await client.call(client.daytona.create, params)
    await client.call(made.process.create_session, "s")
    waiting = asyncio.ensure_future(client.run("s", TEXT, of=made))
    while not (commands := (await client.call(made.process.get_session, "s")).commands):
        await asyncio.sleep(0.02)
    follow = made.process.get_session_command_logs_async
    seen: list[str] = []
    following = asyncio.ensure_future(follow("s", commands[0].id, seen.append, seen.append))
    while not seen:
        await asyncio.sleep(0.02)
    Path(f"{name} is ready").touch()
    return {"waited": await told(waiting), "followed": [*await told(following), "".join(seen)]}


async def after(client: Client, name: str) -> Any:
    found = await client.call(client.daytona.get, name)
    process = found.process
    ran = (await client.call(process.exec, "cat file; echo $WHO")).result
    sessions = await client.call(process.list_sessions)
    await client.call(process.create_session, "s")
    again = (await client.run("s", "echo again", of=found)).stdout
    told = {"state": found.state, "labels": found.labels["t"], "ran": ran, "sessions": sessions, "again": again}
    await client.call(found.delete)
    return told


async def main(kind: str, part: str) -> None:
    client = Client(kind)
    async with client.other() as client.daytona:
        print(json.dumps(await {"before": before, "after": after}[part](client, f"ending-{kind}")))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
