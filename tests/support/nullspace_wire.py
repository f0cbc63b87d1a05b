"""The Nullspace dialect without an SDK: requests and messages as they go over the wire, to see exactly what is answered."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
import pytest
from served import TOKEN, over_tcp, port_of, served
from websocket_client import WebSocketClient, websocket
from wsproto.events import TextMessage

import sessions

API: Final = "/nullspace/v1/machines"


class Channel:
    """JSON messages over one WebSocket."""

    def __init__(self, socket: WebSocketClient) -> None:
        self.socket = socket

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket._send(TextMessage(data=json.dumps({"type": kind, **fields})))

    async def receive(self) -> Any:
        """The next message; None once it is closed."""
        message = await self.socket.receive()
        if message is None:
            return None
        assert isinstance(message, str)
        assert len(message) < 1 << 20
        return json.loads(message)

    async def expect(self, kind: str) -> Any:
        found = await self.receive()
        assert found is not None, self.socket.closed
        assert found["type"] == kind, found
        return found

    async def rest(self) -> list[Any]:
        """All until the end, which must be a good one."""
        found = []
        while (message := await self.receive()) is not None:
            found.append(message)
        assert self.socket.closed is not None
        assert self.socket.closed[0] == 1000
        return found


class Wire:
    """A client of one server, and one machine."""

    def __init__(self, http: httpx.AsyncClient, port: int) -> None:
        self.http = http
        self.port = port
        self.machine = ""

    @property
    def path(self) -> str:
        return f"{API}/{self.machine}"

    async def ask(self, method: str, path: str, body: Any = None, status: int = 200, **headers: str) -> Any:
        """The JSON of an answer that must have this status; None where it is empty."""
        options = {"json": body} if body is not None else {}
        answer = await self.http.request(method, path, headers=headers, **options)
        assert answer.status_code == status, (answer.status_code, answer.text)
        return answer.json() if answer.content else None

    async def run(self, command: str, status: int = 200, **fields: Any) -> Any:
        return await self.ask("POST", f"{self.path}/exec", {"command": command, "shell": True, **fields}, status)

    async def start(self, command: str, **fields: Any) -> str:
        """Run it in the background; the path of the process."""
        return f"{self.path}/processes/{(await self.run(command, background=True, **fields))['pid']}"

    @asynccontextmanager
    async def channel(
        self, name: str = "exec", machine: str | None = None, token: str | None = TOKEN
    ) -> AsyncIterator[Channel]:
        target = f"{API}/{machine or self.machine}/ws?channel={name}"
        headers = [("Authorization", f"Bearer {token}")] if token else []
        async with websocket(self.port, target, headers) as socket:
            yield Channel(socket)


@asynccontextmanager
async def open_wire(engine: sessions.Engine, **options: Any) -> AsyncIterator[Wire]:
    async with served(engine, **options) as addresses, over_tcp(addresses, timeout=60) as http:
        wire = Wire(http, port_of(addresses))
        wire.machine = (await wire.ask("POST", API, {}, 201))["id"]
        yield wire


@pytest.fixture(name="wire")
async def open_test_wire(engine: sessions.Engine) -> AsyncIterator[Wire]:
    async with open_wire(engine) as wire:
        yield wire
