"""What can be asked for: sessions, commands and events of a root, in one SQLite file that engines and readers share."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

from ..errors import Closed, Conflict, Corrupt
from ..ids import command_id
from ..lifecycle import (
    CommandState,
    CommandStateName,
    Finished,
    Outcome,
    Queued,
    Reason,
    Running,
    SessionState,
    state_name,
)
from ..models import CommandInfo, Event, SessionInfo
from .conditions import LABEL, conditions
from .schema import BUSY_SECONDS, connect
from .spaces import SpaceTable

CHECKPOINT_WRITES: Final = 2000
"""After so many changes the write-ahead log (about 20 KiB a change) is worth moving into the file: in a thread, for it syncs."""
LARGE_WAL_BYTES: Final = 4 << 20
"""A write-ahead log of this size is moved into the file before a connection is closed."""
LABEL_OF_COMMAND: Final = f"coalesce({LABEL}, session_id IN (SELECT id FROM sessions WHERE {LABEL}))"
"""Whether a command, or if it has none of the key its session, has this label. The sessions are looked through once for all
commands: to put each one's labels together with its session's took three times as long."""


class ClosedDatabase:
    """Stands where the connection was."""

    def execute(self, *_: object) -> NoReturn:
        raise Closed("the engine is closed: open another one on this root to read on")


class Catalog:
    """One connection to a root's catalog. Each method is one transaction."""

    def __init__(self, path: Path, copy: sqlite3.Connection | None = None) -> None:
        """`copy`: one in memory, to use in its place."""
        self.path = path
        self.listeners: set[Callable[[], None]] = set()
        """Called after each change that this connection has made."""
        self.on_checkpoint_due: Callable[[], None] = lambda: None
        """Called when it is time for `checkpoint`."""
        self.is_copy = copy is not None
        """Whether what is changed here is forgotten."""
        self._writes = 0
        self._db = connect(path) if copy is None else copy

    def close(self) -> None:
        with contextlib.suppress(OSError):
            # The last connection does this by itself; where others stay open, many short ones would leave it to nobody.
            if os.stat(f"{self.path}-wal").st_size > LARGE_WAL_BYTES:
                self.checkpoint()
        self._db.close()
        self._db = ClosedDatabase()  # type: ignore[assignment]

    def checkpoint(self) -> None:
        """Move the write-ahead log into the file. Blocks, so call it in a thread; it uses a connection of its own."""
        with contextlib.suppress(sqlite3.DatabaseError):  # a full disk or a busy one: the log just stays longer
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS)
            try:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            finally:
                connection.close()

    def _change(self, statement: str, values: Sequence[object]) -> None:
        """One statement, which is one transaction."""
        self._db.execute(statement, values)
        for listener in self.listeners:
            listener()
        self._writes += 1
        if self._writes % CHECKPOINT_WRITES == 0:
            self.on_checkpoint_due()

    def spaces(self) -> SpaceTable:
        """The spaces of this root, by the same connection."""
        return SpaceTable(self._db)

    def version(self) -> int:
        """Grows when another connection has changed something."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    # Sessions

    def add_session(self, info: SessionInfo) -> None:
        """`Conflict` if an open session has this name, `sqlite3.OperationalError` if the disk is full."""
        values = (
            info.id, info.name, info.engine_id, info.shell, info.cwd, json.dumps(dict(info.env)),
            json.dumps(dict(info.labels)), info.restart, info.state, info.created_at,
        )  # fmt: skip
        if info.name != info.id and self._db.execute("SELECT 1 FROM sessions WHERE id = ?", (info.name,)).fetchone():
            raise Conflict(f"{info.name!r} is the id of another session: choose another name")
        try:
            self._change(
                "INSERT INTO sessions (id, name, engine_id, shell, cwd, env, labels, restart, state, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )
        except sqlite3.IntegrityError:
            raise Conflict(
                f"an open session is called {info.name!r} already: get_session({info.name!r}) gives it, or choose another name"
            ) from None

    def update_session(self, info: SessionInfo) -> None:
        """Store the state of `info` and what goes with it."""
        self._change(
            "UPDATE sessions SET state = ?, closed_at = ?, ended_by = ?, problem = ? WHERE id = ?",
            (info.state, info.closed_at, info.ended_by, info.problem, info.id),
        )

    def find_session(self, name_or_id: str) -> SessionInfo | None:
        """The open session of this name, else the one with this id, else the newest that had this name."""
        row = self._db.execute(
            "SELECT * FROM sessions WHERE name = ?1 OR id = ?1"
            " ORDER BY (name = ?1 AND state IN ('open', 'stalled', 'ended')) DESC, (id = ?1) DESC, created_at DESC LIMIT 1",
            (name_or_id,),
        ).fetchone()
        return session_of(row) if row else None

    def list_sessions(
        self, state: str | None = None, labels: Mapping[str, str] | None = None, engine_id: str | None = None
    ) -> list[SessionInfo]:
        """Oldest first."""
        where, values = conditions({"state": state, "engine_id": engine_id}, labels)
        rows = self._db.execute(f"SELECT * FROM sessions{where} ORDER BY created_at, id", values)
        return [session_of(row) for row in rows]

    def open_sessions(self, labels: Mapping[str, str] | None = None) -> list[SessionInfo]:
        """Those that are not closed or lost, oldest first: by an index, without a look at all the others."""
        where, values = conditions({}, labels)
        where += f"{' AND' if where else ' WHERE'} state IN ('open', 'stalled', 'ended')"
        return [
            session_of(row)
            for row in self._db.execute(f"SELECT * FROM sessions{where} ORDER BY created_at, id", values)
        ]

    def count_ended_sessions(self) -> dict[SessionState, int]:
        """By state those that `open_sessions` leaves out. Looks at all, so call it in a thread; it uses a connection of its own."""
        with contextlib.closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS)) as connection:
            return dict(
                connection.execute(
                    "SELECT state, count(*) FROM sessions WHERE state NOT IN ('open', 'stalled', 'ended') GROUP BY state"
                ).fetchall()
            )

    def delete_session(self, session_id: str) -> None:
        """Forget a session and its commands. The events stay: who watches shall see that it was closed."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.execute("DELETE FROM commands WHERE session_id = ?", (session_id,))
            self._db.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # a full disk has ended it already
                self._db.execute("ROLLBACK")
            raise

    # Commands

    def add_command(self, info: CommandInfo) -> None:
        """Store a command that is queued, or is running at once."""
        started_at = info.state.started_at if isinstance(info.state, Running) else None
        self._change(
            "INSERT INTO commands VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, NULL, ?, ?, 0, 0, 0, ?, 0)",
            (
                info.session_id, info.number, info.text, info.in_shell, json.dumps(dict(info.labels)) if info.labels else "{}",
                state_name(info.state), info.state.queued_at, started_at, info.first_seq, info.last_seq, info.detached,
            ),
        )  # fmt: skip

    def start_command(self, info: CommandInfo) -> None:
        self._change(
            "UPDATE commands SET state = 'running', started_at = ? WHERE session_id = ? AND number = ?",
            (info.started_at, info.session_id, info.number),
        )

    def finish_command(self, info: CommandInfo) -> None:
        state = info.state
        assert isinstance(state, Finished)
        self._change(
            "UPDATE commands SET state = 'finished', finished_at = ?, reason = ?, exit_code = ?, last_seq = ?,"
            " stdout_bytes = ?, stderr_bytes = ?, dropped_bytes = ? WHERE session_id = ? AND number = ?",
            (
                state.finished_at, state.outcome.reason, state.outcome.exit_code, info.last_seq,
                info.stdout_bytes, info.stderr_bytes, info.dropped_bytes, info.session_id, info.number,
            ),
        )  # fmt: skip

    def update_command_log(self, info: CommandInfo) -> None:
        """Store how much a command has logged, late output too."""
        self._change(
            "UPDATE commands SET last_seq = ?, stdout_bytes = ?, stderr_bytes = ?, dropped_bytes = ?"
            " WHERE session_id = ? AND number = ?",
            (info.last_seq, info.stdout_bytes, info.stderr_bytes, info.dropped_bytes, info.session_id, info.number),
        )

    def expire_command(self, session_id: str, number: int) -> None:
        """Keep only that it was there."""
        self._change(
            "UPDATE commands SET expired = 1, text = '', labels = '{}' WHERE session_id = ? AND number = ?",
            (session_id, number),
        )

    def get_command(self, session_id: str, number: int) -> CommandInfo | None:
        row = self._db.execute(
            "SELECT * FROM commands WHERE session_id = ? AND number = ?", (session_id, number)
        ).fetchone()
        return command_of(row) if row else None

    def list_commands(
        self,
        session_id: str | None = None,
        state: str | None = None,
        labels: Mapping[str, str] | None = None,
        limit: int | None = None,
        before: tuple[str, int] | None = None,
    ) -> list[CommandInfo]:
        """The newest `limit` that fit and were stored before the command `before`, oldest of them first. Without expired ones."""
        where, values = conditions({"session_id": session_id, "state": state, "expired": 0}, labels, LABEL_OF_COMMAND)
        if before is not None:
            where += " AND rowid < (SELECT rowid FROM commands WHERE session_id = ? AND number = ?)"
            values += before
        rows = self._db.execute(
            f"SELECT * FROM commands{where} ORDER BY rowid DESC LIMIT ?", [*values, -1 if limit is None else limit]
        ).fetchall()
        return [command_of(row) for row in reversed(rows)]

    def tally(self) -> list[tuple[CommandStateName, Reason | None, int, int, int, int]]:
        """For each state and reason how many commands, and what they wrote: stdout, stderr, and dropped bytes.

        Looks at all of them, so call it in a thread; it uses a connection of its own.
        """
        with contextlib.closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS)) as connection:
            return connection.execute(
                "SELECT state, reason, count(*), sum(stdout_bytes), sum(stderr_bytes), sum(dropped_bytes)"
                " FROM commands GROUP BY state, reason ORDER BY state, reason"
            ).fetchall()

    def prunable(self) -> Iterator[CommandInfo]:
        """Finished commands that still hold a log, the one that finished first first. Their texts are left out."""
        rows = self._db.execute(
            "SELECT session_id, number, '' AS text, in_shell, '{}' AS labels, state, queued_at, started_at, finished_at, reason,"
            " exit_code, first_seq, last_seq, stdout_bytes, stderr_bytes, dropped_bytes, detached, expired"
            " FROM commands WHERE state = 'finished' AND expired = 0 ORDER BY finished_at, rowid"
        ).fetchall()
        return map(command_of, rows)

    def empty_sessions(self) -> list[str]:
        """The ids of those that have ended and have no command that has not expired."""
        rows = self._db.execute(
            "SELECT id FROM sessions WHERE state NOT IN ('open', 'stalled', 'ended') AND NOT EXISTS"
            " (SELECT 1 FROM commands WHERE session_id = sessions.id AND expired = 0)"
        )
        return [row["id"] for row in rows]

    # Events

    def last_event(self) -> int:
        return int(self._db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0])

    def events_after(self, seq: int, limit: int = 512) -> list[Event]:
        rows = self._db.execute(
            "SELECT seq, time, type, session_id, command_id FROM events WHERE seq > ? ORDER BY seq LIMIT ?",
            (seq, limit),
        )
        return [Event(*row) for row in rows]

    def forget_events(self, older_than: float) -> None:
        """Remove events from before this time (Unix seconds)."""
        self._change("DELETE FROM events WHERE time < ?", (older_than,))


def session_of(row: sqlite3.Row) -> SessionInfo:
    state: SessionState = row["state"]
    return SessionInfo(
        id=row["id"], name=row["name"], engine_id=row["engine_id"], shell=row["shell"], cwd=row["cwd"],
        env=json.loads(row["env"]), labels=json.loads(row["labels"]), restart=bool(row["restart"]), state=state,
        created_at=row["created_at"], closed_at=row["closed_at"], ended_by=row["ended_by"], problem=row["problem"],
    )  # fmt: skip


def command_of(row: sqlite3.Row) -> CommandInfo:
    identity = command_id(row["session_id"], row["number"])
    state: CommandState
    match row["state"]:
        case "queued":
            state = Queued(row["queued_at"])
        case "running":
            state = Running(row["queued_at"], row["started_at"])
        case "finished":
            outcome = Outcome(row["reason"], row["exit_code"])
            state = Finished(row["queued_at"], row["started_at"], row["finished_at"], outcome)
        case other:
            raise Corrupt(f"command {identity} has the unknown state {other!r} in the catalog")
    return CommandInfo(
        id=identity, session_id=row["session_id"], number=row["number"], text=row["text"], in_shell=bool(row["in_shell"]),
        labels=json.loads(row["labels"]), state=state, first_seq=row["first_seq"], last_seq=row["last_seq"],
        stdout_bytes=row["stdout_bytes"], stderr_bytes=row["stderr_bytes"], dropped_bytes=row["dropped_bytes"],
        detached=bool(row["detached"]), expired=bool(row["expired"]),
    )  # fmt: skip
