"""Over TLS: a certificate that is trusted, and those that are not, told in words of which one can make something."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trustme
from command_line import CommandLine
from served import TOKEN, served

import sessions


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path, Path]:
    """The authority's, and the server's with its key."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    paths = (tmp_path / "authority.pem", tmp_path / "cert.pem", tmp_path / "key.pem")
    authority.cert_pem.write_to_path(paths[0])
    issued.cert_chain_pems[0].write_to_path(paths[1])
    issued.private_key_pem.write_to_path(paths[2])
    return paths


async def elsewhere(call: Callable[[], Awaitable[None]]) -> None:
    """An asyncio program, in a thread: the server needs this one."""
    await trio.to_thread.run_sync(lambda: asyncio.run(call()))  # type: ignore[arg-type]


async def test_certificates(
    engine: sessions.Engine, certificate: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority, certfile, keyfile = certificate
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    async with served(engine, bind=["0.0.0.0:0"], certfile=certfile, keyfile=keyfile) as addresses:
        url = addresses.urls[0].replace("0.0.0.0", "127.0.0.1")

        async def is_refused() -> None:
            async with sessions.connect(url, TOKEN) as client:
                for call in (client.list_sessions, client.create_session):
                    with pytest.raises(sessions.Broken) as caught:
                        await call()
                    assert str(caught.value).startswith(f"the certificate of {url} is not trusted (unable to get local")
                    assert "$SSL_CERT_FILE" in str(caught.value)
                    assert "no server answers" not in str(caught.value)

        async def is_let_in() -> None:
            async with sessions.connect(url, TOKEN) as client, client.open_session() as session:
                assert (await session.run("echo over TLS")).stdout == "over TLS\n"

        await is_refused()
        await elsewhere(is_refused)
        cli = CommandLine(tmp_path / "other")
        done = await trio.to_thread.run_sync(lambda: cli.call("--url", url, "--token", TOKEN, "ps"))
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1)
        assert done.stderr.startswith(f"error: the certificate of {url} is not trusted (unable to get local")

        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        await is_let_in()
        await elsewhere(is_let_in)
        cli = CommandLine(tmp_path / "other")
        done = await trio.to_thread.run_sync(lambda: cli.call("--url", url, "--token", TOKEN, "ps", "-q"))
        assert (done.returncode, done.stderr) == (0, "")
        with pytest.raises(sessions.Broken, match=r"is not trusted \(.*127\.0\.0\.2"):
            async with sessions.connect(url.replace("127.0.0.1", "127.0.0.2"), TOKEN) as client:
                await client.list_sessions()
