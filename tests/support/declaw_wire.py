"""The Declaw dialect without an SDK: requests as they go over the wire, to see exactly what is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from served import over_tcp, served

import sessions


class Wire:
    """A client of one server, and one sandbox."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.sandbox = ""

    @property
    def path(self) -> str:
        return f"/sandboxes/{self.sandbox}"

    async def ask(self, method: str, path: str, body: Any = None, status: int = 200, **headers: str) -> Any:
        """The JSON of an answer that must have this status; None where it is empty."""
        options = {"json": body} if body is not None else {}
        answer = await self.http.request(method, path, headers=headers, **options)
        assert answer.status_code == status, (answer.status_code, answer.text)
        return answer.json() if answer.content else None

    async def refused(self, method: str, path: str, body: Any = None, status: int = 400) -> str:
        """The code of an error, which must have a text, too."""
        found = await self.ask(method, path, body, status)
        assert set(found) == {"error", "code"}
        assert isinstance(found["error"], str)
        return str(found["code"])

    async def start(self, command: str, **fields: Any) -> str:
        """The path of a command in the background."""
        found = await self.ask("POST", f"{self.path}/commands", {"cmd": command, "background": True, **fields})
        return f"{self.path}/commands/{found['pid']}"

    async def stream(self, command: str, **fields: Any) -> bytes:
        answer = await self.http.post(f"{self.path}/commands/stream", json={"cmd": command, **fields})
        assert answer.headers["content-type"].startswith("text/event-stream")
        return answer.content


@asynccontextmanager
async def open_wire(engine: sessions.Engine, **options: Any) -> AsyncIterator[Wire]:
    async with served(engine, **options) as addresses, over_tcp(addresses, timeout=60) as http:
        wire = Wire(http)
        wire.sandbox = (await wire.ask("POST", "/sandboxes", {"template": "base", "secure": True}, 201))["sandbox_id"]
        yield wire


@pytest.fixture(name="wire")
async def open_test_wire(engine: sessions.Engine) -> AsyncIterator[Wire]:
    async with open_wire(engine) as wire:
        yield wire
