"""The values that callers see: records, logs, results, events, limits. Plain data, no I/O."""

from __future__ import annotations

import signal as signals
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from .errors import Invalid
from .lifecycle import CommandState, Finished, Outcome, Running, SessionState, SpaceState

if TYPE_CHECKING:
    from .command import Command

StreamName: TypeAlias = Literal["stdout", "stderr"]
EventType: TypeAlias = Literal[
    "session_created", "session_closed", "command_queued", "command_started", "command_finished"
]


@attrs.frozen
class Record:
    """One piece of a log, as it arrived: not a line, and its bytes may begin or end inside a character."""

    seq: int
    """Its number in the session's transcript. Strictly increasing; pass it as ``after=`` to go on behind it."""
    time: float
    """When it was read from the command: Unix seconds, UTC. Never less than the one before."""
    stream: Literal["stdout", "stderr", "dropped"]
    """``"dropped"`` is a notice: `dropped_bytes` bytes that stood here are no longer kept."""
    data: bytes
    command_id: str
    dropped_bytes: int = 0


@attrs.frozen(slots=False, eq=False)
class Logs:
    """What a log held when it was asked for."""

    stdout: bytes
    stderr: bytes
    output: bytes
    """Both streams, in the order of arrival."""
    dropped_bytes: int = 0
    """Bytes in the asked range that were given up to keep within the size cap, or are damaged."""
    last_seq: int = -1
    """The last record in it; -1 if it is empty. ``follow(after=last_seq)`` goes on where a whole log ends."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Logs):
            return NotImplemented
        mine, others = (self.output, self.dropped_bytes), (other.output, other.dropped_bytes)
        return mine == others and self.stdout == other.stdout and self.stderr == other.stderr


class InterleavedLogs(Logs):
    """The logs of two streams, which are copied out of the output only when they are asked for."""

    def __init__(
        self, output: bytes, pieces: Sequence[tuple[StreamName, int]], dropped_bytes: int, last_seq: int = -1
    ) -> None:
        """`pieces` says whose bytes `output` is made of, in order: pairs of stream and size."""
        # Not into the fields of the same names: a cached property looks there first.
        self.__dict__.update(output=output, dropped_bytes=dropped_bytes, last_seq=last_seq)
        self.__dict__["_pieces"] = pieces

    def _only(self, wanted: StreamName) -> bytes:
        view, offset, parts = memoryview(self.output), 0, []
        for stream, size in self.__dict__["_pieces"]:
            if stream == wanted:
                parts.append(view[offset : offset + size])
            offset += size
        return b"".join(parts)

    @cached_property
    def stdout(self) -> bytes:
        return self._only("stdout")

    @cached_property
    def stderr(self) -> bytes:
        return self._only("stderr")


@attrs.frozen
class Excerpt:
    """A log cut down to a size: its beginning, its end, and the end of its stderr where that is not in them."""

    head: bytes
    tail: bytes
    stderr_tail: bytes
    """The end of stderr if it lies in what was left out, else empty."""
    omitted_bytes: int
    omitted_start: int
    """The left out part is ``logs(start=omitted_start, stop=omitted_stop)``: byte positions in the command's output."""
    omitted_stop: int

    def __str__(self) -> str:
        """The text with a notice where something was left out."""
        head, tail = (part.decode("utf-8", "replace") for part in (self.head, self.tail))
        if not self.omitted_bytes:
            return head + tail
        notice = f"\n[{self.omitted_bytes} bytes omitted; read them with start={self.omitted_start}, stop={self.omitted_stop}]\n"
        if self.stderr_tail:
            notice += f"[stderr, in the omitted part, ends with]\n{self.stderr_tail.decode('utf-8', 'replace')}\n[end of stderr]\n"
        return head + notice + tail


@attrs.frozen
class Event:
    """One thing that happened in an engine's root."""

    seq: int
    """Strictly increasing in a root; pass it to ``watch(after=)`` to go on behind it."""
    time: float
    """Unix seconds, UTC."""
    type: EventType
    session_id: str
    command_id: str | None
    """None for events of a session."""


@attrs.frozen
class CommandInfo:
    """All that is known of a command at one moment."""

    id: str
    session_id: str
    number: int
    """Its number in its session, from 1."""
    text: str
    in_shell: bool
    """True if it ran in the shell itself, False if in a fork beside it."""
    labels: Mapping[str, str]
    state: CommandState
    first_seq: int
    """The index record from which its log is found."""
    last_seq: int
    """Its last index record so far."""
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    dropped_bytes: int = 0
    detached: bool = False
    """True if it outlives its session."""
    expired: bool = False
    """True once retention has removed its log."""

    @property
    def outcome(self) -> Outcome | None:
        return self.state.outcome if isinstance(self.state, Finished) else None

    @property
    def started_at(self) -> float | None:
        return self.state.started_at if isinstance(self.state, Running | Finished) else None

    @property
    def finished_at(self) -> float | None:
        return self.state.finished_at if isinstance(self.state, Finished) else None

    @property
    def signal(self) -> signals.Signals | None:
        """The signal that ended it, read from an exit code over 128."""
        outcome = self.outcome
        if outcome is None or outcome.exit_code is None or outcome.reason == "exit":
            return None
        try:
            return signals.Signals(outcome.exit_code - 128)
        except ValueError:
            return None


@attrs.frozen
class SessionInfo:
    """All that is known of a session at one moment."""

    id: str
    name: str
    engine_id: str
    """The engine that owns or owned it."""
    shell: str
    cwd: str
    """Where its shell began."""
    env: Mapping[str, str]
    """What was added to the environment when it was created."""
    labels: Mapping[str, str]
    restart: bool
    """True if a shell that ended is replaced by itself."""
    state: SessionState
    created_at: float
    """Unix seconds, UTC."""
    closed_at: float | None = None
    ended_by: str | None = None
    """The id of the command that ended its shell, while there is none."""
    problem: str | None = None
    """Why it is stalled, in words."""


@attrs.frozen
class SpaceInfo:
    """All that is known at one moment of a space: a home for sessions that was made through a door."""

    id: str
    name: str
    """Unique among the spaces of its door that are not destroyed."""
    door: str
    """The dialect through which it was made."""
    home: str
    """Its own directory, below the root."""
    env: Mapping[str, str]
    """For all that runs in it."""
    labels: Mapping[str, str]
    facts: Mapping[str, Any]
    """What its door wants to remember, as JSON."""
    state: SpaceState
    created_at: float
    """Unix seconds, UTC."""
    changed_at: float
    """When its state changed last."""
    stop_after: float | None = None
    """Seconds without use after which it is stopped."""
    delete_after: float | None = None
    """Seconds at rest after which it is deleted: as stopped, and unless its door says otherwise, as paused."""
    last_process: int = 0
    """The highest process number that was given out in it."""


@attrs.frozen(slots=False)
class Result:
    """What `run` returns: the command when it was over, and its output. Pickled, for another process, its command has facts, but no verbs."""

    command: Command
    logs: Logs
    """The output as bytes."""
    restarted: bool = False
    """True if the shell is a fresh one since the result before: ``cd``, exports and functions of before are gone."""
    shell_ended: bool = False
    """True if this command ended the session's shell."""

    @property
    def exit_code(self) -> int | None:
        return self.command.exit_code

    @property
    def reason(self) -> str | None:
        return self.command.reason

    @property
    def signal(self) -> signals.Signals | None:
        return self.command.signal

    @cached_property
    def stdout(self) -> str:
        """Decoded as UTF-8; what is not UTF-8 is U+FFFD."""
        return self.logs.stdout.decode("utf-8", "replace")

    @cached_property
    def stderr(self) -> str:
        return self.logs.stderr.decode("utf-8", "replace")

    @cached_property
    def output(self) -> str:
        """Both streams, in the order of arrival."""
        return self.logs.output.decode("utf-8", "replace")


@attrs.frozen(kw_only=True)
class Limits:
    """What users may set, for all sessions of an engine."""

    log_bytes: int = 1 << 30
    """Size cap of one command's log, at least 16 KiB. Beyond it the oldest bytes are given back to the file system."""
    kill_grace_seconds: float = 5.0
    """From the first signal of a timeout, a cancellation or a close to SIGKILL."""
    sessions: int = 10_000
    """Open sessions of this engine."""
    queued_commands: int = 10_000
    """Commands waiting in one session."""

    def __attrs_post_init__(self) -> None:
        for name, least in (("log_bytes", 1 << 14), ("kill_grace_seconds", 0), ("sessions", 1), ("queued_commands", 1)):
            value = getattr(self, name)
            kinds = int | float if name == "kill_grace_seconds" else int
            if isinstance(value, bool) or not isinstance(value, kinds) or not value >= least:
                raise Invalid(f"Limits: {name}={value!r}: pass a number from {least}")


@attrs.frozen
class Pruned:
    """What `prune` removed."""

    commands: int
    sessions: int
    freed_bytes: int
