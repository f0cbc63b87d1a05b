"""A shell that can't report any more: its command is given up within seconds instead of running for ever."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import trio

import sessions

MUTED = {
    "bash": ["builtin() { :; }", "shopt -s extdebug; trap false DEBUG", "enable -n ."],
    "sh": ["unset -f __sessions_report", "set -n"],
    "zsh": ["builtin() { :; }"],
}


@pytest.mark.parametrize(("shell", "text"), [(shell, text) for shell, texts in MUTED.items() for text in texts])
async def test_who_waits_gets_an_answer(engine: sessions.Engine, shell: str, text: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    session = await engine.create_session("mute", shell=shell)
    with trio.fail_after(20):
        result = await session.run(text)
        if result.reason != "shell_died":  # it was said before the voice was lost
            result = await session.run("echo nobody hears how this ends")
    assert (result.reason, result.exit_code, result.shell_ended) == ("shell_died", None, True)
    with pytest.raises(sessions.Closed, match=result.command.id):
        await session.run("echo")
    await session.restart()
    assert (await session.run("echo back")).stdout == "back\n"


async def test_a_background_command_that_is_never_started_is_given_up(session: sessions.Session) -> None:
    await session.run_async("builtin() { :; }", in_shell=True)
    with trio.fail_after(20):
        command = await (await session.run_async("echo")).wait()
    assert command.reason == "shell_died"


async def test_the_run_directory_is_removed_under_a_running_command(engine: sessions.Engine, root: Path) -> None:
    session = await engine.create_session("test")
    run_directory = json.loads((root / "engines" / engine.id).read_text())["run_directory"]
    with trio.fail_after(20):
        result = await session.run(f"rm -rf {run_directory}/{session.id}.1; echo kept")
    assert (result.reason, result.stdout) == ("shell_died", "kept\n")


async def test_a_shell_that_waits_for_its_user_is_not_mistaken_for_a_mute_one(session: sessions.Session) -> None:
    reading = await session.run_async("read -r line; echo got $line", in_shell=True, stdin=True)
    trapped = "trap 'sleep 0.6' DEBUG; sleep 1; sleep 1; trap - DEBUG"
    await trio.sleep(2.5)  # more than two looks
    assert reading.state == "running"
    await reading.send_input("it\n")
    await reading.wait()
    assert (await reading.logs()).stdout == b"got it\n"
    assert (await session.run(trapped)).reason == "exit"
