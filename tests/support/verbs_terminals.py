"""Checks of the verbs: terminals."""

from __future__ import annotations

import pytest
from subject import Subject, check, fresh_name, joined, records_of

import sessions

# Terminals


@check
async def a_terminal_is_typed_to_and_read(subject: Subject) -> None:
    host, name = subject.host, fresh_name()
    terminal = await host.create_terminal(
        "stty -echo; echo $A $PWD; stty size; read line; echo got $line; exit 7",
        name=name,
        rows=30,
        columns=100,
        cwd="/usr",
        env={"A": "ä b"},
        labels={"check": name},
    )
    assert (terminal.state, terminal.labels) == ("running", {"check": name})
    await terminal.wait_for("30 100", timeout=30)
    await terminal.send_input("wörd\n")
    await terminal.wait()
    assert (terminal.state, terminal.exit_code, terminal.reason) == ("finished", 7, "exit")
    drawn = "ä b /usr\r\n30 100\r\ngot wörd\r\n".encode()
    assert (await terminal.logs()).output == drawn
    assert joined(await records_of(terminal.follow())) == drawn
    assert await terminal.redraw_after() is None
    with pytest.raises(sessions.Closed, match=terminal.id):
        await terminal.send_input("x")
    await terminal.resize(10, 10)
    for known in (name, terminal.session_id):
        found = await host.get_terminal(known)
        assert (found.id, found.exit_code) == (terminal.id, 7)
    assert (await host.get_session(name)).shell == "terminal"


@check
async def a_terminal_is_a_command(subject: Subject) -> None:
    """What finds a command finds it, and all that can be done to a command can be done to it."""
    terminal = await subject.host.create_terminal("stty -echo; echo on; exec cat", name=fresh_name())
    await terminal.wait_for("on", timeout=30)
    for command in (
        await subject.host.get_command(terminal.id),
        *(await subject.host.list_commands(session=terminal.session_id)),
        *(await (await subject.host.get_session(terminal.session_id)).list_commands()),
    ):
        await command.send_input(f"typed {id(command)}\n")
        await terminal.wait_for(f"typed {id(command)}", timeout=30)
    with pytest.raises(sessions.Conflict, match="Ctrl-D"):
        await terminal.close_input()
    async with terminal.follow() as records:
        assert (await anext(aiter(records))).data.startswith(b"on")
    await terminal.kill()
    assert (terminal.state, terminal.reason) == ("finished", "killed")


@check
async def a_terminal_is_resized(subject: Subject) -> None:
    host = subject.host
    terminal = await host.create_terminal("trap 'stty size' WINCH; echo on; while :; do sleep 0.05; done")
    await terminal.wait_for("on", timeout=30)
    await terminal.resize(40, 132)
    await terminal.wait_for("40 132", timeout=30)
    for rows, columns in ((0, 80), (24, 65536), ("24", 80), (24, True), (24, None)):
        with pytest.raises(sessions.Invalid, match="whole number"):
            await terminal.resize(rows, columns)
        with pytest.raises(sessions.Invalid, match="whole number"):
            await host.create_terminal(rows=rows, columns=columns)
    await terminal.kill()


@check
async def a_terminal_that_has_drawn_much_is_drawn_again_from_near_its_end(subject: Subject) -> None:
    terminal = await subject.host.create_terminal("seq 100000")
    await terminal.wait()
    after = await terminal.redraw_after()
    assert after > 0
    shown = joined(await records_of(terminal.follow(after=after)))
    assert 1 << 16 <= len(shown) < 1 << 18
    assert (await terminal.logs()).output.endswith(shown)


@check
async def terminals_that_are_none_are_refused(subject: Subject) -> None:
    host = subject.host
    wrong: list[dict[str, object]] = [
        {"text": " "},
        {"text": 5},
        {"name": "a/b"},
        {"cwd": "/nowhere/at/all"},
        {"env": {"1A": "x"}},
        {"labels": ["a"]},
    ]
    for options in wrong:
        with pytest.raises(sessions.Invalid):
            await host.create_terminal(**options)
    async with subject.session() as session:
        with pytest.raises(sessions.NotFound, match="no terminal"):
            await host.get_terminal(session.id)
        with pytest.raises(sessions.Conflict, match=session.name):
            await host.create_terminal(name=session.name)
    for name in ("nobody", "..", "a/b", "", 5):
        with pytest.raises(sessions.NotFound):
            await host.get_terminal(name)
