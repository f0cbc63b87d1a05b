"""Checks of the verbs: reading logs, in part and cut down; following one and many."""

from __future__ import annotations

import pytest
from subject import Subject, check, joined, records_of

import sessions

WRITES = "for i in 1 2 3 4 5; do echo out $i; echo err $i >&2; sleep 0.05; done"


@check
async def logs_whole_and_in_part(subject: Subject) -> None:
    async with subject.session() as session:
        command = (await session.run(WRITES)).command
        records = await records_of(command.follow())
        logs = await command.logs()
        assert isinstance(logs, sessions.Logs)
        assert logs.stdout == b"".join(b"out %d\n" % n for n in range(1, 6))
        assert logs.stderr == b"".join(b"err %d\n" % n for n in range(1, 6))
        assert (logs.output, logs.dropped_bytes) == (joined(records), 0)
        assert (await command.logs(stream="stderr")) == sessions.Logs(b"", logs.stderr, logs.stderr)
        assert (await command.logs(tail=1, stream="stdout")).output == b"out 5\n"
        assert (await command.logs(tail=0)).output == b""
        assert (await command.logs(tail=100)) == logs
        assert (await command.logs(start=3, stop=20)).output == logs.output[3:20]
        assert (await command.logs(start=3, stop=9, stream="stderr")).output == logs.stderr[3:9]
        middle = records[len(records) // 2]
        assert (await command.logs(after=middle.seq)).output == joined([r for r in records if r.seq > middle.seq])
        assert (await command.logs(after=-1)) == logs
        late, early = await command.logs(since=middle.time), await command.logs(until=middle.time)
        assert logs.output.endswith(late.output)
        assert logs.output.startswith(early.output)
        assert len(late.output) + len(early.output) >= len(logs.output)
        assert (await command.logs(since=records[-1].time + 10)).output == b""
        other = (await session.run("echo other")).command
        assert (await session.logs()).output == logs.output + b"other\n"
        assert (await session.logs(tail=1)).stdout == b"other\n"
        assert (await session.logs(stream="stderr")).output == logs.stderr
        assert (await other.logs()).stdout == b"other\n"


@check
async def parts_that_can_not_be_are_refused(subject: Subject) -> None:
    async with subject.session() as session:
        command = (await session.run("echo one")).command
        wrong: list[dict[str, object]] = [
            {"tail": -1},
            {"tail": "5"},
            {"tail": True},
            {"tail": 1, "start": 0},
            {"since": "today"},
            {"until": float("nan")},
            {"after": -2},
            {"stream": "both"},
            {"start": -1},
            {"stop": 1.5},
        ]
        for options in wrong:
            for target in (command, session):
                with pytest.raises(sessions.Invalid):
                    await target.logs(**options)
        with pytest.raises(sessions.Invalid):
            await command.excerpt(0)
        for options in ({"after": -2}, {"after": "5"}, {"stream": "both"}, {"on_stdout": 5}):
            for target in (command, session):
                with pytest.raises(sessions.Invalid):
                    target.follow(**options)
            if "on_stdout" not in options:
                after = options.get("after")
                with pytest.raises(sessions.Invalid):
                    subject.follow_all(
                        [command], after={session.id: after} if after else None, stream=options.get("stream")
                    )


@check
async def excerpts(subject: Subject) -> None:
    async with subject.session() as session:
        command = await session.run_async("seq 1 20000; read x; echo why >&2; read x; seq 1 20000", stdin=True)
        for seen in ("20000\n", "why\n"):  # so that it is logged between the others, whatever else is to be done
            await command.wait_for(seen)
            await command.send_input("\n")
        await command.wait()
        excerpt = await command.excerpt(max_bytes=3_000)
        logs = await command.logs()
        assert isinstance(excerpt, sessions.Excerpt)
        assert logs.output.startswith(excerpt.head)
        assert logs.output.endswith(excerpt.tail)
        assert (excerpt.stderr_tail, excerpt.omitted_bytes) == (b"why\n", len(logs.output) - 2_000)
        left_out = await command.logs(start=excerpt.omitted_start, stop=excerpt.omitted_stop)
        assert excerpt.head + left_out.output + excerpt.tail == logs.output
        assert "bytes omitted" in str(excerpt)
        assert (await command.excerpt()).omitted_bytes > 0


@check
async def following_one_command(subject: Subject) -> None:
    async with subject.session() as session:
        command = await session.run_async(WRITES)
        live = await records_of(command.follow())
        assert (command.state, command.exit_code) == ("finished", 0)
        logs = await command.logs()
        assert all(isinstance(record, sessions.Record) for record in live)
        assert {(record.command_id, record.dropped_bytes) for record in live} == {(command.id, 0)}
        assert [record.seq for record in live] == sorted({record.seq for record in live})
        assert [record.time for record in live] == sorted(record.time for record in live)
        assert (joined(live), joined(live, "stdout"), joined(live, "stderr")) == (logs.output, logs.stdout, logs.stderr)
        again = await records_of(command.follow())
        assert joined(again) == logs.output
        for at, record in enumerate(again):
            assert joined(await records_of(command.follow(after=record.seq))) == joined(again[at + 1 :])
        assert joined(await records_of(command.follow(stream="stderr"))) == logs.stderr
        silent = (await session.run(":")).command
        assert await records_of(silent.follow()) == []


@check
async def each_piece_comes_before_the_next_is_written(subject: Subject) -> None:
    async with subject.session() as session:
        command = await session.run_async("for i in 1 2 3; do echo $i; read x; done", stdin=True)
        number = 0
        async with command.follow() as records:
            async for record in records:
                number += 1
                assert record.data == b"%d\n" % number
                await command.send_input("next\n")
        assert number == 3


@check
async def leaving_a_stream_early(subject: Subject) -> None:
    async with subject.session() as session:
        command = await session.run_async("echo one; sleep 60")
        for _ in range(5):
            async with command.follow() as records:
                async for record in records:
                    assert record.data == b"one\n"
                    break
        with pytest.raises(ZeroDivisionError):
            async with command.follow() as records:
                async for _ in records:
                    raise ZeroDivisionError
        # Its output may be read before its start is told.
        assert (await command.refresh()).state != "finished"


@check
async def late_output_is_seen_by_who_asks_for_it(subject: Subject) -> None:
    async with subject.session() as session:
        command = await session.run_async("(sleep 0.5; echo late) & echo early")
        assert joined(await records_of(command.follow())) == b"early\n"
        assert joined(await records_of(command.follow(late=True))) == b"early\nlate\n"
        assert (await command.logs()).output == b"early\nlate\n"


@check
async def following_a_session_until_it_is_closed(subject: Subject) -> None:
    async with subject.session() as session:
        await session.run("echo one")
        seen: list[sessions.Record] = []
        async with session.follow() as records:
            async for record in records:
                seen.append(record)
                if record.data == b"one\n":
                    second = (await session.run("echo two >&2")).command
                else:
                    await session.close()
        assert [(record.stream, record.data) for record in seen] == [("stdout", b"one\n"), ("stderr", b"two\n")]
        assert seen[1].command_id == second.id
        assert session.state == "closed"
        assert joined(await records_of(session.follow(after=seen[0].seq))) == b"two\n"
        assert joined(await records_of(session.follow(stream="stdout"))) == b"one\n"


@check
async def following_many_at_once(subject: Subject) -> None:
    async with subject.session() as session, subject.session() as other:
        texts = [f"for i in 1 2 3; do echo {name} $i; sleep 0.02; done" for name in "abcde"]
        commands = [await (session if at % 2 else other).run_async(text) for at, text in enumerate(texts)]
        silent = await session.run_async(":")
        seen: dict[str, bytes] = {}
        last: dict[str, int] = {}
        async with subject.follow_all([*commands, silent]) as records:
            async for command, record in records:
                assert command in commands
                assert command.id == record.command_id
                seen[command.id] = seen.get(command.id, b"") + record.data
                last[command.session_id] = record.seq
        assert {command.state for command in (*commands, silent)} == {"finished"}
        assert seen == {command.id: (await command.logs()).output for command in commands}
        async with subject.follow_all(commands, after=last) as records:
            assert [pair async for pair in records] == []
        async with subject.follow_all([]) as records:
            assert [pair async for pair in records] == []
        async with subject.follow_all(commands, stream="stderr") as records:
            assert [pair async for pair in records] == []


@check
async def a_stream_that_was_not_opened_says_so(subject: Subject) -> None:
    """It would seem to be empty."""
    if not subject.cancels:
        return  # blocking streams open themselves
    async with subject.session() as session:
        command = (await session.run("echo one")).command
        for stream in (
            command.follow(),
            session.follow(),
            subject.follow_all([command]),
            subject.host.watch(after=0),
        ):
            with pytest.raises(sessions.Conflict, match="async with"):
                async for _ in stream:
                    pass
