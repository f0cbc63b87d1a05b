"""Checks of the verbs: sessions, and running commands in them."""

from __future__ import annotations

import math
import signal
import time

import anyio
import pytest
from subject import Subject, check, fresh_name, joined, records_of

import sessions

# Sessions


@check
async def sessions_are_made_found_and_removed(subject: Subject) -> None:
    host, name = subject.host, fresh_name()
    labels = {"check": name, "ü": "= x&y"}
    session = await host.create_session(name, cwd="/usr", env={"A": "ä b"}, shell="bash", labels=labels, restart=True)
    assert (session.name, session.cwd, session.env, session.labels) == (name, "/usr", {"A": "ä b"}, labels)
    assert (session.shell, session.state, session.problem, session.closed_at) == ("bash", "open", None, None)
    assert session.info.restart is True
    assert abs(session.created_at - time.time()) < 60
    assert (await session.run("echo $A $PWD")).stdout == "ä b /usr\n"
    for known in (name, session.id):
        assert (await host.get_session(known)).id == session.id
    for labels_asked in ({"check": name}, labels):
        assert [found.id for found in await host.list_sessions(state="open", labels=labels_asked)] == [session.id]
    assert await host.list_sessions(state="open", labels={"check": "other"}) == []
    with pytest.raises(sessions.Conflict, match=name):
        await host.create_session(name)
    await session.close()
    await session.close()
    assert (session.state, (await host.get_session(name)).state) == ("closed", "closed")
    assert session.closed_at is not None
    assert [found.id for found in await host.list_sessions(state="closed", labels=labels)] == [session.id]
    with pytest.raises(sessions.Closed, match="closed"):
        await session.run("echo too late")
    with pytest.raises(sessions.Closed):
        await session.run_async("echo too late")
    await host.delete_session(session.id)
    for known in (name, session.id):
        with pytest.raises(sessions.NotFound, match=known):
            await host.get_session(known)


@check
async def sessions_that_can_not_be_are_refused(subject: Subject) -> None:
    host = subject.host
    wrong: list[dict[str, object]] = [
        {"name": ""},
        {"name": "a/b"},
        {"name": 5},
        {"cwd": "/nowhere/at/all"},
        {"cwd": 5},
        {"env": {"1A": "x"}},
        {"env": {"A": 5}},
        {"env": {"A": "\0"}},
        {"env": "A"},
        {"shell": "fish"},
        {"shell": 5},
        {"labels": {"a": 1}},
        {"labels": ["a"]},
        {"restart": 1},
    ]
    for options in wrong:
        with pytest.raises(sessions.Invalid):
            await host.create_session(**options)
    for name in ("nobody", "..", "../x", "a%2fb", "", "ä", 5, None):
        with pytest.raises(sessions.NotFound):
            await host.get_session(name)
        with pytest.raises(sessions.NotFound):
            await host.delete_session(name)
    with pytest.raises(sessions.Invalid, match="state"):
        await host.list_sessions(state="lazy")


@check
async def a_shell_that_ends_and_comes_back(subject: Subject) -> None:
    async with subject.session() as session:
        await session.run("x=1")
        result = await session.run("echo bye; exit 3")
        assert (result.exit_code, result.shell_ended, result.restarted) == (3, True, False)
        assert (await session.refresh()).state == "ended"
        assert session.ended_by == result.command.id
        with pytest.raises(sessions.Closed, match="restart"):
            await session.run("true")
        await session.restart()
        assert session.state == "open"
        assert (await session.run("echo [$x]")).stdout == "[]\n"
    async with subject.session(restart=True) as session:
        await session.run("exit 1")
        result = await session.run("true")
        assert (result.restarted, result.shell_ended) == (True, False)
        assert (await session.run("true")).restarted is False


# Running


@check
async def run_returns_how_it_ended_and_what_it_wrote(subject: Subject) -> None:
    async with subject.session() as session:
        await session.run("cd /usr; f() { echo $1 from $PWD; }; export V=1")
        result = await session.run("f hello; echo err >&2; (exit 3)", labels={"k": "v"})
        assert isinstance(result, sessions.Result)
        assert (result.stdout, result.stderr, result.output) == ("hello from /usr\n", "err\n", "hello from /usr\nerr\n")
        assert (result.exit_code, result.reason, result.signal, result.restarted) == (3, "exit", None, False)
        assert result.logs == sessions.Logs(b"hello from /usr\n", b"err\n", b"hello from /usr\nerr\n")
        command = result.command
        assert (command.state, command.exit_code, command.reason, command.in_shell) == ("finished", 3, "exit", True)
        assert (command.labels, command.session_id) == ({"k": "v"}, session.id)
        assert command.text.startswith("f hello")
        assert (command.stdout_bytes, command.stderr_bytes, command.size_bytes, command.dropped_bytes) == (16, 4, 20, 0)
        assert command.queued_at <= command.started_at <= command.finished_at
        assert command.duration_seconds == command.finished_at - command.started_at
        assert (await session.run("kill -9 $BASHPID & wait $!")).signal == signal.SIGKILL
        assert (await session.run("cat", stdin="ä\n")).stdout == "ä\n"
        assert (await session.run("cat", stdin=bytes(range(256)))).logs.stdout == bytes(range(256))
        assert (await session.run("cat")).stdout == ""
        assert (await session.run("echo $W; pwd", env={"W": "w x"}, cwd="/tmp")).stdout == "w x\n/tmp\n"
        assert (await session.run("echo [$W]; pwd; echo $V")).stdout == "[]\n/usr\n1\n"
        assert (await session.run("printf '\\377a\\000'")).stdout == "\ufffda\0"


@check
async def run_with_check_raises_unless_it_exits_with_0(subject: Subject) -> None:
    async with subject.session() as session:
        assert (await session.run("true", check=True)).exit_code == 0
        with pytest.raises(sessions.Invalid, match="check"):
            await session.run("true", check="yes")
        with pytest.raises(
            sessions.CommandFailed, match=r"failed \(exit code 7\): echo why; \(exit 7\)\nwhy"
        ) as caught:
            await session.run("echo why; (exit 7)", check=True)
        assert (caught.value.result.exit_code, caught.value.result.stdout) == (7, "why\n")
        assert (caught.value.code, caught.value.status) == ("command_failed", 422)


@check
async def time_limits_end_the_command_and_not_the_shell(subject: Subject) -> None:
    async with subject.session() as session:
        await session.run("x=kept")
        for limits in ({"timeout": 0.3}, {"idle_timeout": 0.3}):
            result = await session.run("echo progress; sleep 60", **limits)
            assert (result.reason, result.stdout) == ("timeout", "progress\n")
        assert (await session.run("echo $x", timeout=math.inf)).stdout == "kept\n"
        command = await session.run_async("sleep 60", timeout=0.1)
        assert (await command.wait()).reason == "timeout"


@check
async def callbacks_get_whole_characters(subject: Subject) -> None:
    pieces: dict[str, list[str]] = {"stdout": [], "stderr": []}
    texts = {"on_stdout": pieces["stdout"].append, "on_stderr": pieces["stderr"].append}
    async with subject.session() as session:
        text = r"printf '\303'; sleep 0.1; printf '\251\n'; echo wrong >&2; printf '\342\202'"
        result = await session.run(text, **texts)
        assert {stream: "".join(found) for stream, found in pieces.items()} == {
            "stdout": "é\n\ufffd",
            "stderr": "wrong\n",
        }
        assert result.stdout == "é\n\ufffd"
        for found in pieces.values():
            found.clear()
        stream = result.command.follow(**texts)
        assert joined(await records_of(stream)) == result.logs.output
        assert "".join(pieces["stdout"]) == result.stdout


@check
async def callbacks_that_begin_inside_a_character(subject: Subject) -> None:
    async with subject.session() as session:
        command = (await session.run(r"printf 'a\303'; sleep 0.1; printf '\251b'")).command
        first, _ = await records_of(command.follow())
        pieces: list[str] = []
        assert joined(await records_of(command.follow(after=first.seq, on_stdout=pieces.append))) == b"\xa9b"
        assert "".join(pieces) == "éb"


@check
async def much_output_is_whole(subject: Subject) -> None:
    async with subject.session() as session:
        result = await session.run("seq 1 2000000; head -c 100 /dev/zero >&2")
        assert result.logs.stdout == b"".join(b"%d\n" % number for number in range(1, 2_000_001))
        assert result.logs.stderr == bytes(100)
        assert len(result.logs.output) == len(result.logs.stdout) + 100


@check
async def cancelling_run_ends_the_command(subject: Subject) -> None:
    if not subject.cancels:
        return
    async with subject.session() as session:
        with anyio.move_on_after(0.5) as scope:
            await session.run("x=1; echo begun; sleep 60")
        assert scope.cancelled_caught
        (command,) = await session.list_commands()
        assert (command.state, command.reason) == ("finished", "killed")
        assert (await command.logs()).stdout == b"begun\n"
        assert (await session.run("echo $x")).stdout == "1\n"


@check
async def commands_that_can_not_be_are_refused(subject: Subject) -> None:
    async with subject.session() as session:
        for text in ("", " \n", "a\0b", "\ud800", 5, None, ["ls"]):
            with pytest.raises(sessions.Invalid):
                await session.run(text)
            with pytest.raises(sessions.Invalid):
                await session.run_async(text)
        wrong: list[dict[str, object]] = [
            *({name: value} for name in ("timeout", "idle_timeout") for value in (0, -1, math.nan, "5", True)),
            {"env": {"a b": "c"}},
            {"cwd": "/nowhere/at/all"},
            {"cwd": "a\0"},
            {"stdin": 5},
            {"stdin": "\ud800"},
            {"labels": {"": "a"}},
            {"labels": {"a": 5}},
        ]
        for options in wrong:
            with pytest.raises(sessions.Invalid):
                await session.run("true", **options)
        for callback in ({"on_stdout": 5}, {"on_stderr": "x"}):
            with pytest.raises(sessions.Invalid, match="can't be called"):
                await session.run("true", **callback)
        with pytest.raises(sessions.Conflict, match="outlive"):
            await session.run_async("true", in_shell=True, detach=True)
        assert await session.list_commands() == []
