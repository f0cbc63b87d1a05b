"""Ctrl-C and other signals: they reach the command once, and never the shell."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

import pytest
import trio
from conftest import SHELLS

import sessions
from sessions import stopping
from sessions.running import RunningCommand
from sessions.shell.processes import Seen
from sessions.stopping import belonging

AT_ONCE_SECONDS = 10
"""Far less than what is interrupted here would take, far more than a busy machine needs."""


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "text",
    [
        "sh -c 'echo on; exec sleep 600'",
        "echo on; while :; do sleep 0.01; done",
        "echo on; while :; do :; done",
        "sleep 600 | sh -c 'echo on; exec cat'",
    ],
)
async def test_interrupt_ends_the_command_and_not_the_session(engine: sessions.Engine, shell: str, text: str) -> None:
    session = await engine.create_session(shell=shell)
    before = (await session.run("echo $$")).stdout
    command = await session.run_async(text, in_shell=True)
    await command.wait_for("on")
    with trio.fail_after(AT_ONCE_SECONDS):
        await command.interrupt()
        await command.wait()
    assert (command.exit_code, command.reason, command.signal) == (130, "killed", 2)
    assert (await session.run("echo $$")).stdout == before


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("in_shell", [True, False])
async def test_no_interrupt_is_lost(engine: sessions.Engine, shell: str, in_shell: bool) -> None:
    session = await engine.create_session(shell=shell)
    for _ in range(20):
        # The interrupt comes while the shell is about to start the program, sometimes before, sometimes after.
        command = await session.run_async("echo on; sleep 600", in_shell=in_shell)
        await command.wait_for("on")
        with trio.fail_after(AT_ONCE_SECONDS):
            await command.interrupt()
            await command.wait()
        assert command.reason == "killed"
        # Shells without job control make background commands deaf to SIGINT: those get SIGTERM.
        assert command.signal in ({2} if in_shell or shell == "bash" else {2, 15})


@pytest.mark.parametrize("in_shell", [True, False])
async def test_interrupt_on_a_finished_command_is_harmless(engine: sessions.Engine, in_shell: bool) -> None:
    session = await engine.create_session()
    command = await session.run_async("(exit 3)", in_shell=in_shell)
    await command.wait()
    other = await session.run_async("read x; echo $x", in_shell=True, stdin=True)
    await command.interrupt()
    await command.send_signal("INT")
    await command.kill()
    assert (command.exit_code, command.reason) == (3, "exit")
    await other.send_input("untouched\n")
    assert (await other.wait()).exit_code == 0
    assert (await other.logs()).stdout == b"untouched\n"


COUNTING = (
    "import signal, time, sys\nhits = []\nsignal.signal(signal.SIGINT, lambda *_: hits.append(1))\n"
    "print('on', flush=True)\nwhile not hits: time.sleep(0.01)\n"
    "time.sleep(0.6)\nprint(len(hits))\nsys.exit(5)"
)
HANDLES_INTERRUPT = f"{shlex.quote(sys.executable)} -c {shlex.quote(COUNTING)}"


async def test_a_shell_that_is_about_to_report_is_spared(
    session: sessions.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the second look, the program is not seen, as when it has just ended and its shell has not said so yet."""
    looks: list[bool] = []

    def look(command: RunningCommand, seen: Sequence[Seen]) -> list[Seen]:
        looks.append(True)
        return [] if len(looks) == 2 else belonging(command, seen)

    command = await session.run_async(HANDLES_INTERRUPT, in_shell=True)
    await command.wait_for("on")
    monkeypatch.setattr(stopping, "belonging", look)
    await command.interrupt()
    await command.wait()
    assert len(looks) > 2
    assert (await command.logs()).stdout == b"on\n1\n"
    assert (command.exit_code, command.reason) == (5, "exit")


@pytest.mark.parametrize("shell", SHELLS)
async def test_a_program_that_handles_an_interrupt_gets_it_once(engine: sessions.Engine, shell: str) -> None:
    session = await engine.create_session(shell=shell)
    command = await session.run_async(HANDLES_INTERRUPT, in_shell=True)
    await command.wait_for("on")
    await command.interrupt()
    await command.wait()
    assert (await command.logs()).stdout == b"on\n1\n"
    if shell == "bash":
        # The others break off the text, whatever became of the program, and say 130.
        assert (command.exit_code, command.reason) == (5, "exit")


@pytest.mark.parametrize("in_shell", [True, False])
async def test_a_signal_reaches_the_command_and_not_the_shell(engine: sessions.Engine, in_shell: bool) -> None:
    session = await engine.create_session()
    before = (await session.run("echo $$")).stdout
    text = "sh -c 'trap \"echo got it\" USR1; echo on; while :; do sleep 0.05; done'"
    command = await session.run_async(text, in_shell=in_shell)
    await command.wait_for("on")
    await command.send_signal("USR1")
    await command.wait_for("got it", timeout=AT_ONCE_SECONDS)
    await command.kill()
    assert (await session.run("echo $$")).stdout == before


async def test_an_interrupt_between_two_programs_of_a_loop_of_zsh(engine: sessions.Engine) -> None:
    """It hits the shell, which may report 0 then; the program that was seen has ended meanwhile."""
    session = await engine.create_session(shell="zsh")
    command = await session.run_async("sh -c 'echo on; exec sleep 600'", in_shell=True)
    running = engine.archive.running(command.id)
    assert running is not None
    with trio.fail_after(AT_ONCE_SECONDS):
        await command.wait_for("on")
        seen = belonging(running, await engine.workshop.census.take())
        assert seen
        stopping.interrupt_now(running, seen)
        assert running.asked is None, "how the program ends tells it"
        await command.wait()
        stopping.interrupt_now(running, seen)
    assert running.asked == "killed"
