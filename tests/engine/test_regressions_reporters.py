"""What once left a background command without an end: its reporter dies too early, or is stopped when the command ends."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import trio
from conftest import SHELLS

import sessions
from sessions.shell.script import Request, Writer

PATIENCE_SECONDS = 20


@pytest.mark.parametrize("verb", ["wait", "kill", "close"])
async def test_a_reporter_that_dies_before_it_has_started_the_command_leaves_no_riddle(
    session: sessions.Session, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """As when there may be no more processes: the shell has forked the reporter, and that can fork no command."""

    def stillborn(writer: Writer, request: Request, status: int) -> str:
        return "{ sleep 0.1; } &\n"

    monkeypatch.setattr(Writer, "starter", stillborn)
    command = await session.run_async("echo never")
    monkeypatch.undo()
    queued = await session.run_async("echo next", in_shell=True)
    with trio.fail_after(PATIENCE_SECONDS):
        if verb == "kill":
            await command.kill()
        elif verb == "close":
            await session.close()
        await command.wait()
        expected = {"wait": "shell_died", "kill": "killed", "close": "session_closed"}[verb]
        assert (command.reason, command.exit_code, command.started_at) == (expected, None, None)
        if verb != "close":
            assert (await queued.wait()).exit_code == 0
            assert (await (await session.run_async("exit 4")).wait()).exit_code == 4


async def test_a_command_that_stops_its_reporter_and_ends_is_over(session: sessions.Session) -> None:
    """Its code is known unless the reporter took note of it and was stopped before it could tell."""
    text = "P=$BASHPID; kill -STOP $(ps -o ppid= -p $P); exit 3"
    commands = [await session.run_async(text) for _ in range(6)]
    with trio.fail_after(PATIENCE_SECONDS):
        for command in commands:
            await command.wait()
            assert (command.reason, command.exit_code) in (("exit", 3), ("shell_died", None))


async def test_a_reporter_that_has_told_of_the_start_holds_no_pipe(session: sessions.Session, tmp_path: Path) -> None:
    """Stopped by its command then, it would hide the end of that, for nobody would see the end of the pipe."""
    held = tmp_path / "held"
    look = f"case $told,$BASH_COMMAND in 1,*) told=; readlink /proc/$BASHPID/fd/* >{held} ;; *' s '*) told=1 ;; esac"
    await session.run(f"set -T; trap {shlex.quote(look)} DEBUG")
    command = await session.run_async("exit 3")
    with trio.fail_after(PATIENCE_SECONDS):
        await command.wait()
    assert set(held.read_text().split()) == {"/dev/null"}


@pytest.mark.parametrize("trap", ["DEBUG", "RETURN"])
async def test_traps_that_a_reporter_inherits_write_nothing_into_the_log(session: sessions.Session, trap: str) -> None:
    await session.run(f"set -T; trap 'echo trapped' {trap}")
    command = await session.run_async("echo err >&2", env={"A": "1"}, cwd="/usr", stdin=True)
    await command.wait()
    assert (await command.logs()).stderr == b"err\n"


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_reporter_that_is_killed_at_once_costs_nothing_else(engine: sessions.Engine, shell: str) -> None:
    """Before or after it has told that the command has started: the shell, and what comes next, don't mind."""
    session = await engine.create_session(shell=shell)
    command = await session.run_async("read -r _ _ _ parent _ </proc/self/stat; kill -KILL $parent; echo on")
    with trio.fail_after(PATIENCE_SECONDS):
        await command.wait()
        assert (command.reason, (await command.logs()).stdout) in (("exit", b"on\n"), ("shell_died", b"on\n"))
        assert (await (await session.run_async("exit 4")).wait()).exit_code == 4


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shell.values != ("sh",)])  # dash knows no such function
async def test_a_function_called_colon_is_the_users_own_affair(engine: sessions.Engine, shell: str) -> None:
    session = await engine.create_session(shell=shell)
    assert (await session.run(": () { return 1; }")).exit_code == 0
    assert (await session.run("read -r line; echo $line", stdin="fed\n")).stdout == "fed\n"
    assert (await session.run("echo $A; pwd", env={"A": "1"}, cwd="/usr")).stdout == "1\n/usr\n"
