"""The two lifecycles: every pair of state and event either is a move of the table or is refused by name; and how outcomes are judged."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping

import attrs
import pytest

from sessions.errors import Conflict
from sessions.lifecycle import (
    COMMAND_MOVES,
    REASONS,
    SESSION_MOVES,
    CommandState,
    Finished,
    Outcome,
    Queued,
    Reason,
    Running,
    finish,
    judge,
    move,
    start,
    state_name,
)

COMMAND_STATES = ["queued", "running", "finished"]
COMMAND_EVENTS = ["start", "finish"]
SESSION_STATES = ["open", "stalled", "ended", "closed", "lost"]
SESSION_EVENTS = ["stall", "resume", "shell_end", "restart", "close", "lose"]

# The tables once more, as a drawing: a row for each state, a column for each event.
COMMAND_DRAWING = """
             start     finish
  queued     running   finished
  running    -         finished
  finished   -         -
"""
SESSION_DRAWING = """
             stall     resume    shell_end   restart   close     lose
  open       stalled   -         ended       -         closed    lost
  stalled    -         open      ended       -         closed    lost
  ended      -         -         -           open      closed    lost
  closed     -         -         -           -         -         -
  lost       -         -         -           -         -         -
"""


def pairs(drawing: str) -> list[tuple[str, str, str | None]]:
    """(state, event, next state or None)."""
    header, *rows = (line.split() for line in drawing.strip().splitlines())
    return [
        (row[0], event, None if target == "-" else target)
        for row in rows
        for event, target in zip(header, row[1:], strict=True)
    ]


@pytest.mark.parametrize(
    ("table", "drawing", "states", "events"),
    [
        (COMMAND_MOVES, COMMAND_DRAWING, COMMAND_STATES, COMMAND_EVENTS),
        (SESSION_MOVES, SESSION_DRAWING, SESSION_STATES, SESSION_EVENTS),
    ],
)
def test_every_pair_moves_or_is_refused_by_name(
    table: Mapping[tuple[str, str], str], drawing: str, states: list[str], events: list[str]
) -> None:
    drawn = pairs(drawing)
    assert {(state, event) for state, event, _ in drawn} == set(itertools.product(states, events))
    assert set(table) == {(state, event) for state, event, target in drawn if target}
    for state, event, target in drawn:
        if target:
            assert move(table, state, event, "it") == target
        else:
            with pytest.raises(Conflict, match=rf"command k3-7 is {state}: '{event}'"):
                move(table, state, event, "command k3-7")


def test_the_final_states_have_no_way_out() -> None:
    assert {state for state in COMMAND_STATES if not any(key[0] == state for key in COMMAND_MOVES)} == {"finished"}
    assert {state for state in SESSION_STATES if not any(key[0] == state for key in SESSION_MOVES)} == {
        "closed",
        "lost",
    }


def test_unknown_states_and_events_are_refused_too() -> None:
    for state, event in (("open", "explode"), ("nowhere", "close")):
        with pytest.raises(Conflict, match=rf"session x is {state}: '{event}'"):
            move(SESSION_MOVES, state, event, "session x")


OUTCOME = Outcome("exit", 0)
STATES: list[CommandState] = [Queued(1.0), Running(1.0, 2.0), Finished(1.0, 2.0, 3.0, OUTCOME)]
ACTIONS: dict[str, Callable[[CommandState], CommandState]] = {
    "start": lambda state: start(state, 9.0, "command k3-7"),
    "finish": lambda state: finish(state, 9.0, OUTCOME, "command k3-7"),
}


@pytest.mark.parametrize("state", STATES, ids=COMMAND_STATES)
@pytest.mark.parametrize("event", COMMAND_EVENTS)
def test_a_commands_states_move_as_its_table_says(state: CommandState, event: str) -> None:
    target = COMMAND_MOVES.get((state_name(state), event))
    if target is None:
        with pytest.raises(Conflict, match=re.escape(f"command k3-7 is {state_name(state)}: '{event}'")):
            ACTIONS[event](state)
    else:
        assert state_name(ACTIONS[event](state)) == target


def test_a_state_has_the_facts_that_exist_in_it() -> None:
    running = start(Queued(1.0), 2.0, "it")
    assert running == Running(1.0, 2.0)
    assert finish(running, 3.0, OUTCOME, "it") == Finished(1.0, 2.0, 3.0, OUTCOME)
    assert finish(Queued(1.0), 3.0, OUTCOME, "it") == Finished(1.0, None, 3.0, OUTCOME)
    assert [[field.name for field in attrs.fields(type(state))] for state in STATES] == [
        ["queued_at"],
        ["queued_at", "started_at"],
        ["queued_at", "started_at", "finished_at", "outcome"],
    ]


@pytest.mark.parametrize(
    ("exit_code", "asked", "sent_signal", "expected"),
    [
        # It ended by itself.
        (0, None, None, Outcome("exit", 0)),
        (1, None, None, Outcome("exit", 1)),
        (127, None, None, Outcome("exit", 127)),
        (128, None, None, Outcome("exit", 128)),
        (255, None, None, Outcome("exit", 255)),
        (193, None, None, Outcome("exit", 193)),
        # Somebody else's signal, or an exit code that looks like one.
        (129, None, None, Outcome("signal", 129)),
        (137, None, None, Outcome("signal", 137)),
        (192, None, None, Outcome("signal", 192)),
        # We sent it a plain signal: it died of it, or of another, or it caught it and went on.
        (130, None, 2, Outcome("killed", 130)),
        (138, None, 10, Outcome("killed", 138)),
        (137, None, 2, Outcome("signal", 137)),
        (0, None, 10, Outcome("exit", 0)),
        (3, None, 15, Outcome("exit", 3)),
        # We ended it: never a success, and the shell's code where it has one.
        (130, "timeout", 2, Outcome("timeout", 130)),
        (143, "killed", 15, Outcome("killed", 143)),
        (137, "session_closed", 9, Outcome("session_closed", 137)),
        (3, "killed", 15, Outcome("killed", 3)),
        (0, "timeout", 2, Outcome("timeout", 130)),
        (0, "killed", 9, Outcome("killed", 137)),
        (0, "killed", None, Outcome("killed", 143)),
    ],
)
def test_outcomes(exit_code: int, asked: Reason | None, sent_signal: int | None, expected: Outcome) -> None:
    assert judge(exit_code, asked, sent_signal) == expected


def test_what_holds_for_every_exit_code() -> None:
    askable: list[Reason | None] = [None, "timeout", "killed", "session_closed"]
    for exit_code, asked, sent_signal in itertools.product(range(256), askable, [None, 2, 9, 10, 15]):
        outcome = judge(exit_code, asked, sent_signal)
        assert outcome.reason in REASONS
        assert outcome.exit_code in range(256)
        if asked is not None:
            assert outcome.reason == asked
            assert outcome.exit_code != 0
        else:
            assert outcome.exit_code == exit_code
            assert (outcome.reason == "exit") == (not 128 < exit_code <= 192)
            assert (outcome.reason == "killed") == (sent_signal is not None and exit_code == 128 + sent_signal)
