"""What is asked of a table, as SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

LABEL: Final = "(SELECT value = ? FROM json_each(labels) WHERE key = ?)"
"""Whether a row has this value as its label of this key; NULL if it has none of the key."""


def conditions(
    equal: Mapping[str, object], labels: Mapping[str, str] | None, has_label: str = LABEL
) -> tuple[str, list[Any]]:
    """A WHERE clause and its values; None means "any". `has_label` is the SQL for one label, made of `LABEL`."""
    clauses = [f"{column} = ?" for column, value in equal.items() if value is not None]
    values: list[Any] = [value for value in equal.values() if value is not None]
    for key, value in (labels or {}).items():
        clauses.append(has_label)
        values += [value, key] * has_label.count(LABEL)
    return (" WHERE " + " AND ".join(clauses) if clauses else ""), values
