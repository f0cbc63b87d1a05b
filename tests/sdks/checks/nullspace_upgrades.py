"""Checks of WebSockets that are refused before they reach the server: ``python nullspace_upgrades.py sync`` or ``async``."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from nullspace_clients import Check, Client, run_checks


class Front:
    """What stands before a server, and answers the first upgrades itself. Without a status it hangs up."""

    def __init__(self, statuses: list[str]) -> None:
        self._statuses = statuses
        self._server = urlsplit(os.environ["NULLSPACE_API_URL"])
        self.url = ""
        self.upgrades = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"\r\nupgrade: websocket" in head.lower():
            self.upgrades += 1
            if self._statuses:
                status = self._statuses.pop(0)
                if status:
                    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
                writer.close()
                return
        from_server, to_server = await asyncio.open_connection(self._server.hostname, self._server.port)
        to_server.write(head)
        await asyncio.gather(self._pass(reader, to_server), self._pass(from_server, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except ConnectionError:
            pass
        writer.close()


@asynccontextmanager
async def open_front(*statuses: str) -> AsyncIterator[Front]:
    front = Front(list(statuses))
    async with await asyncio.start_server(front.serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        front.url = f"http://127.0.0.1:{port}{urlsplit(os.environ['NULLSPACE_API_URL']).path}"
        yield front


async def upgrade_that_fails_is_asked_for_again(client: Client) -> None:
    """And what it was for is done once."""
    before = len(await client.call(client.commands.list))
    async with open_front("503 Service Unavailable", "") as front:
        machine = await client.call(client.api.connect, client.machine.id, base_url=front.url)
        found = await client.call(machine.commands.run_streaming, "echo", ["once"])
        assert (found.stdout, front.upgrades) == ("once\n", 3)
        await client.call(machine.close)
    assert len(await client.call(client.commands.list)) == before + 1


async def upgrade_that_fails_is_given_up(client: Client) -> None:
    before = await client.call(client.commands.list)
    for statuses, error, code in (
        (["502 Bad Gateway"] * 3, "MachineError", "transport_error"),
        (["501 Not Implemented"], "NotImplementedError", "not_implemented"),
        (["403 Forbidden"], "AuthError", "unauthorized"),
        (["410 Gone"], "MachineError", "websocket_upgrade_error"),
    ):
        async with open_front(*statuses) as front:
            machine = await client.call(client.api.connect, client.machine.id, base_url=front.url)
            raised = await client.refused(error, machine.commands.run_streaming, "echo", ["never"])
            assert (raised.code, front.upgrades) == (code, len(statuses))
            await client.call(machine.close)
    assert await client.call(client.commands.list) == before


CHECKS: list[Check] = [
    upgrade_that_fails_is_asked_for_again,
    upgrade_that_fails_is_given_up,
]

if __name__ == "__main__":
    asyncio.run(run_checks(sys.argv[1], CHECKS))
