"""Spans of time, moments and sizes, as people write and read them. Plain; no I/O."""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Final

from ..errors import Invalid

SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
BYTES: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}

SPAN: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+", re.ASCII)
PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])", re.ASCII)
NUMBER: Final = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)([kmgt]?)(?:i?b)?", re.ASCII | re.IGNORECASE)


def parse_span(text: str) -> float:
    """Seconds from ``90``, ``10m``, ``1h30m``, ``7d``; `Invalid` for anything else.

    >>> parse_span("1h30m")
    5400.0
    """
    if NUMBER.fullmatch(text):
        return float(text)
    if not SPAN.fullmatch(text):
        raise Invalid(f"{text!r} is no span of time: write 90, 500ms, 10m, 1h30m, 7d or 2w")
    return math.fsum(float(number) * SECONDS[unit] for number, unit in PART.findall(text))


def parse_moment(text: str, now: float) -> float:
    """Unix seconds from a span (so long before `now`), from ``@1700000000`` or from ISO 8601; local time if it names no zone."""
    if text.startswith("@") and NUMBER.fullmatch(text[1:]):
        return float(text[1:])
    if NUMBER.fullmatch(text) or SPAN.fullmatch(text):
        return now - parse_span(text)
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise Invalid(
            f"{text!r} is no moment: write how long ago (10m, 2h), 2026-01-31T14:00, or Unix seconds as @1700000000"
        ) from None


def parse_size(text: str) -> int:
    """Bytes from ``500``, ``64K``, ``10G``; the units are powers of 1024.

    >>> parse_size("10G")
    10737418240
    """
    match = SIZE.fullmatch(text.strip())
    if not match:
        raise Invalid(f"{text!r} is no size: write bytes, or a number with K, M, G or T")
    return int(float(match[1]) * 1024 ** BYTES[match[2].lower()])


def format_span(seconds: float) -> str:
    """Two figures or so, for a narrow column.

    >>> [format_span(seconds) for seconds in (0.0042, 3.14159, 75, 3725, 200000)]
    ['4ms', '3.1s', '1m15s', '1h02m', '2d07h']
    """
    if seconds < 0:
        return "0ms"  # a clock was set back
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = int(seconds + 0.5)
    for least, large, small, unit in ((86400, 86400, 3600, "dh"), (3600, 3600, 60, "hm"), (60, 60, 1, "ms")):
        if whole >= least:
            return f"{whole // large}{unit[0]}{whole % large // small:02}{unit[1]}"
    return f"{whole}s"


def format_size(size_bytes: float) -> str:
    """
    >>> [format_size(size) for size in (0, 999, 1024, 1536, 10 << 20, 3 << 40)]
    ['0', '999', '1.0K', '1.5K', '10M', '3.0T']
    """
    if size_bytes < 1000:
        return f"{size_bytes:.0f}"
    value, units = size_bytes / 1024, "KMGTP"
    while value >= 1000 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.1f}{units[0]}" if value < 9.95 else f"{value:.0f}{units[0]}"
