"""The front: a proxy that ends TLS for Superserve's names alone, and ``sessions env superserve``, which points an SDK there."""

from __future__ import annotations

import json
import os
import shlex
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio
from served import TOKEN, over_tcp, over_unix, rest_of, served
from server_process import TOKEN as OTHER_TOKEN
from server_process import server_process

import sessions
from sessions.doors.superserve.door import HOSTS
from sessions.server.admission import is_known
from sessions.server.front import CERTIFICATE, Tunnel, make_certificate, refusal
from sessions.server.listening import Addresses


@pytest.fixture
async def addresses(engine: sessions.Engine) -> AsyncIterator[Addresses]:
    async with served(engine, header_seconds=2.0) as addresses:
        yield addresses


async def open_front(addresses: Addresses) -> tuple[int, Path]:
    async with over_tcp(addresses) as client:
        found = (await client.post("/server/superserve-front")).json()
        assert found == (await client.post("/server/superserve-front")).json()  # there is one
    return int(found["url"].rpartition(":")[2]), Path(found["certificate"])


@asynccontextmanager
async def connected(port: int, target: str) -> AsyncIterator[tuple[trio.SocketStream, bytes]]:
    """A connection, and what came for a request to connect."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        yield stream, bytes(await stream.receive_some())


def request(path: str, host: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", *headers, "Connection: close", "", ""]).encode()


async def ask(port: int, certificate: Path, name: str, what: bytes) -> bytes:
    async with connected(port, f"{name}:443") as (stream, answer):
        assert answer == b"HTTP/1.1 200 OK\r\n\r\n"
        context = ssl.create_default_context(cafile=certificate)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        secure = trio.SSLStream(stream, context, server_hostname=name, https_compatible=True)
        await secure.send_all(what)
        return await rest_of(secure)


async def test_all_names_lead_here(addresses: Addresses) -> None:
    port, certificate = await open_front(addresses)
    for pattern in HOSTS:
        name = pattern.replace("*", "boxd-12")
        key = f"X-API-Key: {TOKEN}"
        assert (await ask(port, certificate, name, request("/v1/health", name, key))).startswith(b"HTTP/1.1 200 ")
        assert (await ask(port, certificate, name, request("/v1/health", name))).startswith(b"HTTP/1.1 401 ")
        assert (await ask(port, certificate, name, request("/exec", "evil.example", key))).startswith(b"HTTP/1.1 403 ")


async def test_one_tunnel_carries_many_requests(addresses: Addresses) -> None:
    port, certificate = await open_front(addresses)
    async with connected(port, f"{HOSTS[0]}:443") as (stream, _):
        context = ssl.create_default_context(cafile=certificate)
        secure = trio.SSLStream(stream, context, server_hostname=HOSTS[0], https_compatible=True)
        for status in (200, 401, 200):
            key = TOKEN if status == 200 else "wrong"
            await secure.send_all(request("/v1/health", HOSTS[0], f"X-API-Key: {key}").replace(b"close", b"keep-alive"))
            answer = b""
            with trio.fail_after(10):
                while not answer.endswith(b"}\n"):
                    answer += await secure.receive_some()
            assert answer.startswith(b"HTTP/1.1 %d " % status)


async def test_what_is_large_is_sent_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What encrypts it has room for the largest of them for as long as anything refers to the connection."""
    certificate = tmp_path / "ca.pem"
    server, client = trio.testing.memory_stream_pair()
    sizes: list[int] = []
    send = server.send_stream.send_all

    async def note(data: bytes) -> None:
        sizes.append(len(data))
        await send(data)

    monkeypatch.setattr(server.send_stream, "send_all", note)
    tunnel = Tunnel(server, make_certificate(certificate))  # type: ignore[arg-type]
    context = ssl.create_default_context(cafile=certificate)
    secure = trio.SSLStream(client, context, server_hostname=HOSTS[0], https_compatible=True)
    data = os.urandom(1 << 20)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tunnel.do_handshake)
        await client.send_all(f"CONNECT {HOSTS[0]}:443 HTTP/1.1\r\n\r\n".encode())
        assert await client.receive_some() == b"HTTP/1.1 200 OK\r\n\r\n"
        await secure.do_handshake()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tunnel.send_all, data)
        received = b""
        while len(received) < len(data):
            received += await secure.receive_some()
    assert received == data
    assert max(sizes) < 1 << 15


@pytest.mark.parametrize(
    "target",
    [
        "api.superserve.ai:443", "superserve.ai:443", "sandbox.superserve.ai:80", "sandbox.superserve.ai.evil.example:443",
        "a.b.sandbox.superserve.ai:443", "xsandbox.superserve.ai:443", "127.0.0.1:443", "example.com:443",
        "localhost:22", "[::1]:443", "sandbox.superserve.ai", "sandbox.superserve.ai:443:443",
    ],
)  # fmt: skip
async def test_other_names_are_refused(addresses: Addresses, target: str) -> None:
    port, _ = await open_front(addresses)
    async with connected(port, target) as (stream, answer):
        assert answer.startswith((b"HTTP/1.1 403 ", b"HTTP/1.1 405 "))
        with trio.fail_after(10):
            await rest_of(stream)  # it is closed


async def test_other_requests_are_refused(addresses: Addresses) -> None:
    port, _ = await open_front(addresses)
    for what in (b"GET http://sandbox.superserve.ai/ HTTP/1.1\r\n\r\n", b"nonsense\r\n\r\n", b"x" * 9000):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(what)
            with trio.fail_after(10):
                assert (await rest_of(stream)).startswith((b"HTTP/1.1 405 ", b""))
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"CONNECT sandbox.superserve.ai:443 HTTP/1.1\r\n")
        with trio.fail_after(10):
            assert await rest_of(stream) == b""  # one that never says more is cut
    async with connected(port, "sandbox.superserve.ai:443") as (stream, answer):
        assert answer == b"HTTP/1.1 200 OK\r\n\r\n"
        with trio.fail_after(10):
            assert await rest_of(stream) == b""  # and one that never shakes hands


def test_what_is_refused() -> None:
    good = b"CONNECT SANDBOX.superserve.ai.:443 HTTP/1.1\r\nHost: x\r\n\r\n"
    assert refusal(good) is None
    for bad in (good.strip(), good + b"x", good.replace(b"1.1", b"2.0"), good.replace(b"CONNECT", b"connect"), b""):
        assert refusal(bad) is not None
    names = frozenset({"a.b", "*.c.d"})
    assert [is_known(name, names) for name in ("a.b", "x.c.d", "c.d", "x.y.c.d", "x.a.b", "", "*.c.d")] == [
        True, True, False, False, False, False, True
    ]  # fmt: skip


async def test_the_front_goes_with_its_server(engine: sessions.Engine, root: Path) -> None:
    async with served(engine, superserve_front="127.0.0.1:0") as addresses:
        port, certificate = await open_front(addresses)
        assert certificate == root / CERTIFICATE
        assert "PRIVATE" not in certificate.read_text()
    assert not certificate.exists()
    with pytest.raises(OSError):
        await trio.open_tcp_stream("127.0.0.1", port)


async def test_the_front_stays_on_this_machine(engine: sessions.Engine) -> None:
    for bind in ("0.0.0.0:0", "nonsense"):
        with pytest.RaisesGroup(sessions.Invalid):  # of the test's own nursery
            async with served(engine, superserve_front=bind):
                pass


async def test_only_who_may_do_anything_opens_it(addresses: Addresses) -> None:
    async with over_tcp(addresses, token=None) as client:
        assert (await client.post("/server/superserve-front")).status_code == 401
    async with over_unix(addresses) as client:
        assert (await client.get("/server/superserve-front")).status_code == 405


async def test_without_what_makes_certificates(addresses: Addresses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    async with over_tcp(addresses) as client:
        answer = await client.post("/server/superserve-front")
    assert answer.status_code == 503
    assert "pip install '.[superserve]'" in answer.json()["error"]["message"]


def exported(root: Path, *arguments: str) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "sessions", "--root", str(root), "env", "superserve", *arguments],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [shlex.split(line) for line in done.stdout.splitlines()]
    assert all(line[0] == "export" for line in lines)
    return dict(line[1].split("=", 1) for line in lines)


def proxied(variables: Mapping[str, str]) -> httpx.Client:
    """A client that goes by the front for all that is not on this machine."""
    names = ("HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            patch.delenv(name)
        for name in names:
            patch.setenv(name, variables[name])
        return httpx.Client(timeout=30)


def check(variables: dict[str, str]) -> None:
    """That a program with these variables can run a command."""
    key = {"X-API-Key": variables["SUPERSERVE_API_KEY"]}
    with proxied(variables) as client:
        made = client.post(f"{variables['SUPERSERVE_BASE_URL']}/sandboxes", json={"name": "x"}, headers=key).json()
        headers = {"X-Access-Token": made["access_token"]}
        answer = client.post("https://sandbox.superserve.ai/exec", json={"command": "echo x"}, headers=headers)
        assert answer.json()["stdout"] == "x\n"
        with pytest.raises(httpx.ProxyError):
            client.get("https://example.com")


def test_env_of_a_server_that_has_been_started(root: Path) -> None:
    with server_process(root) as server:
        variables = exported(root, "--token", OTHER_TOKEN)
        assert variables["SUPERSERVE_BASE_URL"] == f"{server.http}/superserve"
        check(variables)
        assert exported(root, "--url", server.http, "--token", OTHER_TOKEN) == variables


@pytest.fixture
def served_root(root: Path) -> Iterator[Path]:
    """A root whose server was started with a front, as a program."""
    program = [sys.executable, "-m", "sessions", "--root", str(root), "serve", "--json", "--superserve-front"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["unix"]
        yield root
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_env_of_a_server_with_a_front(served_root: Path) -> None:
    assert (served_root / CERTIFICATE).exists()
    check(exported(served_root))
