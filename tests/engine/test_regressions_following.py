"""What readers were not told, or too late: other engines' commands, late output, matches at the very end, sessions just created."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from conftest import joined, read_all

import sessions
from sessions.store.reading import Cursor, TranscriptReader, gather, last_lines, select
from sessions.store.records import STDOUT
from sessions.store.transcript import Transcript


async def until_logged(command: sessions.Command, output: bytes) -> None:
    with trio.fail_after(10):
        while (await command.logs()).output != output:
            await trio.sleep(0.02)


# Another engine's command


async def test_facts_are_up_to_date_after_following(engine: sessions.Engine, root: Path) -> None:
    async with sessions.open_engine(root) as other:
        session = await other.create_session()
        command = await session.run_async("read -r code; exit $code", stdin=True)
        seen = await engine.get_command(command.id)
        assert seen.state != "finished"
        await command.send_input("3\n")
        with trio.fail_after(10):
            await read_all(seen.follow())
        assert (seen.state, seen.reason, seen.exit_code) == ("finished", "exit", 3)


async def test_a_detached_command_is_followed_beyond_its_session(
    engine: sessions.Engine, root: Path, tmp_path: Path
) -> None:
    async with sessions.open_engine(root) as other:
        session = await other.create_session()
        text = f"echo on; until [ -e {tmp_path}/go ]; do sleep 0.02; done; echo late"
        command = await session.run_async(text, detach=True)
        await command.wait_for("on")
        await session.close()
        seen = await engine.get_command(command.id)
        assert seen.state == "running"
        output = b""
        with trio.fail_after(10):
            async with seen.follow() as records:
                async for record in records:
                    output += record.data
                    (tmp_path / "go").touch()
            assert (await seen.wait_for("late"))[0] == b"late"
        assert (output, seen.state) == (b"on\nlate\n", "finished")


async def test_late_output_is_shown_in_other_engines(engine: sessions.Engine, root: Path, tmp_path: Path) -> None:
    async with sessions.open_engine(root) as other:
        session = await other.create_session()
        late = f"(until [ -e {tmp_path}/go ]; do sleep 0.02; done; echo late; exec sleep 600) & echo one"
        command = await (await session.run_async(late)).wait()
        seen = await engine.get_command(command.id)
        assert (await seen.logs()).output == b"one\n"
        (tmp_path / "go").touch()
        await until_logged(seen, b"one\nlate\n")  # though whoever wrote it has it open still
        assert (await seen.refresh()).stdout_bytes == 9


# Waiting for output


@pytest.mark.parametrize("pattern", ["80", r"port \d+", "name"])
async def test_a_match_at_the_very_end_is_one_when_the_time_is_over(
    session: sessions.Session, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    """The time is over before the match has stopped growing."""
    monkeypatch.setattr("sessions.matching.GROW_SECONDS", 600)
    command = await session.run_async("printf 'port 80'; printf name >&2; sleep 600")
    with trio.fail_after(10):
        while (await command.logs()).stdout + (await command.logs()).stderr != b"port 80name":
            await trio.sleep(0.01)
    match = await command.wait_for(pattern, timeout=0.5)
    assert match[0] in (b"80", b"port 80", b"name")
    with pytest.raises(sessions.TimedOut):
        await command.wait_for("8080", timeout=0.1)


# From a position


async def test_following_from_behind_the_end_yields_nothing_older(
    session: sessions.Session, engine: sessions.Engine, root: Path
) -> None:
    command = await session.run_async("echo a; read -r line; echo b", stdin=True)
    await command.wait_for("a")
    async with sessions.open_engine(root) as other:
        followers = [
            command.follow(after=10**6),
            session.follow(after=10**6),
            (await other.get_command(command.id)).follow(after=10**6),
        ]
        found: list[bytes] = []

        async def read(index: int) -> None:
            found.append(joined(await read_all(followers[index])))

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for index in range(len(followers)):
                    nursery.start_soon(read, index)
                await command.send_input("\n")
                await command.wait()
                await session.close()
    assert found == [b"", b"", b""]


# Events


async def test_who_reacts_to_its_creation_gets_a_session_that_works(engine: sessions.Engine) -> None:
    results: list[sessions.Result] = []

    async def watcher(task_status: trio.TaskStatus[None]) -> None:
        async with engine.watch() as events:
            task_status.started()
            async for event in events:
                session = await engine.get_session(event.session_id)
                results.append(await session.run("echo on"))
                await session.close()
                return

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await nursery.start(watcher)
            await engine.create_session("new")
    assert [result.stdout for result in results] == ["on\n"]
    assert (await engine.get_session("new")).state == "closed"


# Bytes that are given up while they are read


@pytest.mark.parametrize("how", ["follow", "logs", "tail"])
async def test_bytes_that_go_while_they_are_read_are_told_not_shown_as_zeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """As when another process shortens its log between a look at the index and the read of the bytes."""
    transcript = Transcript("0000000000", tmp_path)
    reader = TranscriptReader.open("0000000000", tmp_path)
    try:
        for letter in (b"a", b"b", b"c"):
            transcript.append(1, STDOUT, letter * 8192)
        read = TranscriptReader.read

        def read_too_late(reader: TranscriptReader, begin: int, end: int) -> bytes:
            monkeypatch.undo()
            transcript.give_up(1, 0, 8192)
            return read(reader, begin, end)

        monkeypatch.setattr(TranscriptReader, "read", read_too_late)
        if how == "follow":
            records = [record for _, record in Cursor(reader, None, None, 0).read() if record is not None]
            assert [(record.stream, record.dropped_bytes) for record in records] == [
                ("dropped", 8192),
                ("stdout", 0),
                ("stdout", 0),
            ]
            output = joined(records)
        else:
            spans = list(select(reader, 1, 0, 3)) if how == "logs" else last_lines(reader, 1, 0, 3, None, 5)
            logs = gather(reader, spans)
            assert logs.dropped_bytes == 8192
            output = logs.output
        assert output == b"b" * 8192 + b"c" * 8192
    finally:
        reader.close()
        transcript.close()
