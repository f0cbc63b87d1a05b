"""The spaces of a root: homes for sessions, as doors know them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping

from ..errors import Conflict
from ..models import SpaceInfo
from .conditions import conditions


class SpaceTable:
    """Spaces in the catalog. Each method is one transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, info: SpaceInfo) -> None:
        """`Conflict` if a space of this door has this name."""
        try:
            self._db.execute(
                "INSERT INTO spaces VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    info.id, info.name, info.door, info.home, json.dumps(dict(info.env)), json.dumps(dict(info.labels)),
                    json.dumps(dict(info.facts)), info.state, info.created_at, info.changed_at, info.stop_after,
                    info.delete_after, info.last_process,
                ),
            )  # fmt: skip
        except sqlite3.IntegrityError:
            raise Conflict(f"a space is called {info.name!r} already: choose another name") from None

    def update(self, info: SpaceInfo) -> None:
        """Store all that may change."""
        self._db.execute(
            "UPDATE spaces SET env = ?, labels = ?, facts = ?, state = ?, changed_at = ?, stop_after = ?, delete_after = ?"
            " WHERE id = ?",
            (
                json.dumps(dict(info.env)), json.dumps(dict(info.labels)), json.dumps(dict(info.facts)), info.state,
                info.changed_at, info.stop_after, info.delete_after, info.id,
            ),
        )  # fmt: skip

    def next_process(self, space_id: str) -> int:
        """A process number that was never given out in this space before."""
        row = self._db.execute(
            "UPDATE spaces SET last_process = last_process + 1 WHERE id = ? RETURNING last_process", (space_id,)
        ).fetchone()
        return int(row[0])

    def find(self, door: str, name_or_id: str) -> SpaceInfo | None:
        """The one with this id, else the one of this name, if it is not destroyed."""
        row = self._db.execute(
            "SELECT * FROM spaces WHERE door = ?1 AND (id = ?2 OR name = ?2) AND state != 'destroyed'"
            " ORDER BY (id = ?2) DESC LIMIT 1",
            (door, name_or_id),
        ).fetchone()
        return space_of(row) if row else None

    def is_destroyed(self, space_id: str) -> bool:
        """False if there never was one of this id, too."""
        query = "SELECT 1 FROM spaces WHERE id = ? AND state = 'destroyed'"
        return self._db.execute(query, (space_id,)).fetchone() is not None

    def list(self, door: str | None = None, labels: Mapping[str, str] | None = None) -> list[SpaceInfo]:
        """Those that are not destroyed, oldest first."""
        where, values = conditions({"door": door}, labels)
        where += (" AND" if where else " WHERE") + " state != 'destroyed'"
        return [
            space_of(row) for row in self._db.execute(f"SELECT * FROM spaces{where} ORDER BY created_at, id", values)
        ]


def space_of(row: sqlite3.Row) -> SpaceInfo:
    return SpaceInfo(
        id=row["id"], name=row["name"], door=row["door"], home=row["home"], env=json.loads(row["env"]),
        labels=json.loads(row["labels"]), facts=json.loads(row["facts"]), state=row["state"], created_at=row["created_at"],
        changed_at=row["changed_at"], stop_after=row["stop_after"], delete_after=row["delete_after"],
        last_process=row["last_process"],
    )  # fmt: skip
