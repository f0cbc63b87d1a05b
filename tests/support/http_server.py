"""A real server on real sockets for one test, and clients that speak to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import h11
import httpx
import pytest
import trio

import sessions
from sessions.server.limits import ServerLimits
from sessions.server.serving import serve

TOKEN = "a-token-for-tests-0123456789"


class Told(NamedTuple):
    """One server-sent event."""

    event: str
    id: str | None
    data: Any


class EventReader:
    """Server-sent events over a plain connection, which can be left at any moment and read as slowly as one likes."""

    def __init__(self, unix: Path, path: str, method: str, headers: dict[str, str], body: object) -> None:
        self._unix = unix
        content = json.dumps(body).encode() if body is not None else b""
        self._request = h11.Request(
            method=method,
            target=f"/v1{path}",
            headers=[("Host", "localhost"), ("Content-Length", str(len(content))), *headers.items()],
        )
        self._content = content
        self._protocol = h11.Connection(h11.CLIENT)
        self._text = b""
        self.comments = 0
        self.headers: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        self.connection = await trio.open_unix_socket(self._unix)
        for event in (self._request, h11.Data(data=self._content), h11.EndOfMessage()):
            await self.connection.send_all(self._protocol.send(event) or b"")
        answer = await self._receive()
        assert isinstance(answer, h11.Response)
        assert answer.status_code == 200
        self.first_id = ""
        self.headers = {name.decode(): value.decode() for name, value in answer.headers}
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await trio.aclose_forcefully(self.connection)

    async def _receive(self) -> object:
        while (event := self._protocol.next_event()) is h11.NEED_DATA:
            self._protocol.receive_data(await self.connection.receive_some())
        return event

    async def next(self) -> Told | None:
        """The next event; None at the end of the stream."""
        while True:
            frame, found, rest = self._text.partition(b"\n\n")
            if found:
                self._text = rest
                fields = dict(line.split(": ", 1) for line in frame.decode().split("\n"))
                self.first_id = self.first_id or fields.get("id", "")
                if "event" in fields:
                    return Told(fields["event"], fields.get("id"), json.loads(fields["data"]))
                self.comments += 1
                continue
            event = await self._receive()
            if not isinstance(event, h11.Data):
                assert self._text == b""
                return None
            self._text += bytes(event.data)

    async def rest(self) -> list[Told]:
        """All that comes until the end."""
        found = []
        while (event := await self.next()) is not None:
            found.append(event)
        return found


class Web:
    """The server of a test."""

    def __init__(self, unix: Path, url: str, http: httpx.AsyncClient) -> None:
        self.unix = unix
        self.url = url
        """Where it listens on TCP; there it asks for `TOKEN`."""
        self.http = http
        """A client on the unix socket; its paths begin behind ``/v1``."""

    async def get(self, path: str, **options: Any) -> Any:
        """The JSON of a GET that must work."""
        answer = await self.http.get(path, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, body: object = None, status: int = 200) -> Any:
        """The JSON of a POST that must answer with this status."""
        answer = await self.http.post(path, json={} if body is None else body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def start(self, session: str, text: str, **options: Any) -> str:
        """Start a background command; its id."""
        body = {"command": text, "run_async": True, **options}
        return str((await self.post(f"/sessions/{session}/commands", body, 202))["id"])

    async def finish(self, session: str, text: str, **options: Any) -> str:
        """The same, and wait until it is over."""
        command_id = await self.start(session, text, **options)
        assert (await self.get(f"/commands/{command_id}/wait"))["state"] == "finished"
        return command_id

    async def pace(self, session: str, steps: Sequence[str]) -> str:
        """Run steps that each write something, the next one when that has arrived: a record for each. The command's id."""
        text = "\n".join(f"read -r go; {step}" for step in steps)
        command_id = await self.start(session, text, stdin=True)
        async with self.stream(f"/commands/{command_id}/follow?encoding=base64") as events:
            for _ in steps:
                await self.post(f"/commands/{command_id}/input", {"text": "go\n"}, 204)
                await events.next()
            await events.rest()
        return command_id

    def stream(
        self, path: str, method: str = "GET", headers: dict[str, str] | None = None, body: object = None
    ) -> EventReader:
        return EventReader(self.unix, path, method, headers or {}, body)

    async def events(self, path: str, method: str = "GET", **options: Any) -> list[Told]:
        """All events of a stream that ends."""
        async with self.stream(path, method, **options) as events:
            return await events.rest()

    async def connect(self) -> trio.SocketStream:
        """A plain connection, to say what no client would."""
        return await trio.open_unix_socket(self.unix)

    async def ask(self, head: str, body: bytes = b"") -> tuple[int, Any]:
        """Send a request as it is; the status and the JSON of its answer."""
        lines = [head, "Host: localhost", "Connection: close"]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        async with await self.connect() as connection:
            await connection.send_all("\r\n".join([*lines, "", ""]).encode() + body)
            answer = b"".join([bytes(piece) async for piece in connection])
        first, _, rest = answer.partition(b"\r\n\r\n")
        return int(first.split()[1]), json.loads(rest) if rest else None


def text_of(events: Iterable[Told], stream: str | None = None) -> str:
    """What the events tell of one stream, or of both."""
    wanted = (stream,) if stream else ("stdout", "stderr")
    return "".join(event.data["text"] for event in events if event.event in wanted)


@asynccontextmanager
async def open_web(engine: sessions.Engine, limits: ServerLimits | None = None) -> AsyncIterator[Web]:
    async with trio.open_nursery() as nursery:
        start = partial(serve, engine, bind=["127.0.0.1:0"], token=TOKEN, limits=limits)
        addresses = await nursery.start(start)
        transport = httpx.AsyncHTTPTransport(uds=str(addresses.unix))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost/v1", timeout=60) as http:
            yield Web(addresses.unix, addresses.urls[0], http)
        nursery.cancel_scope.cancel()


@pytest.fixture(name="web")
async def open_test_web(engine: sessions.Engine) -> AsyncIterator[Web]:
    """A server with one session, which is called ``test``."""
    async with open_web(engine) as web:
        await web.post("/sessions", {"name": "test"}, 201)
        yield web
