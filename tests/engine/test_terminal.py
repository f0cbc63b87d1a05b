"""Terminals: a program that believes that a person sits in front of it, with the log of any other command."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from conftest import leftovers, open_descriptors

import sessions


async def test_a_program_sees_a_terminal(engine: sessions.Engine) -> None:
    terminal = await engine.create_terminal(
        "test -t 0 && test -t 1 && test -t 2 && echo yes >/dev/tty; stty size; echo $TERM"
    )
    await terminal.wait()
    assert (await terminal.logs()).output == b"yes\r\n24 80\r\nxterm-256color\r\n"
    assert (terminal.exit_code, terminal.reason) == (0, "exit")


async def test_a_person_types_and_reads(engine: sessions.Engine, tmp_path: Path) -> None:
    terminal = await engine.create_terminal(name="shell", env={"PS1": "> ", "HOME": str(tmp_path)})
    await terminal.send_input("stty -echo; PS1=; echo $((6 * 7)) ready\n")
    await terminal.wait_for("42 ready", timeout=30)
    await terminal.send_input("exit 7\n")
    await terminal.wait()
    assert (terminal.exit_code, terminal.reason) == (7, "exit")
    session = await engine.get_session(terminal.session_id)
    assert (session.name, session.shell) == ("shell", "terminal")
    with trio.fail_after(10):
        async with session.follow() as records:  # ends when the session is closed, which the end of its program does
            async for _ in records:
                pass
    assert session.state == "closed"
    with pytest.raises(sessions.Closed, match=terminal.id):
        await terminal.send_input("x")


async def test_control_keys_reach_the_program_in_front(engine: sessions.Engine) -> None:
    terminal = await engine.create_terminal("trap 'echo caught; exit 5' INT; echo on; while :; do sleep 0.05; done")
    await terminal.wait_for("on", timeout=30)
    await terminal.send_input(b"\x03")
    await terminal.wait()
    assert terminal.exit_code == 5
    assert b"caught" in (await terminal.logs()).output


async def test_a_program_learns_of_a_new_size(engine: sessions.Engine) -> None:
    terminal = await engine.create_terminal(
        "trap 'stty size' WINCH; echo on; while :; do sleep 0.05; done", rows=5, columns=10
    )
    await terminal.wait_for("on", timeout=30)
    await terminal.resize(40, 132)
    await terminal.wait_for("40 132", timeout=30)
    with pytest.raises(sessions.Invalid, match="rows=0"):
        await terminal.resize(0, 80)
    await terminal.kill()


async def test_kill_hangs_up(engine: sessions.Engine, tmp_path: Path) -> None:
    terminal = await engine.create_terminal(env={"HOME": str(tmp_path)})
    await terminal.send_input("sleep 600 & setsid sleep 600 &\necho o$((0))n\n")
    await terminal.wait_for("o0n", timeout=30)
    with trio.fail_after(20):
        await terminal.kill()
    assert (terminal.state, terminal.reason) == ("finished", "killed")
    assert leftovers({terminal.session_id}) == []


async def test_closing_its_session_ends_it(engine: sessions.Engine) -> None:
    terminal = await engine.create_terminal("sleep 600")
    session = await engine.get_session(terminal.session_id)
    with pytest.raises(sessions.Conflict, match="terminal"):
        await session.run("echo")
    with pytest.raises(sessions.Conflict, match="terminal"):
        await session.restart()
    await session.close()
    assert (terminal.state, terminal.reason) == ("finished", "session_closed")


async def test_many_that_end_at_once_are_all_seen_to_end(engine: sessions.Engine) -> None:
    before = open_descriptors()
    with trio.fail_after(60):
        for number in range(30):
            terminal = await engine.create_terminal(f"exit {number}")
            await terminal.wait()
            assert terminal.exit_code == number
            session = await engine.get_session(terminal.session_id)
            await session.close()
    assert len(open_descriptors() - before) <= 4  # the keeper's socket, the catalog's journal


async def test_much_is_drawn_and_typed(engine: sessions.Engine) -> None:
    terminal = await engine.create_terminal("stty raw -echo; echo on; head -c 1000000 | wc -c")
    await terminal.wait_for("on", timeout=30)
    await terminal.send_input(b"x" * 1_000_000)
    await terminal.wait()
    assert b"1000000" in (await terminal.logs()).output
    drawing = await engine.create_terminal("seq 200000")
    await drawing.wait()
    assert (await drawing.logs()).output == b"".join(b"%d\r\n" % number for number in range(1, 200001))


async def test_its_history_stays(engine: sessions.Engine) -> None:
    terminal = await engine.create_terminal("echo kept")
    await terminal.wait()
    again = await engine.get_terminal(terminal.session_id)
    assert (again.exit_code, (await again.logs()).output) == (0, b"kept\r\n")
    await engine.create_session("shell")
    with pytest.raises(sessions.NotFound, match="no terminal"):
        await engine.get_terminal("shell")
