"""What becomes of a connection once an answer is whole: closed for whom that was promised, kept for others, and not for ever."""

from __future__ import annotations

import socket
import struct

import h11
import pytest
import trio
import trio.testing
from conftest import open_descriptors
from served import TOKEN, connect, get, raw, served

import sessions

STREAMS = ["/v1/commands/{}/follow", "/v1/commands/{}/logs"]
SECONDS = 10
"""For a loaded machine. What is not closed stays for `idle_seconds`, two minutes."""


async def finished(session: sessions.Session) -> str:
    command = await session.run_async("seq 1000")
    await command.wait()
    return command.id


@pytest.mark.parametrize("path", STREAMS)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_closed_at_its_end_for_who_wants_no_more(
    engine: sessions.Engine, session: sessions.Session, path: str, version: str
) -> None:
    target = path.format(await finished(session))
    if version == "1.1":
        request = get(target, "Connection: close")
    else:
        request = get(target).replace(b"HTTP/1.1", b"HTTP/1.0")
    async with served(engine) as addresses:
        with trio.fail_after(SECONDS):
            answer = await raw(addresses, request)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"1000" in answer


@pytest.mark.parametrize("path", STREAMS)
async def test_whole_for_who_has_sent_more_than_its_last_request(
    engine: sessions.Engine, session: sessions.Session, path: str
) -> None:
    """Some old clients end a body with a line end too many."""
    request = get(path.format(await finished(session)), "Connection: close") + b"\r\n"
    async with served(engine) as addresses:
        with trio.fail_after(SECONDS):
            answer = await raw(addresses, request)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"1000" in answer


@pytest.mark.parametrize("path", STREAMS)
async def test_kept_for_who_may_ask_again_and_cut_when_he_does_not(
    engine: sessions.Engine, session: sessions.Session, path: str
) -> None:
    command_id = await finished(session)
    async with served(engine, idle_seconds=1.0) as addresses, await connect(addresses) as stream:
        protocol = h11.Connection(h11.CLIENT)
        with trio.fail_after(SECONDS):
            for _ in range(3):
                headers = [("Host", "localhost"), ("Authorization", f"Bearer {TOKEN}")]
                request = h11.Request(method="GET", target=path.format(command_id), headers=headers)
                await stream.send_all(protocol.send(request) + protocol.send(h11.EndOfMessage()))
                body = b""
                while not isinstance(event := protocol.next_event(), h11.EndOfMessage):
                    if event is h11.NEED_DATA:
                        protocol.receive_data(await stream.receive_some())
                    elif isinstance(event, h11.Response):
                        assert event.status_code == 200
                    else:
                        assert isinstance(event, h11.Data), event
                        body += event.data
                assert b"1000" in body
                protocol.start_next_cycle()
            assert await stream.receive_some() == b"", "it was idle for too long"


async def given_back(before: set[str]) -> None:
    with trio.fail_after(SECONDS):
        while open_descriptors() > before:
            await trio.sleep(0.01)


async def test_given_back_at_once_when_its_client_has_gone(engine: sessions.Engine) -> None:
    async with served(engine) as addresses:
        before = open_descriptors()
        clients = [await connect(addresses) for _ in range(20)]
        for client in clients:
            await client.send_all(get("/v1/health"))
            assert (await client.receive_some()).startswith(b"HTTP/1.1 200 ")
        await trio.testing.wait_all_tasks_blocked()  # each waits for another request
        for client in clients:
            client.socket.close()
        await given_back(before)


@pytest.mark.parametrize("offer", ["none", "HTTP/2", "another request"])
async def test_given_back_when_its_client_leaves_an_answer_that_goes_on(
    engine: sessions.Engine, session: sessions.Session, offer: str
) -> None:
    command = await session.run_async("echo on; exec sleep 600")
    await command.wait_for("on")
    target = f"/v1/commands/{command.id}/follow"
    request = get(target, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c") if offer == "HTTP/2" else get(target)
    # Behind another request, only a sign of life that can't be sent tells it.
    async with served(engine, heartbeat_seconds=0.1 if offer == "another request" else 600.0) as addresses:
        before = open_descriptors()
        clients = [await connect(addresses) for _ in range(20)]
        for client in clients:
            await client.send_all(request + (get("/v1/health") if offer == "another request" else b""))
            assert (await client.receive_some()).startswith(b"HTTP/1.1 200 ")
        for client in clients:
            client.socket.close()
        await given_back(before)


async def test_given_back_when_its_client_resets_it_before_the_answer(engine: sessions.Engine) -> None:
    async with served(engine) as addresses:
        before = open_descriptors()
        for _ in range(20):
            client = await connect(addresses)
            await client.send_all(get("/v1/sessions"))
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.socket.close()
        await given_back(before)
