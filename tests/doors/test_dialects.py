"""The rim that all dialects have: which row answers, and what is said where none does."""

from __future__ import annotations

from functools import partial

import pytest
from starlette.routing import Router
from starlette.types import ASGIApp, Message, Scope
from starlette.websockets import WebSocket

import sessions
from sessions.doors.dialects import Call, Dialect, Row
from sessions.doors.open_streams import Streams
from sessions.doors.refusals import Codes, Refusal
from sessions.doors.requests import error_response, json_response
from sessions.spaces import Spaces


async def tell(call: Call) -> ASGIApp:
    return json_response({"ids": call.ids, "query": call.query, "body": call.body.values})


async def greet(call: Call, socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(str(dict(call.ids)))
    await socket.close()


ROWS: list[Row[Call]] = [
    Row("POST", "/things/{thing}", tell),
    Row("DELETE", "/things/{thing}", tell),
    Row("GET", "/things/stream", socket=greet),
]


async def ask(
    engine: sessions.Engine, method: str | None, path: str, data: bytes = b"{}", query: bytes = b"", exact: bool = False
) -> list[Message]:
    """What is sent for a request; `method` is None for a WebSocket."""
    dialect = Dialect(partial(Call, Spaces(engine), Streams()), lambda scope, error: error_response(error), exact=exact)
    app = Router([*dialect.build_routes(ROWS), *dialect.nothing()])
    kind = "http" if method else "websocket"
    scope: Scope = {
        "type": kind, "path": path.replace("%2F", "/"), "raw_path": path.encode(), "root_path": "", "query_string": query,
        "headers": [], "subprotocols": [], "extensions": {"websocket.http.response": {}},
    }  # fmt: skip
    if method:
        scope["method"] = method
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"} if method is None else {"type": "http.request", "body": data}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


async def test_a_call_reads_what_it_is_asked_for(engine: sessions.Engine) -> None:
    _, body = await ask(engine, "POST", "/things/a", b'{"x":1}', b"q=1&q=&r=%C3%BC")
    assert body["body"] == '{"ids":{"thing":"a"},"query":{"q":["1",""],"r":["ü"]},"body":{"x":1}}\n'.encode()


async def test_a_method_that_a_path_does_not_have(engine: sessions.Engine) -> None:
    start, body = await ask(engine, "GET", "/things/a")
    assert (start["status"], dict(start["headers"])[b"allow"]) == (405, b"DELETE, POST")
    assert b"GET is not possible here: DELETE, POST is" in body["body"]


async def test_nothing_is_there(engine: sessions.Engine) -> None:
    start, body = await ask(engine, "POST", "/others")
    assert start["status"] == 404
    assert b"there is nothing at '/others'" in body["body"]
    start, body = await ask(engine, None, "/things/a")
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 404)
    assert b"no WebSocket is served at '/things/a'" in body["body"]


async def test_a_websocket_whose_path_fits_another_pattern(engine: sessions.Engine) -> None:
    accepted, told, closed = await ask(engine, None, "/things/stream")
    assert (accepted["type"], told["text"], closed["type"]) == ("websocket.accept", "{}", "websocket.close")


@pytest.mark.parametrize("exact", [False, True])
async def test_a_path_that_hides_a_slash(engine: sessions.Engine, exact: bool) -> None:
    start, *_ = await ask(engine, "POST", "/things%2Fa", exact=exact)
    assert start["status"] == (404 if exact else 200)


def test_codes() -> None:
    codes = Codes([(sessions.NotFound, 410, "GONE"), (sessions.SessionsError, 500, "ERROR")])
    assert codes.find(Refusal(418, "TEAPOT", "no coffee")) == (418, "TEAPOT")
    assert codes.find(sessions.Expired("it was there")) == (410, "GONE")
    assert Codes((), {409: "TAKEN"}, "OTHER").find(sessions.Conflict("x")) == (409, "TAKEN")
    assert Codes((), {409: "TAKEN"}, "OTHER").find(sessions.Busy("x")) == (429, "OTHER")
    assert Codes().find(sessions.Busy("x")) == (429, "busy")
