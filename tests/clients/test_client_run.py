"""Running over a client: cancelled at any moment, cut off at any moment, with callbacks that fail, and in asyncio programs."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
import trio
from cutting_proxy import cutting_proxy
from server_process import TOKEN, ServerProcess, server_process

import sessions


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with server_process(tmp_path_factory.mktemp("server") / "root") as server:
        yield server


async def cancel_at_all_moments(client: sessions.Client) -> None:
    """Whatever a cancelled run has begun has ended when the cancellation has."""
    async with client.open_session() as session:
        for moment in range(40):
            with anyio.move_on_after(moment / 4_000):
                await session.run("sleep 60")
            assert [command.state for command in await session.list_commands(state="running")] == []
        await session.run("x=1")
        assert (await session.run("echo $x")).stdout == "1\n"
        reasons = {command.reason for command in await session.list_commands() if "sleep" in command.text}
        assert reasons == {"killed"}


async def test_cancelled_at_any_moment(server: ServerProcess) -> None:
    async with sessions.connect(server.unix) as client:
        await cancel_at_all_moments(client)


def test_cancelled_at_any_moment_on_asyncio(server: ServerProcess) -> None:
    async def main() -> None:
        async with sessions.connect(server.http, TOKEN) as client:
            await cancel_at_all_moments(client)

    anyio.run(main, backend="asyncio")


def test_asyncio_cancels_in_its_own_way(server: ServerProcess) -> None:
    async def main() -> None:
        async with sessions.connect(server.http, TOKEN) as client, client.open_session() as session:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(session.run("echo begun; sleep 60"), 0.5)
            task = asyncio.create_task(session.run("sleep 60", on_stdout=print))
            while not await session.list_commands(state="running"):
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            commands = await session.list_commands()
            assert [(command.state, command.reason) for command in commands] == [("finished", "killed")] * 2
            command = await session.run_async("echo one; sleep 60")

            async def follow() -> None:
                async with command.follow() as records:
                    async for _ in records:
                        pass

            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(follow(), 0.5)
            results = await asyncio.gather(*(session.run(f"echo {number}") for number in range(20)))
            assert [result.stdout for result in results] == [f"{number}\n" for number in range(20)]

    asyncio.run(main())


@pytest.mark.parametrize("pause", [0.0, 0.001, 0.01, 0.05])
def test_asyncio_cancels_twice(server: ServerProcess, pause: float) -> None:
    """Its shields don't hold back a second `cancel`, which then comes while the command is being ended."""

    async def main() -> None:
        async with sessions.connect(server.http, TOKEN) as client, client.open_session() as session:
            for _ in range(5):
                task = asyncio.create_task(session.run("sleep 60"))
                while not await session.list_commands(state="running"):
                    await asyncio.sleep(0.01)
                task.cancel()
                await asyncio.sleep(pause)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert {command.reason for command in await session.list_commands()} == {"killed"}
            task = asyncio.create_task(session.run("sleep 60"))
            for _ in range(3):  # before its id has come
                await asyncio.sleep(pause)
                task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert {command.reason for command in await session.list_commands()} == {"killed"}
            assert (await session.run("echo free")).stdout == "free\n"

    asyncio.run(main())


async def test_a_connection_that_breaks_does_not_end_a_run(server: ServerProcess) -> None:
    async with sessions.connect(server.unix) as straight, straight.open_session() as session:
        async with cutting_proxy(server.http, iter(())) as proxy, sessions.connect(proxy.url, TOKEN) as client:
            mine = await client.get_session(session.id)
            results: list[sessions.Result] = []
            pieces: list[str] = []

            async def run() -> None:
                text = "echo one; read x < /dev/fd/0; echo two $x >&2; (exit 5)"
                results.append(await mine.run(text, stdin=True))
                results.append(await mine.run("echo one; exit 6", on_stdout=pieces.append))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(run)
                while not (running := await session.list_commands(state="running")):
                    await trio.sleep(0.01)
                await running[0].wait_for("one")
                for _ in range(3):
                    proxy.cut_all()
                    await trio.sleep(0.05)
                await running[0].send_input("input\n")
            assert (results[0].stdout, results[0].stderr, results[0].exit_code) == ("one\n", "two input\n", 5)
            assert (results[1].exit_code, results[1].shell_ended, pieces) == (6, True, ["one\n"])


async def test_a_run_whose_id_never_came_is_told_of(server: ServerProcess) -> None:
    async with cutting_proxy(server.http, iter([10_000, 20])) as proxy, sessions.connect(proxy.url, TOKEN) as client:
        session = await client.create_session()
        proxy.cut_all()
        with pytest.raises(sessions.Broken, match="whether the server did it is not known"):
            await session.run("sleep 0.2")
        await session.close()


async def test_a_callback_that_fails_ends_the_command(server: ServerProcess) -> None:
    async with sessions.connect(server.unix) as client, client.open_session() as session:

        def fail(text: str) -> None:
            raise ZeroDivisionError(text)

        with pytest.raises(ZeroDivisionError, match="begun"):
            await session.run("echo begun; sleep 60", on_stdout=fail)
        (command,) = await session.list_commands()
        assert (command.state, command.reason) == ("finished", "killed")


async def test_a_session_is_closed_although_its_user_is_cancelled(server: ServerProcess) -> None:
    async with sessions.connect(server.unix) as client:
        with trio.move_on_after(0.5):
            async with client.open_session() as session:
                await session.run_async("sleep 60")
                await trio.sleep_forever()
        assert (await session.refresh()).state == "closed"


async def test_many_verbs_at_once(server: ServerProcess) -> None:
    async with sessions.connect(server.unix) as client, client.open_session() as session:
        commands = [await session.run_async(f"read x; echo {number} $x", stdin=True) for number in range(150)]
        seen: dict[str, bytes] = {}

        async def follow(command: object) -> None:
            async with command.follow() as records:  # type: ignore[attr-defined]
                async for record in records:
                    seen[record.command_id] = seen.get(record.command_id, b"") + record.data

        async with trio.open_nursery() as nursery:
            for command in commands:
                nursery.start_soon(follow, command)
                nursery.start_soon(command.wait)
            for command in commands:
                nursery.start_soon(command.send_input, "go\n")
        assert [seen[command.id] for command in commands] == [b"%d go\n" % number for number in range(150)]


async def test_who_is_no_server_and_who_lets_nobody_in(server: ServerProcess, tmp_path: Path) -> None:
    for address in (f"unix://{tmp_path}/nobody.sock", "http://127.0.0.1:9"):
        async with sessions.connect(address) as client:
            with pytest.raises(sessions.Broken, match=f"no server answers at {re.escape(address)}.*sessions serve"):
                await client.list_sessions()
    async with sessions.connect(server.http, "wrong") as client:
        with pytest.raises(sessions.Invalid, match="token="):
            await client.list_sessions()
        with pytest.raises(sessions.Invalid, match="token="):
            async with client.watch():
                pass

    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, answer, [listener])
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        async with sessions.connect(url, TOKEN) as client:
            with pytest.raises(sessions.Broken, match="is it a sessions server"):
                await client.list_sessions()
        nursery.cancel_scope.cancel()


async def test_a_closed_client_says_so(server: ServerProcess) -> None:
    client = sessions.connect(server.unix)
    session = await client.create_session()
    command = await session.run_async("sleep 60")
    async with trio.open_nursery() as nursery:

        async def follow() -> None:
            with pytest.raises(sessions.Closed, match="connect"):
                await command.follow()

        nursery.start_soon(follow)
        await trio.testing.wait_all_tasks_blocked()
        await client.close()
    await client.close()
    with pytest.raises(sessions.Closed, match="this client is closed"):
        await session.run("true")
    async with sessions.connect(server.unix) as other:
        await (await other.get_session(session.id)).close()


READER = """
import sys, trio, sessions
# Not ru_maxrss: that begins with the size of the process that started this one.
peak = lambda: next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
async def main():
    async with sessions.connect(sys.argv[1]) as client:
        logs = await (await client.get_command(sys.argv[2])).logs()
        assert logs.stdout is logs.output
        print(len(logs.output), peak() * 1024)
trio.run(main)
"""


async def test_a_log_of_300_mb_takes_little_more_memory_than_it_is_long(server: ServerProcess) -> None:
    async with sessions.connect(server.unix) as client:
        session = await client.create_session()
        command = await session.run_async("head -c 300000000 /dev/zero | tr '\\0' x")
        await command.wait()
        reader = [sys.executable, "-c", READER, server.unix, command.id]
        done = await trio.run_process(reader, capture_stdout=True, stdin=subprocess.DEVNULL)
        size, memory = map(int, done.stdout.split())
        assert size == 300_000_000
        assert memory < size + 150_000_000
        await client.delete_session(session.id)
