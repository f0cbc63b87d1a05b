"""Several engines on one root, in this process and in another one: each reads what the others write, and acts on its own alone.

Run as a program, this file is the other process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import attrs
import pytest
import trio
from conftest import leftovers, open_descriptors

import sessions

ECHO = 'echo up; while read -r line; do echo "$line"; echo "$line" >&2; done; exit 3'


async def other_engine(root: str, requests: AsyncIterator[str], answer: Callable[[str], Awaitable[None]]) -> None:
    """An engine with a session and a running command, which does what it is told."""
    async with sessions.open_engine(root) as engine:
        session = await engine.create_session("theirs", labels={"whose": "theirs"})
        echo = await session.run_async(ECHO, stdin=True, labels={"n": "1"})
        await echo.wait_for("up")
        await answer(json.dumps([session.id, echo.id]))
        async for request in requests:
            match request.split():
                case ["say", word]:
                    await echo.send_input(word + "\n")
                case ["end"]:
                    await echo.close_input()
                    await echo.wait()
                case ["close"]:
                    await session.close()
            await answer(request)


async def lines_of(stream: trio.abc.ReceiveStream) -> AsyncIterator[str]:
    rest = b""
    async for data in stream:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line.decode()


@attrs.define
class Other:
    """The other engine, seen from here."""

    session_id: str
    command_id: str
    tell: Callable[[str], Awaitable[None]]
    """Returns when it is done."""
    kill: Callable[[], Awaitable[None]] | None = None
    """Ends its process, if that is not ours."""


async def in_this_process(root: Path) -> AsyncIterator[Other]:
    request, requests = trio.open_memory_channel[str](0)
    answer, answers = trio.open_memory_channel[str](0)

    async def tell(text: str) -> None:
        await request.send(text)
        assert await answers.receive() == text

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other_engine, str(root), requests, answer.send)
        yield Other(*json.loads(await answers.receive()), tell)
        await request.aclose()


async def in_another_process(root: Path) -> AsyncIterator[Other]:
    process = await trio.lowlevel.open_process([sys.executable, __file__, str(root)], stdin=-1, stdout=-1)
    assert process.stdin is not None
    assert process.stdout is not None
    answers = lines_of(process.stdout)

    async def tell(text: str) -> None:
        assert process.stdin is not None
        await process.stdin.send_all(text.encode() + b"\n")
        assert await anext(answers) == text

    async def kill() -> None:
        process.kill()
        await process.wait()

    async with process.stdin, process.stdout:
        try:
            yield Other(*json.loads(await anext(answers)), tell, kill)
            await process.stdin.aclose()
            with trio.fail_after(30):
                await process.wait()
        finally:
            with trio.CancelScope(shield=True):
                await kill()


@pytest.fixture(params=[in_this_process, in_another_process])
async def other(root: Path, request: pytest.FixtureRequest) -> AsyncIterator[Other]:
    async for other in request.param(root):
        yield other
    assert leftovers({other.session_id}) == []


@pytest.fixture
async def killable(root: Path) -> AsyncIterator[Other]:
    async for other in in_another_process(root):
        yield other


@pytest.fixture
async def engine(root: Path) -> AsyncIterator[sessions.Engine]:
    async with sessions.open_engine(root, limits=sessions.Limits(kill_grace_seconds=1.0)) as engine:
        yield engine


async def collect(records: sessions.streams.RecordStream) -> list[sessions.Record]:
    async with records:
        return [record async for record in records]


def log_descriptors(engine: sessions.Engine) -> set[str]:
    return {descriptor for descriptor in open_descriptors() if f"{engine.root}/sessions/" in descriptor}


# Reading


async def test_an_open_name_is_taken_in_all_engines(other: Other, engine: sessions.Engine) -> None:
    with pytest.raises(sessions.Conflict, match="an open session is called 'theirs' already"):
        await engine.create_session("theirs")
    with pytest.raises(sessions.Conflict, match="choose another name"):
        await engine.create_session(other.session_id)
    await other.tell("close")
    mine = await engine.create_session("theirs")
    assert (await engine.get_session("theirs")).id == mine.id
    assert (await engine.get_session(other.session_id)).state == "closed"


async def test_everything_is_found_and_shown_as_it_is(other: Other, engine: sessions.Engine) -> None:
    mine = await engine.create_session("mine")
    assert {(s.id, s.name, s.state) for s in await engine.list_sessions()} == {
        (other.session_id, "theirs", "open"),
        (mine.id, "mine", "open"),
    }
    (theirs,) = await engine.list_sessions(labels={"whose": "theirs"})
    (command,) = await theirs.list_commands(labels={"n": "1"}, state="running")
    assert (command.id, command.text, command.state) == (other.command_id, ECHO, "running")
    assert [one.id for one in await engine.list_commands(session="theirs")] == [other.command_id]
    await other.tell("end")
    await command.refresh()
    assert (command.state, command.reason, command.exit_code) == ("finished", "exit", 3)


async def test_a_follower_gets_each_piece_as_it_comes_and_the_end(other: Other, engine: sessions.Engine) -> None:
    descriptors = log_descriptors(engine)
    command = await engine.get_command(other.command_id)
    seen = []
    async with command.follow(stream="stdout") as records:
        seen.append(await anext(records))
        for word in ("one", "two"):
            await other.tell(f"say {word}")
            with trio.fail_after(20):
                seen.append(await anext(records))
        await other.tell("end")
        seen += [record async for record in records]
    assert [record.data for record in seen] == [b"up\n", b"one\n", b"two\n"]
    assert (await command.refresh()).exit_code == 3
    assert await collect(command.follow(stream="stdout")) == seen
    # Another engine's log is read from its files: these are closed again.
    assert log_descriptors(engine) == descriptors


async def test_following_goes_on_behind_any_record_in_any_engine(
    other: Other, engine: sessions.Engine, root: Path
) -> None:
    for word in ("one", "two"):
        await other.tell(f"say {word}")
    command = await engine.get_command(other.command_id)
    first = await anext(aiter(await command.follow().__aenter__()))
    await other.tell("end")
    whole = await collect(command.follow())
    assert whole[0] == first
    assert b"".join(record.data for record in whole if record.stream == "stderr") == b"one\ntwo\n"
    async with sessions.open_engine(root) as third:
        again = await third.get_command(other.command_id)
        for position, record in enumerate(whole):
            assert await collect(again.follow(after=record.seq)) == whole[position + 1 :]


async def test_logs_are_those_of_this_moment(other: Other, engine: sessions.Engine) -> None:
    command = await engine.get_command(other.command_id)
    theirs = await engine.get_session("theirs")
    assert (await command.logs()).output == b"up\n"
    await other.tell("say one")
    await command.wait_for("^one$", stream="stdout")
    await command.wait_for("^one$", stream="stderr")
    logs = await command.logs()
    assert (logs.stdout, logs.stderr) == (b"up\none\n", b"one\n")
    assert await theirs.logs() == logs
    assert (await command.logs(tail=1, stream="stdout")).output == b"one\n"
    assert str(await command.excerpt()) == logs.output.decode()


async def test_waiting_ends_when_the_command_does(other: Other, engine: sessions.Engine) -> None:
    command = await engine.get_command(other.command_id)
    waited = []

    async def wait() -> None:
        waited.append(await command.wait())

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            assert not waited
            await other.tell("end")
    assert [(one.id, one.exit_code, one.stdout_bytes) for one in waited] == [(other.command_id, 3, 3)]


async def test_waiting_for_output_sees_the_others(other: Other, engine: sessions.Engine) -> None:
    command = await engine.get_command(other.command_id)
    with pytest.raises(sessions.TimedOut):
        await command.wait_for("never", timeout=0.2)
    await other.tell("say port=80")
    assert (await command.wait_for(r"port=(\d+)\n", timeout=20))[1] == b"80"
    await other.tell("end")
    with pytest.raises(sessions.EndedFirst, match="exit code 3"):
        await command.wait_for("never", timeout=20)


async def test_commands_of_several_engines_are_followed_at_once(other: Other, engine: sessions.Engine) -> None:
    mine = await (await engine.create_session("mine")).run_async("echo mine")
    theirs = await engine.get_command(other.command_id)
    found: dict[str, bytes] = {mine.id: b"", theirs.id: b""}
    async with sessions.follow_all([mine, theirs]) as records:
        await other.tell("say one")
        await other.tell("end")
        with trio.fail_after(20):
            async for command, record in records:
                found[command.id] += record.data
    assert found[mine.id] == b"mine\n"
    assert sorted(found[theirs.id].splitlines()) == [b"one", b"one", b"up"]


async def test_a_session_is_followed_until_its_engine_closes_it(other: Other, engine: sessions.Engine) -> None:
    theirs = await engine.get_session("theirs")
    seen = b""
    async with theirs.follow(stream="stdout") as records:
        await other.tell("say one")
        while not seen.endswith(b"one\n"):
            seen += (await anext(records)).data
        await other.tell("close")
        with trio.fail_after(20):
            seen += b"".join([record.data async for record in records])
    assert seen == b"up\none\n"
    assert (await theirs.refresh()).state == "closed"


async def test_watchers_in_all_engines_see_the_same_events(other: Other, engine: sessions.Engine, root: Path) -> None:
    async with sessions.open_engine(root) as third:
        async with engine.watch(after=0) as mine, third.watch(after=0) as thirds:
            await other.tell("end")
            session = await engine.create_session("mine")
            await other.tell("close")
            expected = [
                ("session_created", other.session_id, None),
                ("command_queued", other.session_id, other.command_id),
                ("command_started", other.session_id, other.command_id),
                ("command_finished", other.session_id, other.command_id),
                ("session_created", session.id, None),
                ("session_closed", other.session_id, None),
            ]
            with trio.fail_after(20):
                seen = [await anext(mine) for _ in expected]
                assert [await anext(thirds) for _ in expected] == seen
        assert [(event.type, event.session_id, event.command_id) for event in seen] == expected
        assert [event.seq for event in seen] == sorted({event.seq for event in seen})
        # Resumable, by whom ever.
        for position, event in enumerate(seen[:-1]):
            async with third.watch(after=event.seq) as events:
                assert await anext(events) == seen[position + 1]


# Acting


async def test_acting_on_anothers_things_is_refused_and_has_no_effect(other: Other, engine: sessions.Engine) -> None:
    session, command = await engine.get_session("theirs"), await engine.get_command(other.command_id)
    verbs: list[tuple[Callable[[], Awaitable[object]], str]] = [
        (lambda: session.run("true"), "session 'theirs' belongs to another engine: run commands in it there"),
        (lambda: session.run_async("true"), "session 'theirs' belongs to another engine: run commands in it there"),
        (session.restart, "session 'theirs' belongs to another engine: restart it there"),
        (session.close, "session 'theirs' belongs to another engine: close it there"),
        (lambda: engine.delete_session("theirs"), "session 'theirs' belongs to another engine: close it there"),
        (command.kill, f"command {command.id} belongs to another engine: kill it there"),
        (command.interrupt, f"command {command.id} belongs to another engine: interrupt it there"),
        (lambda: command.send_signal("TERM"), f"command {command.id} belongs to another engine: signal it there"),
        (lambda: command.send_input("x"), f"command {command.id} belongs to another engine: send input to it there"),
        (command.close_input, f"command {command.id} belongs to another engine: close the input of it there"),
    ]
    for verb, message in verbs:
        with pytest.raises(sessions.Conflict, match=message):
            await verb()
    await other.tell("say still")
    await command.wait_for("^still$", timeout=20, stream="stdout")
    assert [one.id for one in await session.list_commands()] == [command.id]
    assert (await command.logs()).stdout == b"up\nstill\n"


async def test_a_finished_command_of_another_engine_takes_no_harm(other: Other, engine: sessions.Engine) -> None:
    command = await engine.get_command(other.command_id)
    await other.tell("end")
    await command.kill()
    await command.interrupt()
    await command.send_signal("TERM")
    await command.close_input()
    with pytest.raises(sessions.Closed, match="finished"):
        await command.send_input("x")
    assert (command.reason, command.exit_code) == ("exit", 3)


# Afterwards


async def test_history_is_read_by_a_later_engine(other: Other, root: Path) -> None:
    await other.tell("say one")
    await other.tell("end")
    await other.tell("close")
    async with sessions.open_engine(root) as engine:
        session, command = await engine.get_session("theirs"), await engine.get_command(other.command_id)
        assert (session.id, session.state) == (other.session_id, "closed")
        assert (command.text, command.reason, command.exit_code) == (ECHO, "exit", 3)
        logs = await command.logs()
        assert (logs.stdout, logs.stderr) == (b"up\none\n", b"one\n")
        with trio.fail_after(20):
            assert b"".join(record.data for record in await collect(session.follow())) == logs.output
            assert (await command.wait()).duration_seconds is not None
        with pytest.raises(sessions.Closed, match="create another one; its logs stay readable"):
            await session.run("true")
        await engine.delete_session("theirs")
        with pytest.raises(sessions.NotFound):
            await engine.get_command(other.command_id)
        assert not (root / "sessions" / other.session_id).exists()


async def test_a_living_engine_sees_that_another_has_died(killable: Other, engine: sessions.Engine) -> None:
    command, session = await engine.get_command(killable.command_id), await engine.get_session("theirs")
    ended: dict[str, object] = {}

    async def follow_command() -> None:
        ended["follow"] = b"".join(record.data for record in await collect(command.follow()))

    async def follow_session() -> None:
        ended["session"] = b"".join(record.data for record in await collect(session.follow()))

    async def wait() -> None:
        ended["wait"] = (await (await engine.get_command(killable.command_id)).wait()).reason

    async def wait_for() -> None:
        with pytest.raises(sessions.EndedFirst, match="lost"):
            await (await engine.get_command(killable.command_id)).wait_for("never")
        ended["wait_for"] = "lost"

    assert killable.kill is not None
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for waiter in (follow_command, follow_session, wait, wait_for):
                nursery.start_soon(waiter)
            await trio.testing.wait_all_tasks_blocked()
            await killable.kill()
    assert ended == {"follow": b"up\n", "session": b"up\n", "wait": "lost", "wait_for": "lost"}
    assert ((await session.refresh()).state, (await command.refresh()).exit_code) == ("lost", None)
    assert leftovers({killable.session_id}) == []


@pytest.mark.parametrize("look", ["create_session", "list_sessions", "get_command", "list_commands"])
async def test_any_look_shows_a_dead_engines_things_as_lost(
    killable: Other, engine: sessions.Engine, look: str
) -> None:
    assert killable.kill is not None
    await killable.kill()
    match look:
        case "create_session":
            await engine.create_session("theirs")  # nobody holds that name any more
        case "list_sessions":
            assert [session.state for session in await engine.list_sessions()] == ["lost"]
        case "get_command":
            assert (await engine.get_command(killable.command_id)).reason == "lost"
        case "list_commands":
            assert [command.reason for command in await engine.list_commands()] == ["lost"]
            assert await engine.list_commands(state="running") == []


async def main() -> None:
    async def answer(text: str) -> None:
        print(text, flush=True)

    async with trio.lowlevel.FdStream(0) as requests:
        await other_engine(sys.argv[1], lines_of(requests), answer)


if __name__ == "__main__":
    trio.run(main)
