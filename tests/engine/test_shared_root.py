"""Several engines on one root, in this process and in another one: each reads what the others write."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing
from conftest import leftovers, open_descriptors, read_all
from other_engine import ECHO, Other, in_another_process, in_this_process

import sessions
from sessions.models import SessionInfo


@pytest.fixture(params=[in_this_process, in_another_process])
async def other(root: Path, request: pytest.FixtureRequest) -> AsyncIterator[Other]:
    async for other in request.param(root):
        yield other
    assert leftovers({other.session_id}) == []


@pytest.fixture
async def engine(root: Path) -> AsyncIterator[sessions.Engine]:
    async with sessions.open_engine(root, limits=sessions.Limits(kill_grace_seconds=1.0)) as engine:
        yield engine


def log_descriptors(engine: sessions.Engine) -> set[str]:
    return {descriptor for descriptor in open_descriptors() if f"{engine.root}/sessions/" in descriptor}


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
    assert await read_all(command.follow(stream="stdout")) == seen
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
    whole = await read_all(command.follow())
    assert whole[0] == first
    assert b"".join(record.data for record in whole if record.stream == "stderr") == b"one\ntwo\n"
    async with sessions.open_engine(root) as third:
        again = await third.get_command(other.command_id)
        for position, record in enumerate(whole):
            assert await read_all(again.follow(after=record.seq)) == whole[position + 1 :]


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


async def test_a_session_that_another_engine_deletes_while_sessions_are_listed_is_left_out(
    engine: sessions.Engine, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sessions.open_engine(root) as other:
        gone, kept = await other.create_session(), await other.create_session()

        async def delete_meanwhile(info: SessionInfo) -> None:
            if info.id == gone.id:
                await other.delete_session(gone.id)

        monkeypatch.setattr(engine.archive, "check_owner", delete_meanwhile)
        assert [session.id for session in await engine.list_sessions()] == [kept.id]
