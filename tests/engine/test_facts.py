"""Sessions and commands as values: two objects that stand for the same one are equal."""

from __future__ import annotations

from unittest.mock import ANY

import sessions


async def test_what_stands_for_the_same_is_equal(engine: sessions.Engine, session: sessions.Session) -> None:
    other = await engine.create_session()
    assert await engine.get_session("test") == await engine.get_session(session.id) == session != other
    assert await engine.list_sessions() == [session, other]
    command = await session.run_async("true")
    for _ in range(2):
        assert await engine.get_command(command.id) == command
        assert await session.list_commands() == [command]
        assert {command: 1}[await engine.get_command(command.id)] == 1
        await command.wait()
    assert (await session.run("true")).command != command
    assert session not in (session.id, None, command)
    assert session == ANY
    assert command == ANY


async def test_a_terminal_is_the_same_when_it_has_ended(engine: sessions.Engine) -> None:
    terminal = await engine.create_terminal("read x", name="terminal")
    before = await engine.get_command(terminal.id)
    await terminal.kill()
    assert before == terminal == await engine.get_command(terminal.id)
