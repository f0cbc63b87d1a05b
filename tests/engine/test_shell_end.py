"""When a command ends the shell itself: its code is known at once, nobody waits for ever, and no reset is silent."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import trio
import trio.testing
from conftest import SHELLS

import sessions

AT_ONCE_SECONDS = 10
"""Far more than a busy machine needs."""

ENDS = [
    ("exit", 0, "exit"),
    ("exit 0", 0, "exit"),
    ("exit 3", 3, "exit"),
    ("false; exit", 1, "exit"),
    ("f() { exit 4; }; f", 4, "exit"),
    ("exec true", 0, "exit"),
    ("exec sh -c 'exit 5'", 5, "exit"),
    ("exec sh -c 'kill -9 $$'", 137, "signal"),
    ("set -e; false", 1, "exit"),
    ("set -e; (exit 6); echo not reached", 6, "exit"),
    ("set -eu; f() { false; }; f", 1, "exit"),
    ("kill -9 $$", 137, "signal"),
    ("trap 'exit 7' USR1; kill -USR1 $$; sleep 600", 7, "exit"),
]


async def ended(session: sessions.Session) -> None:
    """Until the engine has seen that the shell is gone."""
    with trio.fail_after(AT_ONCE_SECONDS):
        while session.state != "ended":  # no event tells of a shell that dies while it is idle
            await trio.sleep(0.01)


@pytest.mark.parametrize("shell", SHELLS)
async def test_the_command_that_ends_the_shell_has_its_own_code(engine: sessions.Engine, shell: str) -> None:
    session = await engine.create_session(shell=shell, restart=True)
    for text, exit_code, reason in ENDS:
        with trio.fail_after(AT_ONCE_SECONDS):
            result = await session.run(f"echo last words\n{text}")
        found = (text, result.exit_code, result.reason, result.stdout, result.shell_ended)
        assert found == (text, exit_code, reason, "last words\n", True)
        assert session.state == "ended"
        assert session.ended_by == result.command.id
        fresh = await session.run("echo $-")
        assert (fresh.restarted, fresh.shell_ended, session.state) == (True, False, "open")
        assert "e" not in fresh.stdout


async def test_set_e_ends_the_shell_in_a_later_command(session: sessions.Session) -> None:
    assert not (await session.run("set -e")).shell_ended
    assert not (await session.run("if false; then :; fi; false || true; ! true; true")).shell_ended
    result = await session.run("false; echo not reached")
    assert (result.exit_code, result.stdout, result.shell_ended) == (1, "", True)


@pytest.mark.parametrize(
    "text",
    [
        "return 3",
        "(exit 3)",
        "sh -c 'exit 3'",
        "set -u; (echo $unset) || (set +u; exit 3); set +u; (exit 3)",
        "( set -e; false; ); (exit 3)",
        "if; then",
        "echo ${unset:?not there}",
        "readonly r=1; r=2",
        "break 2; continue; (exit 3)",
    ],
)
async def test_what_does_not_end_the_shell(session: sessions.Session, text: str) -> None:
    await session.run("A=1")
    result = await session.run(text)
    assert (result.shell_ended, result.exit_code != 0) == (False, True)
    after = await session.run("echo $A")
    assert (after.stdout, after.restarted) == ("1\n", False)


async def test_a_background_command_ends_only_itself(session: sessions.Session) -> None:
    await session.run("A=1")
    for text in ("exit 3", "exec sh -c 'exit 3'", "set -e; (exit 3); echo not reached"):
        command = await (await session.run_async(text)).wait()
        assert (command.exit_code, command.reason) == (3, "exit")
    assert (await session.run("echo $A; exit 0")).stdout == "1\n"


# Who waits behind it


async def test_queued_commands_end_with_the_shell(engine: sessions.Engine, tmp_path: Path) -> None:
    session = await engine.create_session(cwd=tmp_path)
    culprit = await session.run_async("read x; exit 3", in_shell=True, stdin=True)
    queued = [await session.run_async(f"touch ran{number}", in_shell=True) for number in range(3)]
    results = []

    async def caller() -> None:
        results.append(await session.run("touch ran3"))

    with trio.fail_after(AT_ONCE_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller)
            await trio.testing.wait_all_tasks_blocked()
            await culprit.send_input("go\n")
        for command in queued:
            await command.wait()
    assert culprit.exit_code == 3
    assert len(results) == 1
    assert not results[0].shell_ended
    for command in [*queued, results[0].command]:
        assert (command.reason, command.exit_code, command.started_at) == ("shell_died", None, None)
        assert (await command.logs()).output == b""
    assert list(tmp_path.glob("ran*")) == []


async def test_queued_commands_are_not_run_by_the_next_shell(engine: sessions.Engine, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    session = await engine.create_session(cwd=tmp_path / "empty", restart=True)
    culprit = await session.run_async("read x; exit 3", in_shell=True, stdin=True)
    queued = await session.run_async("touch ran", in_shell=True)
    await culprit.send_input("go\n")
    assert (await queued.wait()).reason == "shell_died"
    assert (await session.run("ls")).stdout == ""


async def test_background_commands_outlive_the_shell(session: sessions.Session) -> None:
    beside = await session.run_async("read x; echo got $x; exit 4", stdin=True)
    assert (await session.run("exit 3")).shell_ended
    assert beside.state == "running"
    await beside.send_input("it\n")
    with trio.fail_after(AT_ONCE_SECONDS):
        await beside.wait()
    assert (beside.exit_code, beside.reason, (await beside.logs()).stdout) == (4, "exit", b"got it\n")


# What comes next


async def test_the_next_command_is_told_who_ended_the_shell(session: sessions.Session) -> None:
    culprit = (await session.run("exit 3")).command
    for refused in (session.run, session.run_async):
        with pytest.raises(sessions.Closed, match=culprit.id) as caught:
            await refused("echo never")
        assert "restart()" in str(caught.value)
    assert len(await session.list_commands()) == 1


async def test_restart_gives_a_fresh_shell(engine: sessions.Engine, tmp_path: Path) -> None:
    session = await engine.create_session(cwd=tmp_path, env={"GIVEN": "yes"})
    await session.run("cd /; A=1; GIVEN=changed; f() { echo $A; }; set -u; umask 077; echo before")
    await session.run("exit 3")
    await session.restart()
    assert (session.state, session.ended_by) == ("open", None)
    result = await session.run("pwd; echo ${A-unset} $GIVEN; f")
    assert (result.stdout, result.exit_code, result.restarted) == (f"{tmp_path}\nunset yes\n", 127, True)
    assert not (await session.run("true")).restarted
    assert (await session.logs()).stdout == f"before\n{tmp_path}\nunset yes\n".encode()


async def test_restart_of_a_living_shell_ends_what_it_runs(session: sessions.Session) -> None:
    before = (await session.run("A=1; echo $$")).stdout
    beside = await session.run_async("echo on; read x; echo got $x", stdin=True)
    await beside.wait_for("on")
    running = await session.run_async("echo on; sleep 600", in_shell=True)
    await running.wait_for("on")
    with trio.fail_after(AT_ONCE_SECONDS):
        await session.restart()
    assert (running.state, running.reason) == ("finished", "killed")
    result = await session.run("echo ${A-unset} $$")
    assert result.restarted
    unset, pid = result.stdout.split()
    assert (unset, f"{pid}\n" != before) == ("unset", True)
    await beside.send_input("it\n")
    assert (await beside.wait()).exit_code == 0


async def test_restart_spares_a_background_command_that_has_only_just_begun(session: sessions.Session) -> None:
    for _ in range(10):
        beside = await session.run_async("exit 4")
        await session.restart()
        await beside.wait()
        assert (beside.exit_code, beside.reason) == (4, "exit")


@pytest.mark.parametrize("verb", ["kill", "open"])
async def test_a_restart_that_a_close_overtakes_says_that_it_is_closed(
    engine: sessions.Engine, session: sessions.Session, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    live = engine.archive.live[session.id]
    ends_or_opens = getattr(live.shells, verb)

    async def closing() -> None:
        monkeypatch.undo()
        nursery.start_soon(session.close)
        while not live.closing:
            await trio.lowlevel.checkpoint()
        await ends_or_opens()

    monkeypatch.setattr(live.shells, verb, closing)
    with trio.fail_after(AT_ONCE_SECONDS):
        async with trio.open_nursery() as nursery:
            with pytest.raises(sessions.Closed, match=session.id):
                await session.restart()
    assert session.state == "closed"


async def test_a_session_that_restarts_by_itself_says_so(engine: sessions.Engine) -> None:
    session = await engine.create_session(restart=True)
    assert not (await session.run("A=1")).restarted
    assert not (await session.run("exit 3")).restarted
    results = [await session.run("echo ${A-unset}") for _ in range(2)]
    assert [(result.stdout, result.restarted) for result in results] == [("unset\n", True), ("unset\n", False)]


async def test_many_callers_after_the_end_share_one_restart(engine: sessions.Engine) -> None:
    session = await engine.create_session(restart=True)
    await session.run("exit 3")
    results: list[sessions.Result] = []

    async def caller() -> None:
        results.append(await session.run("echo $$"))

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(caller)
    assert len({result.stdout for result in results}) == 1
    assert [result.restarted for result in results].count(True) == 1


@pytest.mark.parametrize("shell", SHELLS)
async def test_an_idle_shell_killed_from_outside(engine: sessions.Engine, shell: str) -> None:
    session = await engine.create_session(shell=shell)
    pid = int((await session.run("echo $$")).stdout)
    os.kill(pid, signal.SIGKILL)
    await ended(session)
    assert session.ended_by is None
    with pytest.raises(sessions.Closed, match="from outside"):
        await session.run("echo never")
    await session.restart()
    assert (await session.run("echo back")).stdout == "back\n"


async def test_a_busy_shell_killed_from_outside(session: sessions.Session) -> None:
    pid = int((await session.run("echo $$")).stdout)
    command = await session.run_async("echo on; sleep 600", in_shell=True)
    await command.wait_for("on")
    os.kill(pid, signal.SIGKILL)
    with trio.fail_after(AT_ONCE_SECONDS):
        await command.wait()
    assert (command.exit_code, command.reason, command.signal) == (137, "signal", signal.SIGKILL)
    assert (await command.logs()).stdout == b"on\n"
    assert session.state == "ended"
    await session.close()
    assert session.state == "closed"


async def test_the_exit_trap_is_run_and_logged(session: sessions.Session) -> None:
    result = await session.run("trap 'echo goodbye' EXIT; echo hello; exit 3")
    assert (result.stdout, result.exit_code) == ("hello\ngoodbye\n", 3)


@pytest.mark.parametrize("shell", SHELLS[:2])  # zsh forgets such a trap where the file that set it ends
@pytest.mark.parametrize(
    ("text", "exit_code"), [("exit 3", 3), ("(exit 4)", 4), ("return 5", 5), ("set -e; (exit 6)", 6)]
)
async def test_the_exit_trap_of_a_background_command_is_logged_however_it_ends(
    engine: sessions.Engine, shell: str, text: str, exit_code: int
) -> None:
    session = await engine.create_session(shell=shell)
    for stdin in (False, "given"):
        script = f"trap 'cat; echo goodbye; echo left >&2' EXIT; echo hello; {text}"
        command = await (await session.run_async(script, stdin=stdin)).wait()
        logs = await command.logs()
        assert (command.exit_code, command.reason) == (exit_code, "exit")
        assert (logs.stdout.decode(), logs.stderr) == (f"hello\n{stdin or ''}goodbye\n", b"left\n")


@pytest.mark.parametrize("shell", SHELLS[:2])
async def test_a_trace_shows_nothing_but_the_text_of_a_background_command(engine: sessions.Engine, shell: str) -> None:
    session = await engine.create_session(shell=shell)
    await session.run("set -xv 2>/dev/null")
    command = await (await session.run_async("echo traced\n", stdin=True)).wait()
    stderr = (await command.logs()).stderr.decode()
    assert [line.lstrip("+ ") for line in stderr.splitlines()] == ["echo traced"] * 2


async def test_an_ended_session_can_be_closed_and_its_name_taken_again(engine: sessions.Engine) -> None:
    first = await engine.create_session("build")
    await first.run("exit 3")
    with pytest.raises(sessions.Conflict):
        await engine.create_session("build")
    await first.close()
    second = await engine.create_session("build")
    assert second.id != first.id
    with pytest.raises(sessions.Closed):
        await first.restart()


async def test_a_text_runs_once_although_the_shell_must_not_exit(session: sessions.Session) -> None:
    """A DEBUG trap that fails has bash leave out a command, with this option."""
    await session.run("shopt -s extdebug; trap '[[ $BASH_COMMAND != *exit* ]]' DEBUG")
    command = await (await session.run_async("echo once")).wait()
    assert ((await command.logs()).stdout, command.exit_code) == (b"once\n", 0)
