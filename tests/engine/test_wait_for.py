"""``wait_for`` finds a pattern in what a command has written or writes, however it is cut into pieces, and says when it can't come."""

from __future__ import annotations

import re
import shlex
import time

import pytest
import trio
import trio.testing

import sessions
import sessions.matching


async def next_record(command: sessions.Command, after: int | None = None) -> sessions.Record:
    """Wait for its next record: what it wrote has arrived."""
    async with command.follow(after=after) as records:
        async for record in records:
            return record
    raise AssertionError("the command ended without another record")


def piecewise(*pieces: str) -> str:
    """Writes each piece when it gets a line."""
    return "\n".join(f"printf %s {shlex.quote(piece)}; read x" for piece in pieces)


# What is there already


async def test_text_that_is_logged_already_is_found(session: sessions.Session) -> None:
    command = await session.run_async("echo starting; echo ready on port 8080; echo more; sleep 60")
    await command.wait_for("more\n")
    with trio.fail_after(30):
        match = await command.wait_for(r"ready on port (\d+)")
    assert (match[0], match[1]) == (b"ready on port 8080", b"8080")


async def test_the_log_of_a_finished_command_is_searched_too(session: sessions.Session) -> None:
    command = (await session.run("echo one; printf 'two 22'")).command
    assert (await command.wait_for("^one$"))[0] == b"one"
    assert (await command.wait_for(r"two (\d+)"))[1] == b"22"
    with pytest.raises(sessions.EndedFirst):
        await command.wait_for("three")


async def test_the_first_match_is_the_one(session: sessions.Session) -> None:
    command = (await session.run("for i in 1 2 3; do echo match $i; done")).command
    assert (await command.wait_for(r"match (\d)"))[1] == b"1"


@pytest.mark.parametrize("before", [0, 10, 65_500, 65_536, 1_000_000, 5_000_000])
async def test_a_match_anywhere_in_a_large_log(session: sessions.Session, before: int) -> None:
    command = (
        await session.run(f"head -c {before} /dev/zero; printf 'the needle 42.'; head -c 2000000 /dev/zero")
    ).command
    assert (await command.wait_for(rb"the needle (\d+)\."))[1] == b"42"


async def test_a_match_may_be_a_large_part_of_the_log(session: sessions.Session) -> None:
    command = (await session.run("echo begin; head -c 60000 /dev/zero; echo end")).command
    match = await command.wait_for(rb"begin\n\0+end\n")
    assert len(match[0]) == 60_010


# What comes


async def test_a_match_split_over_pieces(session: sessions.Session) -> None:
    command = await session.run_async(piecewise("rea", "dy on", " po", "rt 80\n"), stdin=True)
    found: list[re.Match[bytes]] = []

    async def wait() -> None:
        found.append(await command.wait_for(r"ready on port (\d+)\n"))

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            seq = None
            for _ in range(4):
                assert found == []
                record = await next_record(command, seq)
                seq = record.seq
                await command.send_input("next\n")
    assert found[0][1] == b"80"


async def test_a_match_of_several_lines(session: sessions.Session) -> None:
    command = await session.run_async("echo Traceback; echo '  File x'; echo 'ValueError: 5'; sleep 60")
    match = await command.wait_for(r"^Traceback\n(?:  .*\n)+(\w+): (\d)$")
    assert match.groups() == (b"ValueError", b"5")


async def test_the_last_line_needs_no_newline(session: sessions.Session) -> None:
    command = await session.run_async("printf 'name? '; read x; printf 'pass %s ' $x; read x; sleep 60", stdin=True)
    with trio.fail_after(30):
        assert (await command.wait_for(r"name\? $"))[0] == b"name? "
        await command.send_input("me\n")
        assert (await command.wait_for(r"pass (\w+)"))[1] == b"me"


async def test_a_number_that_still_grows_is_waited_for(
    session: sessions.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions.matching, "GROW_SECONDS", 20.0)
    command = await session.run_async(piecewise("ready on port 80", "80", " and more\n"), stdin=True)
    found: list[re.Match[bytes]] = []

    async def wait() -> None:
        found.append(await command.wait_for(r"ready on port (\d+)"))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            seq = None
            for _ in range(3):
                seq = (await next_record(command, seq)).seq
                await command.send_input("next\n")
    assert found[0][1] == b"8080"


async def test_a_number_at_the_end_of_all_output_is_taken_as_it_is(session: sessions.Session) -> None:
    command = await session.run_async("printf 'ready on port 80'; sleep 60")
    with trio.fail_after(30):
        assert (await command.wait_for(r"ready on port (\d+)"))[1] == b"80"
    command = (await session.run("printf 'ready on port 80'")).command
    assert (await command.wait_for(r"ready on port (\d+)"))[1] == b"80"


async def test_a_command_that_has_not_begun_can_be_waited_for(session: sessions.Session) -> None:
    first = await session.run_async("sleep 60", in_shell=True)
    queued = await session.run_async("echo begun; sleep 60", in_shell=True)
    found: list[bytes] = []

    async def wait() -> None:
        found.append((await queued.wait_for("begun"))[0])

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            assert (found, queued.state) == ([], "queued")
            await first.kill()
    assert found == [b"begun"]


async def test_many_may_wait_for_the_same_and_for_other_things(session: sessions.Session) -> None:
    command = await session.run_async("read x; for i in {0..49}; do echo line $i.; done; sleep 60", stdin=True)
    found: dict[int, bytes] = {}

    async def wait(number: int) -> None:
        found[number] = (await command.wait_for(rf"^line {number % 50}\.$"))[0]

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(wait, number)
            await trio.testing.wait_all_tasks_blocked()
            assert found == {}
            await command.send_input("go\n")
    assert found == {number: b"line %d." % (number % 50) for number in range(100)}


# Streams


async def test_a_stream_can_be_chosen(session: sessions.Session) -> None:
    command = (await session.run("echo said 1; echo said 2 >&2")).command
    assert (await command.wait_for(r"said (\d)", stream="stdout"))[1] == b"1"
    assert (await command.wait_for(r"said (\d)", stream="stderr"))[1] == b"2"
    with pytest.raises(sessions.EndedFirst):
        await command.wait_for("said 2", stream="stdout")
    with pytest.raises(sessions.Invalid, match="stream"):
        await command.wait_for("said", stream="both")


async def test_each_stream_is_searched_by_itself(session: sessions.Session) -> None:
    command = await session.run_async("printf he; read x; printf XX >&2; read x; printf llo; read x", stdin=True)
    seq = None
    for _ in range(3):
        seq = (await next_record(command, seq)).seq
        await command.send_input("next\n")
    await command.wait()
    assert (await command.logs()).output == b"heXXllo"
    assert (await command.wait_for("hello"))[0] == b"hello"
    with pytest.raises(sessions.EndedFirst):
        await command.wait_for("heXX")


# Patterns


PATTERNS: list[str | bytes | re.Pattern[str] | re.Pattern[bytes]] = [
    r"^port (\d+)$",
    rb"^port (\d+)$",
    re.compile(r"^port (\d+)$", re.MULTILINE),
    re.compile(rb"^port (\d+)$", re.MULTILINE),
    re.compile(r"(?m)^PORT (\d+)$", re.IGNORECASE),
    re.compile(rb"^ P O R T \s (\d+) $", re.IGNORECASE | re.MULTILINE | re.VERBOSE),
    r"(?s)start.*port (\d+)",
]


async def test_patterns_of_all_kinds(session: sessions.Session) -> None:
    command = (await session.run("echo start; echo port 80; echo end")).command
    for pattern in PATTERNS:
        assert (pattern, (await command.wait_for(pattern))[1]) == (pattern, b"80")


async def test_a_pattern_of_text_that_is_not_ascii(session: sessions.Session) -> None:
    command = (await session.run("echo 'prêt 漢字 🎉'")).command
    assert (await command.wait_for("prêt (.+)$"))[1].decode() == "漢字 🎉"


async def test_what_is_no_pattern_is_refused(session: sessions.Session) -> None:
    command = (await session.run("echo one")).command
    wrong: list[object] = ["(", b"[", None, 5, ["x"]]
    for value in wrong:
        with pytest.raises(sessions.Invalid, match="pattern"):
            await command.wait_for(value)  # type: ignore[arg-type]


# When it does not come


async def test_a_command_that_ends_first(session: sessions.Session) -> None:
    command = await session.run_async("echo almost; exit 3")
    with trio.fail_after(30):
        with pytest.raises(sessions.EndedFirst, match=rf"{command.id} ended \(exit, exit code 3\)"):
            await command.wait_for("quite")
    assert command.state == "finished"
    assert command.exit_code == 3


async def test_a_command_that_is_killed_first(session: sessions.Session) -> None:
    command = await session.run_async("echo begun; sleep 60")
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def wait() -> None:
                with pytest.raises(sessions.EndedFirst, match="killed"):
                    await command.wait_for("never")

            await command.wait_for("begun")
            await command.kill()


async def test_a_command_that_never_starts(session: sessions.Session) -> None:
    await session.run_async("sleep 60", in_shell=True)
    queued = await session.run_async("echo never", in_shell=True)
    await queued.kill()
    with pytest.raises(sessions.EndedFirst, match="killed"):
        await queued.wait_for("never")


async def test_the_end_of_a_match_that_the_command_did_not_write(session: sessions.Session) -> None:
    command = (await session.run("printf 'half a li'")).command
    with pytest.raises(sessions.EndedFirst):
        await command.wait_for("half a line")


async def test_a_time_limit_leaves_the_command_alone(session: sessions.Session) -> None:
    command = await session.run_async("echo begun; sleep 60")
    await command.wait_for("begun")
    before = time.monotonic()
    with pytest.raises(sessions.TimedOut, match=r"within 0\.3 s") as caught:
        await command.wait_for("never", timeout=0.3)
    assert isinstance(caught.value, TimeoutError)
    assert time.monotonic() - before >= 0.29
    assert command.state == "running"
    assert (await command.wait_for("begun", timeout=30))[0] == b"begun"


async def test_a_time_limit_must_be_one(session: sessions.Session) -> None:
    command = (await session.run("echo one")).command
    wrong: list[object] = [0, -1, float("nan"), "5", True]
    for value in wrong:
        with pytest.raises(sessions.Invalid, match="timeout"):
            await command.wait_for("one", timeout=value)  # type: ignore[arg-type]


async def test_waiting_can_be_cancelled(session: sessions.Session) -> None:
    command = await session.run_async("echo begun; sleep 60")
    await command.wait_for("begun")
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(command.wait_for, "never")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert command.state == "running"
