"""What is known of a session and of a command, as their callers read it: the same for an engine's and for a server's.

Two objects are equal if they stand for the same session or command, of which an id tells.
"""

from __future__ import annotations

import signal as signals
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Self

from .lifecycle import CommandStateName, Finished, Outcome, Reason, SessionState, state_name
from .models import CommandInfo, SessionInfo


class SessionFacts(ABC):
    """The facts of one session."""

    @property
    @abstractmethod
    def info(self) -> SessionInfo:
        """All its facts at this moment."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.id} {self.state}>"

    def __eq__(self, other: object) -> bool:
        return other.id == self.id if isinstance(other, SessionFacts) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def id(self) -> str:
        """Unique for ever."""
        return self.info.id

    @property
    def name(self) -> str:
        """Unique among open sessions."""
        return self.info.name

    @property
    def state(self) -> SessionState:
        """``"open"``, ``"stalled"`` (its log can't be written at present), ``"ended"`` (no shell), ``"closed"`` or ``"lost"``."""
        return self.info.state

    @property
    def problem(self) -> str | None:
        """Why it is stalled, in words."""
        return self.info.problem

    @property
    def labels(self) -> Mapping[str, str]:
        """To find it and its commands by."""
        return self.info.labels

    @property
    def shell(self) -> str:
        """``"bash"``, ``"sh"``, ``"zsh"``, or ``"terminal"``."""
        return self.info.shell

    @property
    def cwd(self) -> str:
        """Where its shell began; ``run("pwd")`` tells where it is now."""
        return self.info.cwd

    @property
    def env(self) -> Mapping[str, str]:
        """What was added to the environment when it was created."""
        return self.info.env

    @property
    def created_at(self) -> float:
        """Unix seconds, UTC."""
        return self.info.created_at

    @property
    def closed_at(self) -> float | None:
        """Unix seconds, UTC; None while it is not closed."""
        return self.info.closed_at

    @property
    def ended_by(self) -> str | None:
        """The id of the command that ended its shell, while it has none."""
        return self.info.ended_by


class CommandFacts(ABC):
    """The facts of one command."""

    @property
    @abstractmethod
    def info(self) -> CommandInfo:
        """All its facts at this moment."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.state} {self.text[:60]!r}>"

    def __eq__(self, other: object) -> bool:
        return other.id == self.id if isinstance(other, CommandFacts) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return PastCommand, (self.info,)  # its engine or its connection stays in this process

    @property
    def id(self) -> str:
        """Unique for ever."""
        return self.info.id

    @property
    def session_id(self) -> str:
        """The session in which it runs."""
        return self.info.session_id

    @property
    def text(self) -> str:
        """What the shell was given."""
        return self.info.text

    @property
    def in_shell(self) -> bool:
        """True if it runs in the shell itself, False if in a fork beside it."""
        return self.info.in_shell

    @property
    def labels(self) -> Mapping[str, str]:
        """Its own; to find it by."""
        return self.info.labels

    @property
    def state(self) -> CommandStateName:
        """``"queued"``, ``"running"`` or ``"finished"``."""
        return state_name(self.info.state)

    @property
    def _outcome(self) -> Outcome | None:
        state = self.info.state
        return state.outcome if isinstance(state, Finished) else None

    @property
    def exit_code(self) -> int | None:
        """0 to 255, 128 + n for signal n; None while it is not finished, if it never ran, and if its end was not seen."""
        return self._outcome.exit_code if self._outcome else None

    @property
    def reason(self) -> Reason | None:
        """Why it ended: exit, signal, timeout, killed, session_closed, shell_died, lost. None while it is not finished."""
        return self._outcome.reason if self._outcome else None

    @property
    def signal(self) -> signals.Signals | None:
        """The signal that ended it, if one did."""
        return self.info.signal

    @property
    def queued_at(self) -> float:
        """Unix seconds, UTC."""
        return self.info.state.queued_at

    @property
    def started_at(self) -> float | None:
        """Unix seconds, UTC; None while it is queued, and for ever if it never ran."""
        return self.info.started_at

    @property
    def finished_at(self) -> float | None:
        """Unix seconds, UTC; None until then."""
        return self.info.finished_at

    @property
    def duration_seconds(self) -> float | None:
        """From its start to its end; None until then."""
        info = self.info
        if info.started_at is None or info.finished_at is None:
            return None
        return info.finished_at - info.started_at

    @property
    def stdout_bytes(self) -> int:
        """What it has written to stdout, also what is no longer kept."""
        return self.info.stdout_bytes

    @property
    def stderr_bytes(self) -> int:
        """The same for stderr."""
        return self.info.stderr_bytes

    @property
    def size_bytes(self) -> int:
        """All that it has written, also what is no longer kept."""
        return self.stdout_bytes + self.stderr_bytes

    @property
    def dropped_bytes(self) -> int:
        """How many of its oldest bytes were given up to keep within ``Limits.log_bytes``."""
        return self.info.dropped_bytes


class PastCommand(CommandFacts):
    """What a pickled command becomes: its facts as they were, without its verbs. So results and errors reach other processes."""

    def __init__(self, info: CommandInfo) -> None:
        self._info = info

    @property
    def info(self) -> CommandInfo:
        return self._info
