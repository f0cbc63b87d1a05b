"""A client of the Miosa door that shows statuses and bodies as they are."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from served import TOKEN, over_tcp, port_of, served
from websocket_client import websocket

import sessions

API = "/miosa/api/v1"


class Wire:
    """A client of one server, one computer and one sandbox."""

    def __init__(self, http: httpx.AsyncClient, port: int, computer: str, sandbox: str) -> None:
        self.http = http
        self.port = port
        self.computer = f"{API}/computers/{computer}"
        self.sandbox = f"{API}/sandboxes/{sandbox}"

    async def ask(self, method: str, path: str, body: Any = None, status: int = 200, **options: Any) -> Any:
        """The JSON of an answer that must have this status."""
        answer = await self.http.request(method, path, **({"json": body} if body is not None else {}), **options)
        assert answer.status_code == status, (answer.status_code, answer.text)
        assert answer.headers["content-type"] == "application/json"
        return answer.json()

    async def start(self, command: str, **fields: Any) -> str:
        """The URL that the ticket is good for."""
        told = await self.ask("POST", f"{self.computer}/exec/stream", {"command": command, **fields}, 202)
        assert set(told) == {"ticket", "expires_at", "stream_url"}
        assert 55 < told["expires_at"] - time.time() <= 60
        assert told["stream_url"] == f"{self.computer}/exec/stream/events?ticket={told['ticket']}"
        return str(told["stream_url"])

    async def events(
        self, url: str, token: bool = False, method: str = "GET", body: Any = None
    ) -> list[tuple[str, Any]]:
        """All of a stream that must end well."""
        headers = {"Accept": "text/event-stream", **({} if token else {"Authorization": ""})}
        async with self.http.stream(method, url, headers=headers, json=body) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            text = (await answer.aread()).decode("ascii")
        return events_of(text)

    def spawn(self, query: str, *subprotocols: str, token: str | None = TOKEN) -> Any:
        headers = [("Authorization", f"Bearer {token}")] if token else []
        return websocket(self.port, f"{self.computer}/exec/stream?{query}", headers, subprotocols)


def events_of(text: str) -> list[tuple[str, Any]]:
    """The names and the data of a whole stream, whose last event must be whole, too."""
    assert text.endswith("\n\n")
    frames = [frame.split("\n") for frame in text.split("\n\n") if frame and not frame.startswith(":")]
    return [(event.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for event, data in frames]


@pytest.fixture(name="wire")
async def open_wire(engine: sessions.Engine) -> AsyncIterator[Wire]:
    async with served(engine) as addresses, over_tcp(addresses, timeout=60) as http:
        computer = (await http.post(f"{API}/computers", json={"name": "c"})).json()["id"]
        sandbox = (await http.post(f"{API}/sandboxes", json={})).json()["id"]
        yield Wire(http, port_of(addresses), computer, sandbox)
