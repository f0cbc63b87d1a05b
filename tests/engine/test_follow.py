"""Following shows every byte once and in order: from the first or from any position, however slow the reader."""

from __future__ import annotations

import hashlib
import random
import shlex
import sys
from pathlib import Path

import pytest
import trio
import trio.testing
from conftest import joined, read_all
from large_logs import forget_peak, peak_kib

import sessions

# Holds back a process that a command left behind, until the file is there.
UNTIL = "until [ -e {0} ]; do sleep 0.01; done"


async def test_a_follower_that_comes_late_starts_at_the_first_byte(session: sessions.Session) -> None:
    command = await session.run_async("echo one; echo two >&2; echo three; sleep 60")
    await command.wait_for("three")
    async with command.follow() as records:
        seen = b""
        while len(seen) < len(b"one\ntwo\nthree\n"):
            seen += (await anext(aiter(records))).data
    assert seen == (await command.logs()).output
    assert sorted(seen.split()) == [b"one", b"three", b"two"]


async def test_following_what_is_finished_shows_all_and_ends(session: sessions.Session) -> None:
    command = (await session.run("seq 1 200000")).command
    with trio.fail_after(30):
        assert joined(await read_all(command.follow())) == (await command.logs()).output
        silent = (await session.run(":")).command
        assert await read_all(silent.follow()) == []


async def test_following_what_waits_in_the_queue(session: sessions.Session) -> None:
    first = await session.run_async("read x", in_shell=True, stdin=True)
    queued = await session.run_async("echo begun; echo done >&2", in_shell=True)
    output: list[bytes] = []

    async def follow() -> None:
        output.append(joined(await read_all(queued.follow())))

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await trio.testing.wait_all_tasks_blocked()
            assert (queued.state, output) == ("queued", [])
            await first.close_input()
    assert sorted(output[0].split()) == [b"begun", b"done"]


async def test_a_long_queue_of_short_commands_can_be_followed_to_its_end(session: sessions.Session) -> None:
    # They end and begin so fast that descriptors of one are those of the next.
    commands = [await session.run_async(f"echo {n}; echo err {n} >&2", in_shell=True) for n in range(300)]
    with trio.fail_after(60):
        for number, command in enumerate(commands):
            pieces = await read_all(command.follow())
            assert sorted(record.data for record in pieces) == [b"%d\n" % number, b"err %d\n" % number]


async def test_following_what_is_taken_out_of_the_queue_ends(session: sessions.Session) -> None:
    await session.run_async("sleep 60", in_shell=True)
    queued = await session.run_async("echo never", in_shell=True)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_all, queued.follow())
            await trio.testing.wait_all_tasks_blocked()
            await queued.kill()
    assert await read_all(queued.follow()) == []


async def test_each_piece_arrives_before_the_next_is_written(session: sessions.Session) -> None:
    command = await session.run_async("for i in 1 2 3 4 5; do echo $i; read x; done", stdin=True)
    with trio.fail_after(30):
        async with command.follow() as records:
            number = 0
            async for record in records:
                number += 1
                assert record.data == b"%d\n" % number
                await command.send_input("next\n")
    assert number == 5


async def test_what_ends_a_follower_has_an_outcome(session: sessions.Session) -> None:
    for exit_code in (0, 3, 0, 7):
        command = await session.run_async(f"echo x; exit {exit_code}")
        await read_all(command.follow())
        assert (command.state, command.exit_code, command.reason) == ("finished", exit_code, "exit")


# Going on


async def test_going_on_behind_any_record_shows_exactly_the_rest(session: sessions.Session) -> None:
    text = (
        "for i in {1..150}; do echo $i; [ $((i % 7)) = 0 ] && echo err $i >&2; [ $((i % 10)) = 0 ] && sleep 0.001; done"
    )
    commands = [await session.run_async(text) for _ in range(3)]
    for command in commands:
        await command.wait()
    for command in commands:
        records = await read_all(command.follow())
        assert len(records) > 10
        assert {record.command_id for record in records} == {command.id}
        assert await read_all(command.follow(after=-1)) == records
        for at, record in enumerate(records):
            assert await read_all(command.follow(after=record.seq)) == records[at + 1 :]
        for stream in ("stdout", "stderr"):
            chosen = [record for record in records if record.stream == stream]
            assert await read_all(command.follow(stream=stream)) == chosen
            middle = records[len(records) // 2]
            assert await read_all(command.follow(stream=stream, after=middle.seq)) == [
                record for record in chosen if record.seq > middle.seq
            ]


async def test_a_follower_that_is_cut_off_hundreds_of_times_loses_and_repeats_nothing(
    session: sessions.Session,
) -> None:
    command = await session.run_async("for i in {1..4000}; do echo line $i; [ $((i % 10)) = 0 ] && sleep 0.001; done")
    chosen = random.Random(4)
    seen: list[sessions.Record] = []
    connections = 0
    finished = False
    with trio.fail_after(60):
        while not finished:
            connections += 1
            wanted = chosen.randrange(1, 4)
            async with command.follow(after=seen[-1].seq if seen else None) as records:
                async for record in records:
                    seen.append(record)
                    wanted -= 1
                    if not wanted:
                        break
                else:
                    finished = True
    assert connections > 50
    assert joined(seen) == b"".join(b"line %d\n" % number for number in range(1, 4001))


async def test_a_position_must_be_one(session: sessions.Session) -> None:
    command = (await session.run("echo x")).command
    wrong: list[dict[str, object]] = [{"after": -2}, {"after": "1"}, {"after": 1.5}, {"stream": "both"}]
    for options in wrong:
        for target in (command, session):
            with pytest.raises(sessions.Invalid, match=next(iter(options))):
                target.follow(**options)  # type: ignore[arg-type]


# Slow and stopped readers


async def test_a_follower_that_stops_reading_slows_nothing_and_misses_nothing(session: sessions.Session) -> None:
    size = 48 << 20
    command = await session.run_async(f"seq 1 100000000 | head -c {size}")
    digest, total = hashlib.sha256(), 0
    async with command.follow() as records:
        first = await anext(aiter(records))
        digest.update(first.data)
        total += len(first.data)
        with trio.fail_after(60):
            await command.wait()
        async for record in records:
            digest.update(record.data)
            total += len(record.data)
    assert total == command.stdout_bytes == size
    expected = await session.run(f"seq 1 100000000 | head -c {size} | sha256sum")
    assert expected.stdout.split()[0] == digest.hexdigest()


async def test_a_line_of_fifty_megabytes_is_exact_and_never_whole_in_memory(
    session: sessions.Session, tmp_path: Path
) -> None:
    line = shlex.quote(str(tmp_path / "line"))
    made = await session.run(
        f"head -c 39000000 /dev/urandom | base64 -w 0 > {line}; sha256sum < {line}; wc -c < {line}"
    )
    expected, size = made.stdout.split()[0], int(made.stdout.split()[-1])
    forget_peak()
    before = peak_kib()
    command = await session.run_async(f"cat {line}; echo; echo next")
    digest, total, last = hashlib.sha256(), 0, b""
    with trio.fail_after(60):
        async with command.follow() as records:
            async for record in records:
                piece = record.data[: max(0, size - total)]
                digest.update(piece)
                total += len(record.data)
                last = (last + record.data)[-10:]
        assert (await command.logs(tail=1)).output == b"next\n"
    assert peak_kib() - before < 30 * 1024
    assert (total, digest.hexdigest(), last[-6:]) == (size + 6, expected, b"\nnext\n")


# Text

CHARACTERS = "é€漢🎉"


async def test_characters_that_arrive_byte_by_byte_are_handed_on_whole(session: sessions.Session) -> None:
    data = CHARACTERS.encode() + b"\xff" + "é".encode() + b"\xe2\x82"
    program = f"import os, sys\nfor byte in {data!r}: os.write(1, bytes([byte])); sys.stdin.readline()"
    text = f"{shlex.quote(sys.executable)} -S -c {shlex.quote(program)}"
    for kind in ("sync", "async"):
        command = await session.run_async(text, stdin=True)
        pieces: list[str] = []

        async def take(piece: str, pieces: list[str] = pieces) -> None:
            await trio.lowlevel.checkpoint()
            pieces.append(piece)

        raw = b""
        with trio.fail_after(30):
            async with command.follow(on_stdout=pieces.append if kind == "sync" else take) as records:
                async for record in records:
                    assert len(record.data) == 1
                    raw += record.data
                    await command.send_input("\n")
        assert raw == data
        assert pieces == [*CHARACTERS, "\ufffd", "é", "\ufffd"]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_callbacks_of_run_get_the_text_of_each_stream(session: sessions.Session, kind: str) -> None:
    program = (
        f"import os, time\nfor byte in {CHARACTERS.encode() * 5!r}:\n"
        " os.write(1, bytes([byte])); os.write(2, bytes([byte])); time.sleep(0.001)"
    )
    pieces: dict[str, list[str]] = {"stdout": [], "stderr": []}

    async def take_out(piece: str) -> None:
        await trio.lowlevel.checkpoint()
        pieces["stdout"].append(piece)

    result = await session.run(
        f"{shlex.quote(sys.executable)} -S -c {shlex.quote(program)}",
        on_stdout=take_out if kind == "async" else pieces["stdout"].append,
        on_stderr=pieces["stderr"].append,
    )
    assert (result.exit_code, result.stdout, result.stderr) == (0, CHARACTERS * 5, CHARACTERS * 5)
    for stream in pieces.values():
        assert "".join(stream) == CHARACTERS * 5
        assert "" not in stream


async def test_a_callback_that_fails_ends_the_command_that_is_run(session: sessions.Session) -> None:
    def refuse(piece: str) -> None:
        raise RuntimeError(piece)

    with trio.fail_after(30):
        with pytest.raises(RuntimeError, match="begun"):
            await session.run("echo begun; sleep 60", on_stdout=refuse)
        assert (await session.run("echo ok")).output == "ok\n"
    assert (await session.list_commands())[0].reason == "killed"


async def test_awaiting_a_follower_hands_everything_to_its_callbacks(session: sessions.Session) -> None:
    command = await session.run_async("printf out; printf err >&2; printf '\\303'")
    pieces: list[str] = []
    errors: list[str] = []
    await command.follow(on_stdout=pieces.append, on_stderr=errors.append)
    assert ("".join(pieces), "".join(errors)) == ("out\ufffd", "err")


# Late output


@pytest.mark.parametrize("in_shell", [True, False])
async def test_what_processes_write_that_were_left_behind(
    session: sessions.Session, tmp_path: Path, in_shell: bool
) -> None:
    go = tmp_path / "go"
    text = f"({UNTIL.format(shlex.quote(str(go)))}; echo late; echo later >&2) & echo now"
    command = await session.run_async(text, in_shell=in_shell)
    with trio.fail_after(30):
        early = await read_all(command.follow())
        assert (joined(early), command.exit_code) == (b"now\n", 0)
        assert (await command.logs()).output == b"now\n"
        late: list[bytes] = []

        async def follow_late() -> None:
            late.append(joined(await read_all(command.follow(late=True))))
            late.append(joined(await read_all(command.follow(late=True, after=early[-1].seq))))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow_late)
            await trio.testing.wait_all_tasks_blocked()
            assert late == []
            go.touch()
    assert sorted(late[0].split()) == [b"late", b"later", b"now"]
    assert sorted(late[1].split()) == [b"late", b"later"]
    logs = await command.logs()
    assert (logs.stdout, logs.stderr, logs.output) == (b"now\nlate\n", b"later\n", late[0])
    assert joined(await read_all(command.follow())) == b"now\n"
