"""What a benchmark hands back, and the table that shows it.

A `Row` is one figure of ours, a peer's where there is one, and at most one requirement. The requirement is judged on
the ratio where the peer gives the scale (a slow machine slows both), on our figure alone where the user feels it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

import attrs

Unit: TypeAlias = Literal["s", "B", "B/s", "%", "count"]
Verdict: TypeAlias = Literal["ok", "MISSED", "NO PEER", "FAILED", ""]

HEADINGS = ("what", "ours", "peer", "ratio", "must reach", "")


@attrs.frozen(kw_only=True)
class Row:
    """One line of the table. Without a requirement it is there for comparison only."""

    what: str
    ours: float = math.nan
    unit: Unit = "s"
    peer: float | None = None
    peer_name: str = ""
    problem: str = ""
    """Why there is no figure: the peer is not installed, or the benchmark raised."""
    ratio_at_most: float | None = None
    """ours / peer."""
    faster_at_least: float | None = None
    """peer / ours, for times that are far apart."""
    at_most: float | None = None
    """ours, in its unit."""
    at_least: float | None = None

    @property
    def verdict(self) -> Verdict:
        if math.isnan(self.ours):
            return "FAILED"
        if self.problem:
            return "NO PEER"
        tests = []
        if self.ratio_at_most is not None:
            tests.append(self.ratio <= self.ratio_at_most)
        if self.faster_at_least is not None:
            tests.append(self.ratio * self.faster_at_least <= 1)
        if self.at_most is not None:
            tests.append(self.ours <= self.at_most)
        if self.at_least is not None:
            tests.append(self.ours >= self.at_least)
        if not tests:
            return ""
        return "ok" if all(tests) else "MISSED"

    @property
    def ratio(self) -> float:
        return self.ours / self.peer if self.peer else math.nan

    @property
    def requirement(self) -> str:
        if self.ratio_at_most is not None:
            return f"<= {self.ratio_at_most:g} x"
        if self.faster_at_least is not None:
            return f">= {self.faster_at_least:g} x faster"
        if self.at_most is not None:
            return f"<= {amount(self.at_most, self.unit)}"
        if self.at_least is not None:
            return f">= {amount(self.at_least, self.unit)}"
        return ""

    def cells(self) -> tuple[str, ...]:
        peer = f"{amount(self.peer, self.unit)} {self.peer_name}" if self.peer is not None else ""
        if self.problem:
            peer = f"{self.peer_name} IS MISSING, see below" if self.peer_name else "see below"
        ratio = ""
        if not math.isnan(self.ratio):
            as_speedup = self.unit == "s" and self.ratio < 0.1
            ratio = f"{1 / self.ratio:.0f} x faster" if as_speedup and self.ratio > 0 else f"{self.ratio:.2f} x"
        return (self.what, amount(self.ours, self.unit), peer, ratio, self.requirement, self.verdict)


def amount(value: float, unit: Unit) -> str:
    """A figure with a unit in which it is easy to read: ``0.00092, "s"`` is ``920 us``."""
    if math.isnan(value):
        return "-"
    if unit == "s":
        if value < 0.001:
            return f"{value * 1e6:.0f} us"
        return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.2f} s"
    if unit == "B":
        return f"{value / 1e6:.3g} MB"
    if unit == "B/s":
        return f"{value / 1e6:.0f} MB/s"
    if unit == "%":
        return f"{value:.2f} %"
    return f"{value:.0f}"


def table(rows: Sequence[Row]) -> str:
    """All rows in columns, for a terminal."""
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    text.insert(1, "  ".join("-" * width for width in widths).rstrip())
    return "\n".join(text)


def failures(rows: Iterable[Row]) -> list[Row]:
    """The rows for which a run does not count as passed."""
    return [row for row in rows if row.verdict in ("MISSED", "NO PEER", "FAILED")]
