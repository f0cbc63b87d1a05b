"""What ``logs`` returns is exactly what a plain list of the records says, and costs what is asked for, not what is there."""

from __future__ import annotations

import itertools
import random
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from large_logs import bytes_read

import sessions
from sessions import reading_logs
from sessions.store import reading
from sessions.store.records import RECORD_BYTES, STDERR, STDOUT, Span, unpack
from sessions.store.transcript import Transcript
from sessions.threads import run_in_thread

# Writes pieces of odd sizes to both streams in turn, each by itself.
TALKER = r"""
import os, random, sys, time
chosen = random.Random(int(sys.argv[1]))
for number in range(int(sys.argv[2])):
    text = chosen.choice([b"", b"\n", b"\n\n", b"line\n", b"piece ", b"a\nb\nc", b"x" * 300 + b"\n", b"\xc3", b"\xa9\n", b"\0\r"])
    os.write(chosen.choice([1, 1, 2]), b"%d" % number + text)
    time.sleep(chosen.choice([0, 0, 0.0005]))
"""


def talk(seed: int, pieces: int) -> str:
    return f"{shlex.quote(sys.executable)} -S -c {shlex.quote(TALKER)} {seed} {pieces}"


async def records_of(target: sessions.Command | sessions.Session) -> list[sessions.Record]:
    """All records of a command that has finished or of a session that is closed."""
    async with target.follow() as records:
        return [record async for record in records]


class Model:
    """What `logs` must return, computed in the plainest way."""

    def __init__(self, records: Sequence[sessions.Record]) -> None:
        self.records = records

    def logs(
        self,
        *,
        tail: int | None = None,
        since: float | None = None,
        until: float | None = None,
        after: int | None = None,
        stream: str | None = None,
        start: int | None = None,
        stop: int | None = None,
    ) -> sessions.Logs:
        output = [
            (record.stream, record.data[at : at + 1])
            for record in self.records
            if (since is None or record.time >= since)
            and (until is None or record.time <= until)
            and (after is None or record.seq > after)
            and (stream is None or record.stream == stream)
            for at in range(len(record.data))
        ]
        output = output[start or 0 : stop]
        if tail is not None:
            ends = [at for at, (_, byte) in enumerate(output) if byte == b"\n" and at < len(output) - 1]
            begins = [0, *(at + 1 for at in ends)]
            output = output[begins[max(0, len(begins) - tail)] :] if tail else []

        def joined(*streams: str) -> bytes:
            return b"".join(byte for name, byte in output if name in streams)

        return sessions.Logs(joined("stdout"), joined("stderr"), joined("stdout", "stderr"))

    def question(self, chosen: random.Random) -> dict[str, float | str]:
        """One that can be asked of it, at and beside its records and ends."""
        size = sum(len(record.data) for record in self.records)
        times = [record.time for record in self.records]
        seqs = [record.seq for record in self.records]
        options: dict[str, float] = {
            "since": chosen.choice(times) + chosen.choice([0, 0, 1e-6, -1e-6, 1e6, -1e6]),
            "until": chosen.choice(times) + chosen.choice([0, 0, 1e-6, -1e-6, 1e6, -1e6]),
            "after": chosen.choice(seqs) + chosen.choice([0, 0, 1, -1]),
            "start": chosen.choice([0, 1, size // 3, size - 1, size, size + 10, chosen.randrange(size)]),
            "stop": chosen.choice([0, 1, size // 3, size - 1, size, size + 10, chosen.randrange(size)]),
        }
        question: dict[str, float | str] = {name: value for name, value in options.items() if chosen.random() < 0.4}
        if chosen.random() < 0.4:
            question = {name: value for name, value in question.items() if name not in ("start", "stop")}
            question["tail"] = chosen.choice([0, 1, 2, 3, 10, 50, 10_000])
        if chosen.random() < 0.4:
            question["stream"] = chosen.choice(["stdout", "stderr"])
        return question


async def check(target: sessions.Command | sessions.Session, model: Model, seed: int, questions: int) -> None:
    chosen = random.Random(seed)
    for _ in range(questions):
        question = model.question(chosen)
        assert (question, await target.logs(**question)) == (question, model.logs(**question))  # type: ignore[arg-type]


async def test_every_question_gets_what_a_plain_list_of_records_says(root: Path) -> None:
    async with sessions.open_engine(root) as engine:
        session = await engine.create_session("talk")
        commands = [await session.run_async(talk(seed, 150), in_shell=seed == 2) for seed in range(3)]
        for command in commands:
            await command.wait()
        models = [Model(await records_of(command)) for command in commands]
        for seed, (command, model) in enumerate(zip(commands, models, strict=True)):
            assert len(model.records) > 20
            await check(command, model, seed, 150)
        await session.close()
        whole = Model(await records_of(session))
        assert [record for record in whole.records if record.command_id == commands[1].id] == models[1].records
        await check(session, whole, 7, 100)
    # From the files alone, by another engine.
    async with sessions.open_engine(root) as engine:
        for command, model in zip(commands, models, strict=True):
            await check(await engine.get_command(command.id), model, 8, 50)
        await check(await engine.get_session("talk"), whole, 9, 50)


async def test_the_log_of_a_session_is_that_of_its_commands_in_their_order(session: sessions.Session) -> None:
    for number in range(5):
        await session.run(f"echo out{number}; echo err{number} >&2")
    await session.close()
    records = await records_of(session)
    logs = await session.logs()
    assert logs.stdout == b"".join(b"out%d\n" % number for number in range(5))
    assert logs.stderr == b"".join(b"err%d\n" % number for number in range(5))
    assert logs.output == b"".join(record.data for record in records)
    numbers = [int(record.command_id.rpartition("-")[2]) for record in records]
    assert numbers == sorted(numbers)
    assert {record.command_id for record in records} == {command.id for command in await session.list_commands()}
    assert (await session.logs(tail=2, stream="stdout")).output == b"out3\nout4\n"


LAST_LINES = [
    ("", 3, ""),
    ("one", 1, "one"),
    ("one\\n", 1, "one\\n"),
    ("one\\ntwo", 1, "two"),
    ("one\\ntwo\\n", 1, "two\\n"),
    ("one\\ntwo\\n", 2, "one\\ntwo\\n"),
    ("one\\ntwo\\n", 3, "one\\ntwo\\n"),
    ("\\n\\n\\n", 2, "\\n\\n"),
    ("one\\n\\n", 1, "\\n"),
    ("one\\n\\n", 2, "one\\n\\n"),
    ("one\\r\\ntwo\\rthree\\n", 1, "two\\rthree\\n"),
    ("one\\n", 0, ""),
]


async def test_the_last_lines(session: sessions.Session) -> None:
    for output, tail, expected in LAST_LINES:
        result = await session.run(f"printf '{output}'")
        wanted = expected.encode().decode("unicode_escape").encode()
        assert (output, tail, (await result.command.logs(tail=tail)).output) == (output, tail, wanted)


async def test_the_last_lines_over_both_streams_and_of_each(session: sessions.Session) -> None:
    text = "for n in 0 2 4 6; do echo $n; read x; echo $((n + 1)) >&2; read x; done; echo 8"
    command = await session.run_async(text, stdin=True)
    for number in range(8):
        await command.wait_for(f"^{number}\n")
        await command.send_input("go on\n")
    await command.wait()
    assert (await command.logs()).output == b"0\n1\n2\n3\n4\n5\n6\n7\n8\n"
    merged = await command.logs(tail=3)
    assert (merged.output, merged.stdout, merged.stderr) == (b"6\n7\n8\n", b"6\n8\n", b"7\n")
    assert (await command.logs(tail=3, stream="stderr")).output == b"3\n5\n7\n"


# Order and times


async def test_a_thousand_alternating_flushes_through_one_pipe_keep_their_order(session: sessions.Session) -> None:
    program = "import os\nfor n in range(1000): os.write(1 + n % 2, b'%d\\n' % n)"
    result = await session.run(f"exec 2>&1; {shlex.quote(sys.executable)} -S -c {shlex.quote(program)}")
    assert result.logs.output == result.logs.stdout == b"".join(b"%d\n" % number for number in range(1000))


async def test_separate_streams_are_each_exact_and_numbered_in_one_order(session: sessions.Session) -> None:
    program = "import os\nfor n in range(1000): os.write(1 + n % 2, b'%d\\n' % n)"
    result = await session.run(f"{shlex.quote(sys.executable)} -S -c {shlex.quote(program)}")
    assert result.logs.stdout == b"".join(b"%d\n" % number for number in range(0, 1000, 2))
    assert result.logs.stderr == b"".join(b"%d\n" % number for number in range(1, 1000, 2))
    records = await records_of(result.command)
    assert b"".join(record.data for record in records) == result.logs.output
    assert all(one.seq < two.seq for one, two in itertools.pairwise(records))


async def test_each_record_has_a_time_within_the_life_of_its_command(session: sessions.Session) -> None:
    before = time.time()
    command = await (await session.run_async(talk(3, 100))).wait()
    times = [record.time for record in await records_of(command)]
    assert times == sorted(times)
    assert command.started_at is not None
    assert command.finished_at is not None
    # The index keeps whole microseconds.
    assert before - 1e-6 <= command.queued_at <= command.started_at <= times[0] + 1e-6
    assert times[-1] - 1e-6 <= command.finished_at <= time.time()


async def test_times_never_go_back_even_if_the_clock_does(
    engine: sessions.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await engine.create_session()
    first = (await session.run("echo first")).command
    real_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() - 3_600_000_000_000)
    second = (await session.run("echo second")).command
    monkeypatch.undo()
    third = (await session.run("echo third")).command
    await session.close()
    records = await records_of(session)
    assert [record.command_id for record in records] == [first.id, second.id, third.id]
    times = [record.time for record in records]
    assert times == sorted(times)
    assert (await session.logs(since=times[2])).output == b"third\n"
    assert (await session.logs(after=records[0].seq)).output == b"second\nthird\n"


# Its price


async def test_a_part_of_a_large_log_is_read_without_reading_the_rest(session: sessions.Session) -> None:
    size = 48 << 20
    await session.run("echo small; seq 100000")
    command = (await session.run(f"yes 0123456 | head -c {size}; for i in {{1..3000}}; do echo $i; done")).command
    await session.run("seq 100000")
    records = [record.seq for record in await records_of(command)]
    small = (await session.list_commands())[0]
    # The first one's end and the last one's beginning: nobody reads through the large one for them.
    allowed = 3 << 20
    before = bytes_read()
    assert (await command.logs(tail=100)).output == b"".join(b"%d\n" % number for number in range(2901, 3001))
    assert bytes_read() - before < allowed
    before = bytes_read()
    assert (await session.logs(tail=3)).output == b"99998\n99999\n100000\n"
    assert bytes_read() - before < allowed
    before = bytes_read()
    assert (await command.logs(start=size - 8, stop=size + 4)).output == b"0123456\n1\n2\n"
    assert bytes_read() - before < allowed
    before = bytes_read()
    assert (await small.logs(tail=1)).output == b"100000\n"
    assert bytes_read() - before < allowed
    before = bytes_read()
    assert command.finished_at is not None
    assert (await session.logs(since=command.finished_at)).output.endswith(b"\n100000\n")
    assert bytes_read() - before < allowed
    before = bytes_read()
    assert (await command.logs(after=records[-1])).output == b""
    assert bytes_read() - before < allowed
    before = bytes_read()
    assert len(str(await command.excerpt(max_bytes=10_000))) < 10_300
    assert bytes_read() - before < allowed


async def test_what_takes_long_is_read_beside_the_event_loop(
    session: sessions.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few bytes can be many records. What is small is read at once: a thread costs more."""
    in_threads = []

    async def note(*arguments: Any) -> Any:
        in_threads.append(arguments)
        return await run_in_thread(*arguments)

    monkeypatch.setattr(reading_logs, "run_in_thread", note)
    command = (await session.run("echo out; echo err >&2")).command
    verbs = (command.logs, partial(command.logs, tail=1), command.excerpt, partial(command.excerpt, 3), session.logs)
    found = [await verb() for verb in verbs]
    assert not in_threads
    monkeypatch.setattr(reading_logs, "LARGE_RECORDS", 4)
    assert [await verb() for verb in verbs] == found
    assert len(in_threads) == len(verbs)


def test_what_stands_before_a_record_is_found_without_reading_all_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transcript = Transcript("0000000000", tmp_path)
    transcript.append(1, STDERR, b"1")
    transcript.append(2, STDERR, b"2")
    for _ in range(4 * reading.BLOCK_RECORDS):
        transcript.append(1, STDOUT, b"x")
    transcript.append(2, STDERR, b"3")
    unpacked = []

    def note(index: bytes, *rest: Any) -> Iterator[Span]:
        unpacked.append(len(index) // RECORD_BYTES)
        return unpack(index, *rest)

    monkeypatch.setattr(reading, "unpack", note)
    spans = transcript.reader.spans_backwards(0, transcript.records, (2, STDERR))
    assert [span.seq for span in spans if (span.number, span.kind) == (2, STDERR)] == [transcript.records - 1, 1]
    assert sum(unpacked) < 3 * reading.BLOCK_RECORDS
    assert [span.seq for span in transcript.reader.spans_backwards(0, 9)] == list(reversed(range(9)))
    transcript.close()


# Bad questions


SENSELESS: list[dict[str, object]] = [
    {"tail": -1},
    {"tail": 1.5},
    {"tail": True},
    {"tail": "1"},
    {"start": -1},
    {"stop": -1},
    {"since": "now"},
    {"since": float("nan")},
    {"until": float("inf")},
    {"stream": "both"},
    {"stream": 1},
    {"after": "5"},
    {"after": 1.5},
    {"tail": 1, "start": 0},
    {"tail": 1, "stop": 5},
]


async def test_questions_that_make_no_sense_are_refused(session: sessions.Session) -> None:
    command = (await session.run("echo one")).command
    for question in SENSELESS:
        for target in (command, session):
            with pytest.raises(sessions.Invalid, match=next(iter(question))):
                await target.logs(**question)  # type: ignore[arg-type]


async def test_the_log_of_a_command_that_has_not_begun_is_empty(session: sessions.Session) -> None:
    first = await session.run_async("echo other; sleep 60", in_shell=True)
    queued = await session.run_async("echo queued", in_shell=True)
    await first.wait_for("other")
    assert queued.state == "queued"
    nothing = sessions.Logs(b"", b"", b"")
    for question in ({}, {"tail": 5}, {"start": 0, "stop": 10}, {"stream": "stdout"}, {"since": 0.0}):
        assert await queued.logs(**question) == nothing
    assert str(await queued.excerpt()) == ""
    with trio.fail_after(30):
        await first.kill()
        await queued.wait()
    assert (await queued.logs()).output == b"queued\n"
