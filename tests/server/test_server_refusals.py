"""Who is not let in: each gets a clear refusal, and nothing is hurt."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import AsyncIterator
from functools import partial

import psutil
import pytest
import trio
from served import TOKEN, connect, get, over_tcp, over_unix, raw, rest_of, served, upgrade

import sessions
from sessions.server.listening import Addresses


@pytest.fixture
async def addresses(engine: sessions.Engine) -> AsyncIterator[Addresses]:
    async with served(engine, header_seconds=2.0, body_seconds=1.0) as addresses:
        yield addresses
        async with over_tcp(addresses) as client:
            assert (await client.get("/v1/health")).status_code == 200, "the server does not work any more"


async def test_unix_socket_needs_no_token(addresses: Addresses) -> None:
    async with over_unix(addresses) as client:
        assert (await client.get("/v1/health")).json()["status"] == "ok"
        assert (await client.get("/v1/health", headers={"Host": "what.ever"})).status_code == 200


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN} x",
        f"Bearer {TOKEN}, Bearer {TOKEN}",
        "Bearer \xff\xfe",
    ],
)
async def test_without_the_token(addresses: Addresses, authorization: str | None) -> None:
    headers = ["Connection: close", *([f"Authorization: {authorization}"] if authorization is not None else [])]
    answer = await raw(addresses, get("/v1/health", *headers, token=None))
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"www-authenticate: Bearer\r\n" in answer
    assert b'"code":"unauthorized"' in answer
    assert TOKEN.encode() not in answer


async def test_two_tokens_are_none(addresses: Addresses) -> None:
    answer = await raw(addresses, get("/v1/health", "Connection: close", f"Authorization: Bearer {TOKEN}"))
    assert answer.startswith((b"HTTP/1.1 401 ", b"HTTP/1.1 400 "))


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/nothing", "/v1/sessions", "/v1/openapi.json", "/v1/metrics"])
async def test_no_path_is_open_without_the_token(addresses: Addresses, path: str) -> None:
    async with over_tcp(addresses, token=None) as client:
        assert (await client.get(path)).status_code == 401


async def test_websocket_without_the_token(addresses: Addresses) -> None:
    answer = await raw(addresses, upgrade("/v1/commands/x/follow", token=None))
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b'"code":"unauthorized"' in answer


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "", "a b", "[::1", "x:y:z"]
)
async def test_foreign_host(addresses: Addresses, host: str) -> None:
    for request in (get("/v1/health", "Connection: close", host=host), upgrade("/v1/follow", host=host)):
        answer = await raw(addresses, request)
        assert answer.startswith((b"HTTP/1.1 403 ", b"HTTP/1.1 400 ")), answer
        assert b"engine_id" not in answer


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "localhost.", "127.0.0.1", "127.0.0.1:9", "[::1]:80", "192.0.2.7"]
)
async def test_hosts_that_no_page_can_have(addresses: Addresses, host: str) -> None:
    assert (await raw(addresses, get("/v1/health", "Connection: close", host=host))).startswith(b"HTTP/1.1 200 ")


async def test_host_that_was_told(engine: sessions.Engine) -> None:
    async with served(engine, hosts=["Build.example"]) as addresses, over_tcp(addresses) as client:
        for host, status in (("build.example", 200), ("build.example:8443", 200), ("x.build.example", 403)):
            assert (await client.get("/v1/health", headers={"Host": host})).status_code == status


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:1", "file://", "http://localhost:80", "", "localhost"]
)
async def test_foreign_origin(addresses: Addresses, origin: str) -> None:
    for request in (
        get("/v1/health", "Connection: close", f"Origin: {origin}"),
        upgrade("/v1/follow", f"Origin: {origin}"),
    ):
        answer = await raw(addresses, request)
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert b'"code":"forbidden"' in answer
        assert b"access-control-allow" not in answer.lower()


async def test_foreign_origin_on_the_unix_socket(addresses: Addresses) -> None:
    """A proxy may stand before it."""
    async with over_unix(addresses) as client:
        assert (await client.get("/v1/health", headers={"Origin": "http://evil.example"})).status_code == 403


async def test_page_of_our_own(addresses: Addresses) -> None:
    own = get("/v1/health", "Connection: close", "Origin: http://localhost:7878", host="localhost:7878")
    assert (await raw(addresses, own)).startswith(b"HTTP/1.1 200 ")


async def test_no_cors(addresses: Addresses) -> None:
    async with over_tcp(addresses) as client:
        asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
        answer = await client.options("/v1/sessions", headers=asked)
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_nothing_is_taken_for_another_type(addresses: Addresses) -> None:
    async with over_tcp(addresses) as client:
        for path in ("/v1/health", "/v1/nothing", "/nothing"):
            answer = await client.get(path)
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "server" not in answer.headers


@pytest.mark.parametrize("told", [True, False])
async def test_large_body(engine: sessions.Engine, told: bool) -> None:
    """100 MB are refused, with an answer that even a client sees which sends them all first."""
    piece = b"x" * 1_000_000

    async def body() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield piece

    headers = {"Content-Length": "100000000"} if told else {}
    async with served(engine) as addresses, over_tcp(addresses, timeout=30) as client:
        answer = await client.post("/v1/sessions", content=body(), headers=headers)
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "too_large"
        assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("length", ["-1", "1e9", "99999999999999999999999", "16777217", "x", "1, 2"])
async def test_lengths_that_are_none(addresses: Addresses, length: str) -> None:
    request = get("/v1/health", f"Content-Length: {length}", "Connection: close")
    assert (await raw(addresses, request)).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 "))


async def test_slow_body(addresses: Addresses) -> None:
    async with await connect(addresses) as stream:
        await stream.send_all(get("/v1/sessions", "Content-Length: 1000").replace(b"GET", b"POST", 1))
        answer = await trickle(stream)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"timed_out"' in answer


@pytest.mark.parametrize("size", [33_000, 60_000, 1_000_000])
async def test_large_head(addresses: Addresses, size: int) -> None:
    for request in (
        get("/v1/health", "Connection: close", "X: " + "y" * size),
        get("/v1/health?" + "y" * size, "Connection: close"),
    ):
        assert (await raw(addresses, request)).startswith(b"HTTP/1.1 431 ")


async def test_many_headers(addresses: Addresses) -> None:
    assert (await raw(addresses, get("/v1/health", *["A: b"] * 10_000, "Connection: close"))).startswith(
        b"HTTP/1.1 431 "
    )


async def test_slow_loris(addresses: Addresses) -> None:
    """A head that never ends is cut, with the token or without."""
    started = trio.current_time()
    async with await connect(addresses) as stream:
        await stream.send_all(get("/v1/health").removesuffix(b"\r\n") + b"X: ")
        assert await trickle(stream) == b""
    assert trio.current_time() - started < 10


async def trickle(stream: trio.SocketStream) -> bytes:
    """Send a byte now and then; what comes back until it is cut."""
    found = b""
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            try:
                while True:
                    await stream.send_all(b"x")
                    await trio.sleep(0.05)
            except trio.BrokenResourceError:
                pass

        nursery.start_soon(send)
        found = await rest_of(stream)
        nursery.cancel_scope.cancel()
    return found


HTTP_2_OFFER = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
"""What Java's client and ``curl --http2`` put into each first request: it may be passed over (RFC 9110, 7.8)."""


async def test_an_offer_of_http_2_is_passed_over(addresses: Addresses) -> None:
    async with await connect(addresses) as stream:
        await stream.send_all(get("/v1/health", *HTTP_2_OFFER) + get("/v1/health", "Connection: close"))
        answers = await rest_of(stream)
    assert answers.startswith(b"HTTP/1.1 200 ")
    assert answers.count(b'"engine_id"') == 2


async def test_strangers_do_not_stay(addresses: Addresses) -> None:
    """A connection that sends nothing that is let in is cut, whatever it says it will speak."""
    hellos = [
        b"",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n\r\n",
        b"GET /v1/health HTTP/1.1\r\nHost: x\r\n",
        get("/v1/health", *HTTP_2_OFFER, token=None),
    ]
    await all_at_once(addresses, hellos)


async def all_at_once(addresses: Addresses, requests: list[bytes]) -> list[bytes]:
    """The answers; each connection must come to its end."""
    answers: list[bytes] = []

    async def ask(request: bytes) -> None:
        answers.append(await raw(addresses, request))

    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            for request in requests:
                nursery.start_soon(ask, request)
    return answers


async def test_failed_tries_do_not_prolong_a_stay(addresses: Addresses) -> None:
    async with await connect(addresses) as stream:
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:

                async def ask() -> None:
                    try:
                        while True:
                            await stream.send_all(get("/v1/health", token="wrong"))
                            await trio.sleep(0.05)
                    except trio.BrokenResourceError:
                        pass

                nursery.start_soon(ask)
                assert b" 401 " in await rest_of(stream)
                nursery.cancel_scope.cancel()


async def test_too_many_strangers(engine: sessions.Engine) -> None:
    """The oldest is cut for each that comes; who has been let in stays, and who comes gets in."""
    async with served(engine, strangers=5) as addresses, over_tcp(addresses) as client:
        assert (await client.get("/v1/health")).status_code == 200
        streams = [await connect(addresses) for _ in range(20)]
        with trio.fail_after(10):
            for stream in streams[:15]:
                assert await rest_of(stream) == b""
        assert (await client.get("/v1/health")).status_code == 200
        async with over_tcp(addresses) as another:
            assert (await another.get("/v1/health")).status_code == 200
        for stream in streams:
            await stream.aclose()


async def test_bytes_beyond_ascii_end_one_connection_at_most(addresses: Addresses) -> None:
    names = ["Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol", "Connection", "Upgrade", "Host", "Cookie"]
    odd = [f"{name}: \xff\xfe" for name in names]
    requests = [upgrade("/v1/follow", line, token=None) for line in odd]
    await all_at_once(addresses, requests + [get("/v1/health", "Connection: close", line) for line in odd])


async def test_nonsense(addresses: Addresses) -> None:
    lines = [
        "GET /v1/\xff HTTP/1.1",
        "GET http://evil.example/v1/health HTTP/1.1",
        "GET * HTTP/1.1",
        "\x16\x03\x01\x02\x00\x01",
        "GET /v1/health",
    ]
    for answer in await all_at_once(
        addresses, [f"{line}\r\nHost: localhost\r\n\r\n".encode("latin-1") for line in lines]
    ):
        assert b"engine_id" not in answer
        assert b" 200 " not in answer


UNREADABLE = [
    (b"nonsense\r\n\r\n", 400, "invalid"),
    (b"GET /v1/health HTTP/1.1\r\n\r\n", 400, "invalid"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "invalid"),
    (get("/v1/sessions", "Transfer-Encoding: chunked").replace(b"GET", b"POST", 1) + b"zz\r\n", 400, "invalid"),
    (get("/v1/health", "Content-Length: 5", "Content-Length: 6"), 400, "invalid"),
    (get("/v1/health", "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n", 400, "invalid"),
    (get("/v1/health", "Transfer-Encoding: gzip"), 501, "not_implemented"),
    # More than is read at once, without an end.
    (b"GET / HTTP/1.1\r\nX: " + b"y" * 4_000_000, 431, "headers_too_large"),
]


@pytest.mark.parametrize(("request_", "status", "code"), UNREADABLE)
async def test_what_can_not_be_read_is_refused_like_all_else(
    addresses: Addresses, request_: bytes, status: int, code: str
) -> None:
    head, _, body = (await raw(addresses, request_)).partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0].startswith(b"HTTP/1.1 %d" % status)
    assert {b"content-type: application/json", b"x-content-type-options: nosniff"} <= set(lines)
    assert b"connection: close" in head.lower()
    assert json.loads(body)["error"]["code"] == code


async def test_who_still_sends_gets_the_refusal(addresses: Addresses) -> None:
    """Closed over what has not been read, the connection would be reset under its answer."""
    async with await connect(addresses) as stream, trio.open_nursery() as nursery:
        await stream.send_all(b"GET / HTTP/1.1\r\nX: " + b"y" * 100_000)
        nursery.start_soon(partial(stream.send_all, b"y" * 8_000_000))
        assert (await rest_of(stream)).startswith(b"HTTP/1.1 431 ")


async def test_who_ends_in_the_middle_of_a_body_is_no_fault_of_the_server(
    addresses: Addresses, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection is then closed while its refusal is being sent, now and then at the very same moment."""
    request = get("/v1/sessions", "Content-Length: 100000000").replace(b"GET", b"POST", 1) + b"{"
    for turns in range(50):
        async with await connect(addresses) as stream:
            await stream.send_all(request)
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            await stream.send_eof()
            await rest_of(stream)
    assert not caplog.records


@pytest.mark.parametrize("path", ["/server/loopback", "/server/superserve-front"])
async def test_other_methods_of_the_servers_own_paths(addresses: Addresses, path: str) -> None:
    async with over_tcp(addresses) as client:
        for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"):
            answer = await client.request(method, path)
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
            assert answer.headers["content-type"] == "application/json"
            if method != "HEAD":
                assert answer.json()["error"]["code"] == "method_not_allowed"
        for other in (f"{path}/", path.replace("/", "%2f", 2).replace("%2f", "/", 1), "/server", "/"):
            answer = await client.post(other)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), other


@pytest.mark.parametrize("reset", [True, False])
async def test_a_websocket_whose_client_has_gone_gives_its_descriptor_back(
    engine: sessions.Engine, reset: bool
) -> None:
    # Far beyond the end of this test, for a ping would find it out.
    async with served(engine, heartbeat_seconds=600.0) as addresses, engine.open_session() as session:
        command = await session.run_async("head -c 20000000 /dev/zero; sleep 1000")
        quiet = await session.run_async("sleep 1000")
        before = psutil.Process().num_fds()
        clients = []
        for path in [f"/v1/commands/{one.id}/follow" for one in (command, quiet)] * 3:
            client = await connect(addresses)
            clients.append(client)
            await client.send_all(upgrade(path))
            assert (await client.receive_some()).startswith(b"HTTP/1.1 101 ")
        for client in clients:
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.socket.close()
        with trio.fail_after(30):
            while psutil.Process().num_fds() > before:
                await trio.sleep(0.01)


async def test_a_fault_of_the_server_has_one_code(
    addresses: Addresses, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(sessions.Engine, "get_command", fail)
    path = "/v1/commands/0000000000-1/follow"
    for request in (get(path, "Connection: close"), upgrade(path)):
        head, _, body = (await raw(addresses, request)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 500 ")
        assert json.loads(body)["error"]["code"] == "internal"
    assert caplog.text.count("Traceback") == 2
