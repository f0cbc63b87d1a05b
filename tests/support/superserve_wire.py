"""The Superserve dialect without an SDK: requests as they go over the wire, to see exactly what is answered."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
from served import TOKEN, over_tcp, port_of, served
from websocket_client import WebSocketClient, websocket

import sessions
from sessions.server.listening import Addresses

DATA_HOST = "sandbox.superserve.ai"


class Wire:
    """A client of one server, without the server's token for commands."""

    def __init__(self, addresses: Addresses, http: httpx.AsyncClient, bare: httpx.AsyncClient) -> None:
        self.port = port_of(addresses)
        self.http = http
        self.bare = bare
        self.sandbox: dict[str, Any] = {}

    async def ask(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """The JSON of an answer of the control plane."""
        options = {"json": body} if body is not None else {}
        answer = await self.http.request(method, f"/superserve{path}", **options)
        assert answer.status_code == status, (answer.status_code, answer.text)
        return answer.json() if answer.content else None

    async def exec(self, body: Any, path: str = "/exec", **headers: Any) -> httpx.Response:
        token = {"X-Access-Token": self.sandbox["access_token"]}
        return await self.bare.post(path, json=body, headers={"Host": DATA_HOST, **token, **fix(headers)})

    async def events(self, body: Any) -> list[dict[str, Any]]:
        answer = await self.exec(body, "/exec/stream")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        return events_of(answer.text)

    def connect(self, token: str | None = None, **headers: str) -> AbstractAsyncContextManager[WebSocketClient]:
        offered = ["superserve.exec.v1", f"token.{token or self.sandbox['access_token']}"]
        host = headers.pop("Host", None)
        return websocket(self.port, "/exec/connect", list(fix(headers).items()), offered, host)


def fix(headers: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def events_of(text: str) -> list[dict[str, Any]]:
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    assert all(block.startswith("data: ") and block.isascii() for block in blocks)
    return [json.loads(block[6:]) for block in blocks]


@asynccontextmanager
async def open_wire(engine: sessions.Engine, **limits: Any) -> AsyncIterator[Wire]:
    async with served(engine, **limits) as addresses:
        async with over_tcp(addresses, None, timeout=30) as bare, over_tcp(addresses, None) as http:
            http.headers["X-API-Key"] = TOKEN
            wire = Wire(addresses, http, bare)
            wire.sandbox = await wire.ask("POST", "/sandboxes", {"name": "demo"}, 201)
            yield wire


@pytest.fixture(name="wire")
async def open_test_wire(engine: sessions.Engine) -> AsyncIterator[Wire]:
    async with open_wire(engine) as wire:
        yield wire
