"""Where a server listens, who is there already, and what lies in the way."""

from __future__ import annotations

import os
import re
import socket
import ssl
import stat
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio
import trustme
from conftest import open_descriptors
from served import TOKEN, over_tcp, over_unix, served

import sessions
from sessions.server.limits import ServerLimits
from sessions.server.listening import resolve
from sessions.server.serving import serve


async def refused(engine: sessions.Engine, **options: Any) -> str:
    """What `serve` says about why it does not."""
    with pytest.raises(sessions.SessionsError) as caught:
        await serve(engine, **options)
    assert not (engine.root / "serve.sock").exists()
    return str(caught.value)


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SESSIONS_TOKEN", raising=False)


async def test_unix_socket_is_the_only_way_unless_told(engine: sessions.Engine, root: Path) -> None:
    root.chmod(0o755)
    async with served(engine, bind=()) as addresses:
        assert (addresses.urls, addresses.unix) == ([], root / "serve.sock")
        assert stat.S_IMODE(os.stat(root / "serve.sock").st_mode) == 0o600
        assert stat.S_IMODE(os.stat(root).st_mode) == 0o700
        assert not (root / "token").exists()
        async with over_unix(addresses) as client:
            assert (await client.get("/v1/health")).json()["engine_id"] == engine.id
    assert not (root / "serve.sock").exists()
    assert (await (await engine.create_session()).run("echo on")).stdout == "on\n", "the engine is the caller's"


async def test_many_addresses(engine: sessions.Engine, tmp_path: Path) -> None:
    path = tmp_path / "another.sock"
    async with served(engine, bind=["127.0.0.1:0", "localhost:0"], unix=path) as addresses:
        assert addresses.unix == path
        assert len(set(addresses.urls)) == 2
        for url in addresses.urls:
            async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
                assert (await client.get("/v1/health")).status_code == 200
    async with served(engine, unix=False) as addresses, over_tcp(addresses) as client:
        assert addresses.unix is None
        assert (await client.get("/v1/health")).status_code == 200


async def test_second_server_is_told_of_the_first(engine: sessions.Engine, root: Path) -> None:
    async with served(engine) as addresses:
        async with sessions.open_engine(root) as another:
            with pytest.raises(sessions.Conflict) as caught:
                await serve(another, unix=root / "another.sock")
        for fact in (str(root), str(os.getpid()), addresses.urls[0], str(addresses.unix)):
            assert fact in str(caught.value)
        async with over_unix(addresses) as client:
            assert (await client.get("/v1/health")).status_code == 200
    async with served(engine):
        pass


async def test_stale_socket_is_replaced(engine: sessions.Engine, root: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(root / "serve.sock"))
        dead.listen()
    async with served(engine) as addresses, over_unix(addresses) as client:
        assert (await client.get("/v1/health")).status_code == 200


async def test_what_is_no_stale_socket_stays(engine: sessions.Engine, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    assert "something else is there" in await refused(engine, unix=path)
    assert path.read_text() == "data"
    taken = tmp_path / "taken"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(taken))
        other.listen()
        assert "somebody listens there already" in await refused(engine, unix=taken)
        assert taken.is_socket()


async def test_paths_that_no_socket_can_have(engine: sessions.Engine, tmp_path: Path) -> None:
    assert "107 are possible" in await refused(engine, unix=tmp_path / ("x" * 100))
    assert "can't listen there" in await refused(engine, unix=tmp_path / "missing" / "serve.sock")


async def test_taken_port(engine: sessions.Engine) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert "choose another port" in await refused(engine, bind=[f"127.0.0.1:{other.getsockname()[1]}"], token=TOKEN)


@pytest.mark.parametrize(
    "bind", ["", "7878", ":7878", "localhost", "127.0.0.1:65536", "127.0.0.1:x", "::1:80", "a b:1", "127.0.0.1:-1"]
)
async def test_binds_that_are_none(engine: sessions.Engine, bind: str) -> None:
    assert "127.0.0.1:7878" in await refused(engine, bind=[bind])


async def test_arguments(engine: sessions.Engine) -> None:
    assert "pass a list" in await refused(engine, bind="127.0.0.1:0")
    assert "nowhere to listen" in await refused(engine, unix=False)
    assert "go together" in await refused(engine, certfile="x")
    assert "no token" in await refused(engine, token="two words")
    assert "no token" in await refused(engine, token="")
    assert "can't be used" in await refused(engine, bind=["127.0.0.1:0"], certfile="/nowhere", keyfile="/nowhere")
    with pytest.raises(sessions.Invalid):
        ServerLimits(header_seconds=0)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


IPV6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6: it is NOT TESTED")


@pytest.mark.parametrize("bind", ["0.0.0.0:0", pytest.param("[::]:0", marks=IPV6)])
async def test_others_reach_it_only_if_told(engine: sessions.Engine, bind: str) -> None:
    assert "insecure" in await refused(engine, bind=["127.0.0.1:0", bind], token=TOKEN)
    async with served(engine, bind=[bind], insecure=True) as addresses:
        assert addresses.urls[0].startswith("http://" + bind.rpartition(":")[0])


@pytest.mark.parametrize(
    ("bind", "exposed"),
    [
        ("127.0.0.1:0", False),
        ("127.9.9.9:1", False),
        ("[::1]:0", False),
        ("localhost:0", False),
        ("0.0.0.0:0", True),
        ("[::]:0", True),
        ("192.0.2.1:1", True),
        ("[fe80::1]:1", True),
    ],
)
async def test_exposed(bind: str, exposed: bool) -> None:
    assert (await resolve(bind)).is_exposed is exposed


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[trustme.CA, Path, Path]:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    certfile, keyfile = tmp_path / "cert.pem", tmp_path / "key.pem"
    keyfile.write_bytes(issued.private_key_pem.bytes())
    for blob in issued.cert_chain_pems:
        blob.write_to_path(certfile, append=True)
    return authority, certfile, keyfile


async def test_tls(engine: sessions.Engine, certificate: tuple[trustme.CA, Path, Path]) -> None:
    authority, certfile, keyfile = certificate
    context = ssl.create_default_context()
    authority.configure_trust(context)
    # With a certificate, others may reach it.
    async with served(engine, bind=["0.0.0.0:0"], certfile=certfile, keyfile=keyfile, header_seconds=1.0) as addresses:
        assert addresses.urls[0].startswith("https://0.0.0.0:")
        port = int(addresses.urls[0].rpartition(":")[2])
        async with httpx.AsyncClient(base_url=f"https://127.0.0.1:{port}", verify=context) as client:
            assert (await client.get("/v1/health")).status_code == 401
            answer = await client.get("/v1/health", headers={"Authorization": f"Bearer {TOKEN}"})
            assert (answer.status_code, answer.http_version) == (200, "HTTP/1.1")
        for hello in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                with trio.fail_after(10):  # a handshake that does not go on is cut
                    await stream.send_all(hello)
                    try:
                        while await stream.receive_some():
                            pass
                    except trio.BrokenResourceError:
                        pass
        async with httpx.AsyncClient(base_url=f"https://127.0.0.1:{port}", verify=context) as client:
            answer = await client.get("/v1/health", headers={"Authorization": f"Bearer {TOKEN}"})
            assert answer.status_code == 200
        async with over_unix(addresses) as client:
            assert (await client.get("/v1/health")).status_code == 200


@pytest.mark.usefixtures("fresh")
async def test_token_is_made_once(engine: sessions.Engine, root: Path) -> None:
    async with served(engine, token=None) as addresses:
        token = (root / "token").read_text().strip()
        assert len(token) >= 40
        assert stat.S_IMODE((root / "token").stat().st_mode) == 0o600
        async with over_tcp(addresses, token) as client:
            assert (await client.get("/v1/health")).status_code == 200
    async with served(engine, token=None) as addresses, over_tcp(addresses, token) as client:
        assert (await client.get("/v1/health")).status_code == 200
    assert not list(root.glob(".token*"))


@pytest.mark.usefixtures("fresh")
async def test_token_that_others_can_read(engine: sessions.Engine, root: Path) -> None:
    (root / "token").write_text("secret\n")
    (root / "token").chmod(0o644)
    assert "open to others (mode 644)" in await refused(engine, bind=["127.0.0.1:0"])
    (root / "token").chmod(0o600)
    (root / "token").write_text("\n")
    assert "no token" in await refused(engine, bind=["127.0.0.1:0"])


async def test_token_from_the_environment(engine: sessions.Engine, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    monkeypatch.setenv("SESSIONS_TOKEN", "from-outside")
    async with served(engine, token=None) as addresses:
        async with over_tcp(addresses, "from-outside") as client:
            assert (await client.get("/v1/health")).status_code == 200
        assert not (root / "token").exists()
    monkeypatch.setenv("SESSIONS_TOKEN", "two words")
    assert "no token" in await refused(engine, bind=["127.0.0.1:0"])


async def test_nothing_stays_open(engine: sessions.Engine) -> None:
    """A server that has ended, and one that could not begin, leave no descriptor behind."""
    async with served(engine):  # what is made once
        pass
    before = open_descriptors()
    async with served(engine) as addresses, over_tcp(addresses) as client:
        await client.get("/v1/health")
    await refused(engine, bind=["127.0.0.1:0", "127.0.0.1:x"])
    assert open_descriptors() == before


def test_limits_are_documented() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "security.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+)(?: ([KM])iB)? \|", page, re.M)
    shown = {name: int(number.replace(",", "")) << {"": 0, "K": 10, "M": 20}[unit] for name, number, unit in rows}
    assert shown == attrs.asdict(ServerLimits())
