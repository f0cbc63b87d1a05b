"""The Daytona dialect without an SDK: requests as they go over the wire, to see exactly what is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import httpx
import pytest
from served import TOKEN, over_tcp, port_of, served
from websocket_client import WebSocketClient, websocket

import sessions

SDK: Final = {"X-Daytona-SDK-Version": "0.226.1", "X-Daytona-Source": "sdk-python"}


class Wire:
    """A client of one server, and one sandbox."""

    def __init__(self, http: httpx.AsyncClient, port: int) -> None:
        self.http = http
        self.port = port
        self.sandbox = ""

    @property
    def toolbox(self) -> str:
        return f"/daytona/toolbox/{self.sandbox}"

    @property
    def session(self) -> str:
        """The path of the session that is there from the start."""
        return f"{self.toolbox}/process/session/s"

    async def ask(self, method: str, path: str, body: Any = None, status: int = 200, **headers: str) -> Any:
        """The JSON of an answer that must have this status; its text where it is no JSON, None where it is empty."""
        options = {"json": body} if body is not None else {}
        answer = await self.http.request(method, path, headers={**SDK, **headers}, **options)
        assert answer.status_code == status, (answer.status_code, answer.text)
        if not answer.content:
            return None
        return answer.json() if answer.headers["content-type"] == "application/json" else answer.text

    async def run(self, command: str, status: int = 200, session: str = "s", **fields: Any) -> Any:
        path = f"{self.toolbox}/process/session/{session}/exec"
        return await self.ask("POST", path, {"command": command, **fields}, status)

    async def start(self, command: str, **fields: Any) -> str:
        """Run it without waiting; the path of the command."""
        found = await self.run(command, 202, runAsync=True, **fields)
        return f"{self.session}/command/{found['cmdId']}"

    def socket(
        self, path: str, subprotocols: Sequence[str] = (), version: str | None = "0.226.1", token: str | None = TOKEN
    ) -> AbstractAsyncContextManager[WebSocketClient]:
        headers = [("Authorization", f"Bearer {token}")] if token else []
        headers += [("X-Daytona-SDK-Version", version)] if version else []
        return websocket(self.port, path, headers, subprotocols)

    async def frames(self, path: str, **options: Any) -> list[Any]:
        """All frames of a log stream, which must end well."""
        async with self.socket(path, **options) as socket:
            found = await socket.rest()
        assert socket.closed is not None
        assert socket.closed[0] == 1000
        return found


@asynccontextmanager
async def open_wire(engine: sessions.Engine, **options: Any) -> AsyncIterator[Wire]:
    """`options` are those of `served`."""
    async with served(engine, **options) as addresses, over_tcp(addresses, timeout=60) as http:
        wire = Wire(http, port_of(addresses))
        wire.sandbox = (await wire.ask("POST", "/daytona/api/sandbox", {"env": {}, "labels": {}}))["id"]
        await wire.ask("POST", f"{wire.toolbox}/process/session", {"sessionId": "s"}, 201)
        yield wire


@pytest.fixture(name="wire")
async def open_test_wire(engine: sessions.Engine) -> AsyncIterator[Wire]:
    async with open_wire(engine) as wire:
        yield wire
