"""Which part of a log is asked for. Plain; the same for an engine's log and for a server's."""

from __future__ import annotations

import math

import attrs

from .arguments import check_count, check_stream, to_number
from .errors import Invalid


def check_time(name: str, value: float | None) -> None:
    if value is not None and not math.isfinite(to_number(value)):
        raise Invalid(f"{name}={value!r}: pass Unix seconds")


@attrs.frozen(kw_only=True)
class Selection:
    """Which part of a log is asked for; the arguments of `Command.logs`. `Invalid` if they are wrong."""

    tail: int | None = None
    since: float | None = None
    until: float | None = None
    after: int | None = None
    stream: str | None = None
    start: int | None = None
    stop: int | None = None

    def __attrs_post_init__(self) -> None:
        check_stream(self.stream)
        check_count("tail", self.tail)
        check_count("start", self.start)
        check_count("stop", self.stop)
        check_count("after", self.after, -1)
        check_time("since", self.since)
        check_time("until", self.until)
        if self.tail is not None and (self.start is not None or self.stop is not None):
            raise Invalid(
                "tail counts from the end, start and stop from the beginning: leave out tail, or start and stop"
            )
