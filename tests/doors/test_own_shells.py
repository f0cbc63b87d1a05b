"""What people see of commands that came through a door: the text that was asked for."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sessions
from sessions.cli.views import command_row
from sessions.doors.own_shells import MOST_ARGUMENT_BYTES, ONE_STREAM, SHOWN, in_own_shell, shown_text, unquote


@given(st.text() | st.text(alphabet="'\" \\$a"))
def test_a_quoted_text_is_had_back(text: str) -> None:
    assert unquote(shlex.quote(text)) == text


@pytest.mark.parametrize("front", ["", ONE_STREAM])
@pytest.mark.parametrize("text", ["true", "echo 'it''s'; exit 3", "x" * (MOST_ARGUMENT_BYTES + 1)])
async def test_people_see_what_was_asked_for(engine: sessions.Engine, text: str, front: str) -> None:
    async with engine.open_session() as session:
        command = await session.run_async(front + in_own_shell(text), labels={"door": "daytona"})
        await command.kill()
    assert shown_text(command) == text
    assert command_row(command.info, "", 0)[-1].text == text
    assert command.text == front + in_own_shell(text)


async def test_a_label_goes_before(engine: sessions.Engine) -> None:
    async with engine.open_session() as session:
        command = await session.run_async("exec true", labels={"door": "declaw", SHOWN: "mine"})
        await command.wait()
    assert shown_text(command) == "mine"


async def test_a_text_of_ones_own_is_shown_as_it_is(engine: sessions.Engine) -> None:
    async with engine.open_session() as session:
        command = await session.run_async(in_own_shell("true"), labels={SHOWN: "other"})
        await command.wait()
    assert shown_text(command.info) == command.text == in_own_shell("true")
