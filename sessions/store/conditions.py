"""What is asked of a table, as SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def conditions(
    equal: Mapping[str, object], labels: Mapping[str, str] | None, labels_of: str = "labels"
) -> tuple[str, list[Any]]:
    """A WHERE clause and its values; None means "any". `labels_of` is the SQL for a row's labels."""
    clauses = [f"{column} = ?" for column, value in equal.items() if value is not None]
    values: list[Any] = [value for value in equal.values() if value is not None]
    for key, value in (labels or {}).items():
        clauses.append(
            f"EXISTS (SELECT 1 FROM json_each({labels_of}) AS label WHERE label.key = ? AND label.value = ?)"
        )
        values += [key, value]
    return (" WHERE " + " AND ".join(clauses) if clauses else ""), values
