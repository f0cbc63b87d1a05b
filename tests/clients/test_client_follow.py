"""A client's streams over bad connections: cut anywhere, they go on where they were; where the server is gone, they say so."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import trio
from cutting_proxy import cutting_proxy
from server_process import TOKEN, ServerProcess, server_process

import sessions
from sessions.client import feed, patience

Verb = Callable[[trio.Event], Awaitable[None]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with server_process(tmp_path_factory.mktemp("server") / "root") as server:
        yield server


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "DELAYS_SECONDS", (0.0, 0.01, 0.01))


async def test_200_cuts_at_random_bytes_lose_and_repeat_nothing(server: ServerProcess) -> None:
    chosen = random.Random(11)
    budgets = (chosen.randrange(1, 800_000) for _ in range(200))
    written = hashlib.sha256()
    async with cutting_proxy(server.http, budgets) as proxy, sessions.connect(proxy.url, TOKEN) as client:
        async with sessions.connect(server.unix) as straight, straight.open_session() as session:
            command = await session.run_async("head -c 50000000 /dev/urandom")
            seen, last = hashlib.sha256(), -1
            async with (await client.get_command(command.id)).follow() as records:
                async for record in records:
                    assert record.seq > last
                    last = record.seq
                    seen.update(record.data)
            written.update((await command.logs()).stdout)
    assert seen.digest() == written.digest()
    assert proxy.cuts == 200


async def test_many_small_pieces_while_connections_are_cut(server: ServerProcess) -> None:
    chosen = random.Random(12)
    budgets = (chosen.randrange(1, 4_000) for _ in range(150))
    text = "for ((i = 0; i < 3000; i++)); do echo line $i; ((i % 100)) || { echo err $i >&2; sleep 0.02; }; done"
    async with cutting_proxy(server.http, budgets) as proxy, sessions.connect(proxy.url, TOKEN) as client:
        async with sessions.connect(server.unix) as straight, straight.open_session() as session:
            commands = [await session.run_async(text) for _ in range(3)]
            remote = [await client.get_command(command.id) for command in commands]
            pieces: dict[str, dict[str, bytes]] = {
                command.id: {"stdout": b"", "stderr": b"", "text": b""} for command in commands
            }

            async def follow(command: object) -> None:
                mine = pieces[command.id]  # type: ignore[attr-defined]

                def hear(text: str) -> None:
                    mine["text"] += text.encode()

                async with command.follow(on_stdout=hear) as records:  # type: ignore[attr-defined]
                    async for record in records:
                        mine[record.stream] += record.data

            merged: dict[str, bytes] = {}
            async with trio.open_nursery() as nursery:
                for command in remote:
                    nursery.start_soon(follow, command)
                async with sessions.follow_all(remote) as pairs:
                    async for command, record in pairs:
                        merged[command.id] = merged.get(command.id, b"") + record.data
            for command in commands:
                logs = await command.logs()
                assert pieces[command.id] == {"stdout": logs.stdout, "stderr": logs.stderr, "text": logs.stdout}
                assert merged[command.id] == logs.output
            assert {command.state for command in remote} == {"finished"}
    assert proxy.cuts > 50


async def test_events_and_sessions_are_followed_over_cuts(server: ServerProcess) -> None:
    chosen = random.Random(13)
    budgets = (chosen.randrange(200, 2_000) for _ in range(60))
    async with cutting_proxy(server.http, budgets) as proxy, sessions.connect(proxy.url, TOKEN) as client:
        async with sessions.connect(server.unix) as straight:
            session = await straight.create_session()
            types: list[str] = []
            output = b""

            async def watch(task_status: trio.TaskStatus[None]) -> None:
                async with client.watch(after=0) as events:
                    task_status.started()
                    async for event in events:
                        if event.session_id == session.id:
                            types.append(event.type)
                            if event.type == "session_closed":
                                return

            async def follow(task_status: trio.TaskStatus[None]) -> None:
                nonlocal output
                async with (await client.get_session(session.id)).follow() as records:
                    task_status.started()
                    async for record in records:
                        output += record.data

            async with trio.open_nursery() as nursery:
                await nursery.start(watch)
                await nursery.start(follow)
                for number in range(50):
                    await session.run(f"echo {number}")
                await session.close()
            assert output == (await session.logs()).output
    assert len(types) == 2 + 3 * 50
    assert proxy.cuts > 10


async def test_logs_are_whole_over_cuts(server: ServerProcess) -> None:
    budgets = iter([500_000, 1_000_000, 300_000, 2_000_000])
    async with cutting_proxy(server.http, budgets) as proxy, sessions.connect(proxy.url, TOKEN) as client:
        async with sessions.connect(server.unix) as straight, straight.open_session() as session:
            command = (await session.run("head -c 5000000 /dev/urandom; head -c 3000000 /dev/urandom >&2")).command
            whole = await command.logs()
            remote = await client.get_command(command.id)
            assert await remote.logs() == whole
            assert proxy.cuts == 4
            proxy.cut_all()
            assert (await remote.logs(start=100, stop=4_000_000)).output == whole.output[100:4_000_000]


# A server that is gone


async def test_a_server_that_is_gone_is_told_of(tmp_path: Path, impatient: None) -> None:
    with server_process(tmp_path / "root") as server:
        async with sessions.connect(server.unix) as client:
            session = await client.create_session("s")
            command = await session.run_async("echo one; sleep 60")
            raised: list[sessions.Broken] = []

            async def read(stream: object, ready: trio.Event) -> None:
                async with stream:  # type: ignore[attr-defined]
                    async for _ in stream:  # type: ignore[attr-defined]
                        ready.set()

            async def wait(ready: trio.Event) -> None:
                ready.set()
                await command.wait()

            async def run(ready: trio.Event) -> None:
                await session.run("echo ready; sleep 60", on_stdout=lambda _: ready.set())

            async def expect_broken(verb: Verb, ready: trio.Event) -> None:
                with pytest.raises(sessions.Broken, match="sessions serve") as caught:
                    await verb(ready)
                raised.append(caught.value)

            streams = [command.follow(), sessions.follow_all([command]), session.follow(), client.watch(after=0)]
            verbs: list[Verb] = [*(partial(read, stream) for stream in streams), wait, run]
            async with trio.open_nursery() as nursery:
                for verb in verbs:
                    ready = trio.Event()
                    nursery.start_soon(expect_broken, verb, ready)
                    await ready.wait()
                server.kill()
            assert len(raised) == len(verbs)
            for error in raised:
                assert server.unix in str(error)
            for call in (command.refresh, command.logs, session.close, client.list_sessions, command.kill):
                with pytest.raises(sessions.Broken, match="no server answers"):
                    await call()
            with pytest.raises(sessions.Broken, match="sessions serve"):
                async with command.follow():
                    pass


async def test_a_new_server_on_the_same_root_is_found(tmp_path: Path) -> None:
    with server_process(tmp_path / "root") as server:
        async with sessions.connect(server.unix) as client:
            session = await client.create_session("s")
            command = await session.run_async("echo one; sleep 60")
            seen: list[bytes] = []
            async with trio.open_nursery() as nursery:

                async def wait() -> None:
                    assert (await command.wait()).reason == "lost"

                nursery.start_soon(wait)
                async with command.follow() as records:
                    async for record in records:
                        seen.append(record.data)
                        server.kill()
                        with_next = ServerProcess(server.root)
            assert (seen, command.state, command.reason) == ([b"one\n"], "finished", "lost")
            with_next.stop()


async def test_a_server_that_closes_is_not_the_end_of_the_command(tmp_path: Path, impatient: None) -> None:
    with server_process(tmp_path / "root") as server:
        async with sessions.connect(server.unix) as client, trio.open_nursery() as nursery:
            session = await client.create_session("s")
            command = await session.run_async("echo one; sleep 60")
            async with command.follow() as records:
                async for _ in records:
                    # Told of its end before the server ends.
                    nursery.start_soon(trio.to_thread.run_sync, server.stop)
            assert command.reason == "session_closed"


async def test_silence_is_a_broken_connection(server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sessions.client.connection.SILENCE_SECONDS", 0.2)
    async with sessions.connect(server.unix) as client, client.open_session() as session:
        command = await session.run_async("echo one; sleep 1.5; echo two")
        opened = 0
        original = feed.Feed._open

        async def count(self: feed.Feed) -> None:
            nonlocal opened
            opened += 1
            await original(self)

        monkeypatch.setattr(feed.Feed, "_open", count)
        async with command.follow() as records:
            assert [record.data async for record in records] == [b"one\n", b"two\n"]
        assert opened > 2


async def test_cancelling_a_read_does_not_spoil_the_stream(server: ServerProcess) -> None:
    async with sessions.connect(server.unix) as client, client.open_session() as session:
        command = await session.run_async("read x; echo $x", stdin=True)
        async with command.follow() as records:
            for _ in range(3):
                with trio.move_on_after(0.1):
                    await anext(records)
            await command.send_input("late\n")
            assert [record.data async for record in records] == [b"late\n"]
