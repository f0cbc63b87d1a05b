"""Checks of the verbs: commands beside the shell, waiting for them, acting on them, finding them."""

from __future__ import annotations

import math
import re
import signal
import time

import anyio
import pytest
from subject import Subject, check, fresh_name

import sessions


@check
async def commands_beside_the_shell(subject: Subject) -> None:
    async with subject.session() as session:
        await session.run("cd /usr; x=1")
        command = await session.run_async("echo $x $PWD; x=2; exit 4", labels={"a": "b"})
        assert (command.in_shell, command.labels, command.text[:4]) == (False, {"a": "b"}, "echo")
        assert command.state in ("queued", "running", "finished")
        assert (await command.wait()) is command
        assert (command.state, command.exit_code, command.reason) == ("finished", 4, "exit")
        assert (await command.logs()).output == b"1 /usr\n"
        queued = await session.run_async("x=3", in_shell=True)
        assert (queued.in_shell, (await session.run("echo $x")).stdout) == (True, "3\n")
        assert (await subject.host.get_command(command.id)).exit_code == 4
        kept = await session.run_async("read line; echo $line", stdin=True, detach=True)
        await session.close()
        assert (await kept.refresh()).state == "running"
        assert kept.info.detached is True
        await kept.send_input("later\n")
        await kept.wait()
        assert (await kept.logs()).output == b"later\n"


@check
async def input_reaches_a_command(subject: Subject) -> None:
    async with subject.session() as session:
        command = await session.run_async("cat", stdin=True)
        await command.send_input("text ä\n")
        await command.send_input(bytes(range(256)))
        await command.send_input(bytearray(b"more"))
        await command.wait_for(b"more")
        with pytest.raises(sessions.Invalid):
            await command.send_input(5)
        await command.close_input()
        await command.close_input()
        await command.wait()
        assert (await command.logs()).stdout == "text ä\n".encode() + bytes(range(256)) + b"more"
        with pytest.raises(sessions.Closed, match=command.id):
            await command.send_input("too late")
        deaf = await session.run_async("sleep 60")
        with pytest.raises(sessions.Conflict, match="stdin=True"):
            await deaf.send_input("x")
        with pytest.raises(sessions.Conflict, match="stdin=True"):
            await deaf.close_input()
        closed = await session.run_async("exec <&-; echo ready; sleep 60", stdin=True)
        await closed.wait_for("ready")
        with pytest.raises(sessions.Closed):
            while True:
                await closed.send_input(bytes(100_000))


@check
async def commands_are_interrupted_signalled_and_killed(subject: Subject) -> None:
    async with subject.session() as session:
        command = await session.run_async("trap 'echo caught; exit 9' USR1; echo ready; while :; do sleep 0.05; done")
        await command.wait_for("ready")
        for wrong in ("NOPE", 0, 5000, True, None):
            with pytest.raises(sessions.Invalid, match="signal"):
                await command.send_signal(wrong)
        await command.send_signal("USR1")
        await command.wait()
        assert (command.exit_code, command.reason) == (9, "exit")
        for number in (signal.SIGTERM, "TERM", 15, "SIGTERM"):
            command = await session.run_async("echo ready; exec sleep 60")
            await command.wait_for("ready")
            await command.send_signal(number)
            await command.wait()
            assert (command.signal, command.exit_code, command.reason) == (signal.SIGTERM, 143, "killed")
        await command.send_signal("TERM")
        command = await session.run_async("echo ready; exec sleep 60")
        await command.wait_for("ready")
        await command.interrupt()
        await command.interrupt()
        await command.wait()
        assert (command.exit_code, command.signal) == (130, signal.SIGINT)
        command = await session.run_async("trap '' TERM INT; echo ready; while :; do sleep 1; done")
        await command.wait_for("ready")
        for wrong in (-1, math.nan, "1"):
            with pytest.raises(sessions.Invalid, match="grace"):
                await command.kill(grace=wrong)
        assert (await command.kill(grace=0.1)) is command
        assert (command.state, command.reason) == ("finished", "killed")
        assert (await command.kill()).reason == "killed"
        busy = await session.run_async("sleep 60", in_shell=True)
        queued = await session.run_async("echo never", in_shell=True)
        assert (await queued.refresh()).started_at is None
        with pytest.raises(sessions.Conflict, match="not started"):
            await queued.send_signal("TERM")
        await queued.kill()
        assert (queued.reason, queued.exit_code, queued.duration_seconds) == ("killed", None, None)
        await busy.kill()


@check
async def closing_a_session_ends_its_commands(subject: Subject) -> None:
    async with subject.session() as session:
        command = await session.run_async("trap '' TERM; echo ready; while :; do sleep 1; done")
        await command.wait_for("ready")
        for wrong in (-1, math.nan, "1"):
            with pytest.raises(sessions.Invalid, match="grace"):
                await session.close(grace=wrong)
        await session.close(grace=0.1)
        assert (await command.refresh()).reason == "session_closed"
        assert (await command.logs()).output == b"ready\n"


# Waiting


@check
async def waiting_for_output(subject: Subject) -> None:
    async with subject.session() as session:
        command = await session.run_async("echo port 80; read x; printf 'name? '; read x; echo said $x >&2", stdin=True)
        for pattern in (r"^port (\d+)$", rb"port (\d+)", re.compile(r"PORT (\d+)", re.IGNORECASE)):
            match = await command.wait_for(pattern, timeout=30)
            assert (match[1], match.string[match.start() : match.end()]) == (b"80", match[0])
        began = time.monotonic()
        with pytest.raises(sessions.TimedOut, match=r"within 0\.3 s") as caught:
            await command.wait_for("never", timeout=0.3)
        assert isinstance(caught.value, TimeoutError)
        assert 0.29 < time.monotonic() - began < 20
        await command.send_input("x\n")
        assert (await command.wait_for(r"name\? $"))[0] == b"name? "
        await command.send_input("me\n")
        assert (await command.wait_for(r"said (\w+)", stream="stderr"))[1] == b"me"
        with pytest.raises(sessions.EndedFirst, match=rf"{command.id} ended \(exit, exit code 0\)"):
            await command.wait_for("said", stream="stdout")
        assert command.state == "finished"
        for wrong in ("(", None, 5):
            with pytest.raises(sessions.Invalid, match="pattern"):
                await command.wait_for(wrong)
        with pytest.raises(sessions.Invalid, match="timeout"):
            await command.wait_for("x", timeout=0)
        with pytest.raises(sessions.Invalid, match="stream"):
            await command.wait_for("x", stream="both")


# Finding


@check
async def commands_are_found_and_listed(subject: Subject) -> None:
    host = subject.host
    async with subject.session() as session, subject.session() as other:
        commands = [(await session.run("true", labels={"n": str(n), "of": session.id})).command for n in range(5)]
        running = await session.run_async("sleep 60", labels={"of": session.id})
        await other.run("true")
        ids = [command.id for command in (*commands, running)]

        async def listed(**options: object) -> list[str]:
            found = await host.list_commands(session=session, **options)
            assert [one.id for one in await session.list_commands(**options)] == [one.id for one in found]
            return [one.id for one in found]

        assert await listed() == ids
        assert await listed(state="finished") == ids[:5]
        assert await listed(labels={"n": "3"}) == ids[3:4]
        assert await listed(limit=2) == ids[4:]
        assert await listed(limit=2, before=ids[4]) == ids[2:4]
        assert await listed(limit=0) == []
        await running.wait_for("", timeout=30) if running.state == "finished" else None
        assert [one.id for one in await host.list_commands(labels={"of": session.id})] == ids
        assert [one.id for one in await host.list_commands(session=session.name)] == ids
        for wrong in ({"state": "lazy"}, {"limit": -1}, {"limit": "5"}, {"labels": {"a": 1}}):
            with pytest.raises(sessions.Invalid):
                await host.list_commands(**wrong)
        with pytest.raises(sessions.NotFound):
            await host.list_commands(session="nobody")
        for before in ("nothing", f"{session.id}-77"):
            with pytest.raises(sessions.NotFound):
                await host.list_commands(before=before)
        for wrong_id in (f"{session.id}-77", "zzzzzzzzzz-1", "..", "../sessions", "", 5, None):
            with pytest.raises(sessions.NotFound, match="no command has the id"):
                await host.get_command(wrong_id)


@check
async def commands_are_found_by_the_labels_of_their_session(subject: Subject) -> None:
    """A label of its own counts in place of its session's."""
    host, name = subject.host, fresh_name()
    async with subject.session(labels={"kind": "a", "of": name}) as session, subject.session() as other:
        plain = (await session.run("true")).command
        own = await session.run_async("true", labels={"kind": "b"})
        await other.run("true", labels={"kind": "a"})
        await own.wait()
        for labels, expected in (
            ({"of": name}, [plain, own]),
            ({"kind": "a"}, [plain]),
            ({"kind": "b"}, [own]),
            ({"kind": "b", "of": name}, [own]),
            ({"kind": "a", "of": "y"}, []),
        ):
            found = await host.list_commands(session=session, labels=labels)
            assert [command.id for command in found] == [command.id for command in expected]
        assert [command.id for command in await host.list_commands(labels={"of": name})] == [plain.id, own.id]
        assert (plain.labels, own.labels) == ({}, {"kind": "b"})


@check
async def more_commands_than_one_page_holds(subject: Subject) -> None:
    async with subject.session() as session:
        await session.run_async("read x", in_shell=True, stdin=True)
        ids = [(await session.run_async("true", in_shell=True)).id for _ in range(1_050)]
        found = await session.list_commands(state="queued")
        assert [command.id for command in found] == ids
        assert [command.id for command in await session.list_commands(limit=1_020)] == ids[-1_020:]


@check
async def what_happens_is_told(subject: Subject) -> None:
    host = subject.host
    async with host.watch() as events:
        session = await host.create_session()
        command = (await session.run("true")).command
        await session.close()
        found: list[sessions.Event] = []
        with anyio.fail_after(30):
            async for event in events:
                if event.session_id == session.id:
                    found.append(event)
                    if event.type == "session_closed":
                        break
    assert [(event.type, event.command_id) for event in found] == [
        ("session_created", None),
        ("command_queued", command.id),
        ("command_started", command.id),
        ("command_finished", command.id),
        ("session_closed", None),
    ]
    assert all(isinstance(event, sessions.Event) for event in found)
    assert [event.seq for event in found] == sorted({event.seq for event in found})
    async with host.watch(after=found[0].seq) as events:
        async for event in events:
            if event.session_id == session.id:
                assert event == found[1]
                break
    with pytest.raises(sessions.Invalid, match="after"):
        host.watch(after=-5)


@check
async def what_is_pruned_has_expired(subject: Subject) -> None:
    host = subject.host
    async with subject.session() as session:
        command = (await session.run("head -c 1000 /dev/zero")).command
        running = await session.run_async("echo kept; sleep 60")
        await running.wait_for("kept")
        for wrong in ({}, {"older_than": -1}, {"keep_bytes": math.inf}, {"older_than": "5"}):
            with pytest.raises(sessions.Invalid):
                await host.prune(**wrong)
        pruned = await host.prune(keep_bytes=0)
        assert isinstance(pruned, sessions.Pruned)
        assert pruned.commands >= 1
        assert pruned.freed_bytes >= 1000
        for verb in (lambda: host.get_command(command.id), command.refresh, command.logs, command.excerpt):
            with pytest.raises(sessions.Expired, match=command.id):
                await verb()
        assert (await running.logs()).output == b"kept\n"


@check
async def who_follows_what_is_pruned_is_told(subject: Subject) -> None:
    async with subject.session() as session:
        # More than fits into a connection, so that the end is not on its way already.
        command = await (await session.run_async("head -c 20000000 /dev/zero")).wait()
        with pytest.raises(sessions.Expired, match=command.id):
            async with command.follow() as records:
                await subject.host.prune(keep_bytes=0)
                async for _ in records:
                    pass
