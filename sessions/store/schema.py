"""The tables of a root's catalog, and how a database of an earlier format becomes one of this."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final
from urllib.parse import quote

from ..errors import Broken

FORMAT: Final = 2
BUSY_SECONDS: Final = 1.0
"""How long another engine's change is waited for, in the event loop; a change takes it 20 µs. Then the write is tried again later."""

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, engine_id TEXT NOT NULL, shell TEXT NOT NULL, cwd TEXT NOT NULL,
    env TEXT NOT NULL, labels TEXT NOT NULL, restart INTEGER NOT NULL, state TEXT NOT NULL, created_at REAL NOT NULL,
    closed_at REAL, ended_by TEXT, problem TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS sessions_by_name ON sessions(name);
CREATE UNIQUE INDEX IF NOT EXISTS open_names ON sessions(name) WHERE state IN ('open', 'stalled', 'ended');
CREATE TABLE IF NOT EXISTS commands (
    session_id TEXT NOT NULL, number INTEGER NOT NULL, text TEXT NOT NULL, in_shell INTEGER NOT NULL,
    labels TEXT NOT NULL, state TEXT NOT NULL, queued_at REAL NOT NULL, started_at REAL, finished_at REAL, reason TEXT,
    exit_code INTEGER, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, stdout_bytes INTEGER NOT NULL,
    stderr_bytes INTEGER NOT NULL, dropped_bytes INTEGER NOT NULL, detached INTEGER NOT NULL, expired INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS commands_by_number ON commands(session_id, number);
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, type TEXT NOT NULL, session_id TEXT NOT NULL,
    command_id TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS spaces (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, door TEXT NOT NULL, home TEXT NOT NULL, env TEXT NOT NULL,
    labels TEXT NOT NULL, facts TEXT NOT NULL, state TEXT NOT NULL, created_at REAL NOT NULL, changed_at REAL NOT NULL,
    stop_after REAL, delete_after REAL, last_process INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS space_names ON spaces(door, name) WHERE state != 'destroyed';
-- Triggers write the events: one statement a change, and no change without its event.
CREATE TRIGGER IF NOT EXISTS session_created AFTER INSERT ON sessions BEGIN
    INSERT INTO events (time, type, session_id) VALUES (NEW.created_at, 'session_created', NEW.id);
END;
CREATE TRIGGER IF NOT EXISTS session_closed AFTER UPDATE OF state ON sessions
WHEN OLD.state IN ('open', 'stalled', 'ended') AND NEW.state NOT IN ('open', 'stalled', 'ended') BEGIN
    INSERT INTO events (time, type, session_id) VALUES (NEW.closed_at, 'session_closed', NEW.id);
END;
-- One trigger for both: SQLite runs two on the same change in an order of its own.
DROP TRIGGER IF EXISTS command_queued;
DROP TRIGGER IF EXISTS command_started_at_once;
CREATE TRIGGER command_queued AFTER INSERT ON commands BEGIN
    INSERT INTO events (time, type, session_id, command_id)
    VALUES (NEW.queued_at, 'command_queued', NEW.session_id, NEW.session_id || '-' || NEW.number);
    INSERT INTO events (time, type, session_id, command_id)
    SELECT NEW.started_at, 'command_started', NEW.session_id, NEW.session_id || '-' || NEW.number
    WHERE NEW.state = 'running';
END;
CREATE TRIGGER IF NOT EXISTS command_started AFTER UPDATE OF state ON commands WHEN NEW.state = 'running' BEGIN
    INSERT INTO events (time, type, session_id, command_id)
    VALUES (NEW.started_at, 'command_started', NEW.session_id, NEW.session_id || '-' || NEW.number);
END;
CREATE TRIGGER IF NOT EXISTS command_finished AFTER UPDATE OF state ON commands WHEN NEW.state = 'finished' BEGIN
    INSERT INTO events (time, type, session_id, command_id)
    VALUES (NEW.finished_at, 'command_finished', NEW.session_id, NEW.session_id || '-' || NEW.number);
END;
"""


def connect(path: Path) -> sqlite3.Connection:
    """Open a catalog, and make its tables where there are none. `Broken` if it can't be read."""
    try:
        db = prepare(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False), path)
    except sqlite3.DatabaseError as error:
        raise Broken(
            f"the catalog {path} can't be opened: {error}; is it a sessions root, and is there space?"
        ) from error
    return db


def prepare(db: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    """`path` is where its content is from. Closes it if it can't be used."""
    try:
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        if version > FORMAT:
            raise Broken(f"{path} has format {version}; this version of sessions reads up to {FORMAT}: update it")
        if version < FORMAT:
            # Another engine may be doing the same: each statement is one that can be repeated. Format 1 had no spaces.
            db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;")
    except BaseException:
        db.close()
        raise
    return db


def copy_to_memory(path: Path) -> sqlite3.Connection:
    """A catalog as it is now, for who only looks, where `connect` fails for want of space. Nothing is locked when this returns.

    - Who opens a catalog first makes a file of 32 KiB that all share; a full disk has no room for it. Who holds the whole
      catalog needs none. It can be held only while nobody else has it open, so no engine loses anything by it; one that is
      opened in these milliseconds waits.
    - Where no file at all can be made, a catalog without a write-ahead log is whole, and can be read as it is.
    """
    memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    ways = [("", ""), ("", "PRAGMA locking_mode = EXCLUSIVE")]
    if not os.path.exists(f"{path}-wal"):
        ways.append(("?immutable=1", ""))
    problem: sqlite3.DatabaseError | None = None
    for how, first in ways:
        try:
            source = sqlite3.connect(f"file:{quote(os.fspath(path))}{how}", timeout=BUSY_SECONDS, uri=True)
            with contextlib.closing(source):
                source.execute(first)
                # Raises where it may not; the copying alone would wait for ever.
                source.execute("SELECT count(*) FROM sqlite_master")
                source.backup(memory)
            return prepare(memory, path)
        except sqlite3.DatabaseError as error:
            problem = problem or error
    memory.close()
    raise Broken(f"the catalog {path} can't be read: {problem}; is there space on its disk?") from problem
