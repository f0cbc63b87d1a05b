"""How commands and sessions live: their states, and one table each of the moves between them.

A command is *queued* until its session's shell takes it, *running* until its shell reports how it ended, and *finished*
for ever after. A queued command can finish without having run (its session was closed, its shell died).

A session is *open* while it has a shell. It *stalls* while its log can't be written (disk full) and opens again when it
can. Its shell can *end* (``exit``, ``exec``, killed): then it takes no commands until it is restarted. *closed* and *lost*
(its engine vanished) are final.

A *space* is a home for sessions: *started* while they may run in it, *paused* while all its processes are stopped where they
are, *stopped* when it has none. *destroyed* is final.

Each state of a command is a type that holds exactly the facts that exist in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, TypeVar

import attrs

from .errors import Conflict

StateName = TypeVar("StateName", bound=str)
SpaceState: TypeAlias = Literal["started", "stopped", "paused", "destroyed"]
CommandStateName: TypeAlias = Literal["queued", "running", "finished"]
SessionState: TypeAlias = Literal["open", "stalled", "ended", "closed", "lost"]
Reason: TypeAlias = Literal["exit", "signal", "timeout", "killed", "session_closed", "shell_died", "lost"]

SESSION_STATES: Final[tuple[SessionState, ...]] = ("open", "stalled", "ended", "closed", "lost")
OPEN_STATES: Final[tuple[SessionState, ...]] = ("open", "stalled", "ended")
"""Those in which a session has an owner, and its name is taken."""
REASONS: Final[tuple[Reason, ...]] = ("exit", "signal", "timeout", "killed", "session_closed", "shell_died", "lost")
"""Their order is part of the log format: a finished mark stores the index."""

COMMAND_MOVES: Final[Mapping[tuple[str, str], CommandStateName]] = {
    ("queued", "start"): "running",
    ("queued", "finish"): "finished",
    ("running", "finish"): "finished",
}

SESSION_MOVES: Final[Mapping[tuple[str, str], SessionState]] = {
    ("open", "stall"): "stalled",
    ("stalled", "resume"): "open",
    ("open", "shell_end"): "ended",
    ("stalled", "shell_end"): "ended",
    ("ended", "restart"): "open",
    ("open", "close"): "closed",
    ("stalled", "close"): "closed",
    ("ended", "close"): "closed",
    ("open", "lose"): "lost",
    ("stalled", "lose"): "lost",
    ("ended", "lose"): "lost",
}


SPACE_MOVES: Final[Mapping[tuple[str, str], SpaceState]] = {
    ("started", "stop"): "stopped",
    ("started", "pause"): "paused",
    ("paused", "resume"): "started",
    ("paused", "stop"): "stopped",
    ("stopped", "start"): "started",
    ("started", "delete"): "destroyed",
    ("paused", "delete"): "destroyed",
    ("stopped", "delete"): "destroyed",
}


def move(table: Mapping[tuple[str, str], StateName], state: str, event: str, what: str) -> StateName:
    """The state after `event`, or `Conflict` if `table` has no such move. `what` names the session or command."""
    try:
        return table[state, event]
    except KeyError:
        raise Conflict(f"{what} is {state}: {event!r} is not possible now") from None


@attrs.frozen
class Outcome:
    """How a command ended."""

    reason: Reason
    exit_code: int | None
    """0 to 255 as the shell reports it (128 + n for signal n); None if the command never ran or its end was not seen."""


@attrs.frozen
class Queued:
    """Waiting for its session's shell."""

    queued_at: float
    """Unix seconds, UTC."""


@attrs.frozen
class Running:
    """Taken by the shell; not reported back yet."""

    queued_at: float
    started_at: float


@attrs.frozen
class Finished:
    """Over. All that it wrote until its end is in the log."""

    queued_at: float
    started_at: float | None
    """None if it never ran."""
    finished_at: float
    outcome: Outcome


CommandState: TypeAlias = Queued | Running | Finished


def state_name(state: CommandState) -> CommandStateName:
    match state:
        case Queued():
            return "queued"
        case Running():
            return "running"
        case Finished():
            return "finished"


def start(state: CommandState, now: float, what: str) -> Running:
    move(COMMAND_MOVES, state_name(state), "start", what)
    return Running(state.queued_at, now)


def finish(state: CommandState, now: float, outcome: Outcome, what: str) -> Finished:
    move(COMMAND_MOVES, state_name(state), "finish", what)
    match state:
        case Running(queued_at, started_at):
            return Finished(queued_at, started_at, now, outcome)
        case _:
            return Finished(state.queued_at, None, now, outcome)


def judge(exit_code: int, asked: Reason | None, sent_signal: int | None) -> Outcome:
    """The outcome of a command whose shell reported `exit_code`.

    `asked` is why we ended it (timeout, killed, session_closed), or None. `sent_signal` is the last signal that we sent.
    A command that we ended never counts as a success, even where its shell reports 0 (zsh does, for a loop that was
    interrupted): the code is then 128 + the signal that we sent. One that caught a plain signal from us and went on to exit
    by itself simply exited.
    """
    if asked is not None:
        return Outcome(asked, exit_code or 128 + (sent_signal or 15))
    if sent_signal is not None and exit_code == 128 + sent_signal:
        return Outcome("killed", exit_code)
    # 64 is the highest signal number on Linux; 128 itself is no signal.
    if 128 < exit_code <= 128 + 64:
        return Outcome("signal", exit_code)
    return Outcome("exit", exit_code)
