"""What ``on_stdout`` and ``on_stderr`` are: a caller's functions, which get text as it comes."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from .arguments import check_callback
from .models import Record
from .texts import Texts

Callback: TypeAlias = Callable[[str], object] | Callable[[str], Awaitable[object]]


class Callbacks:
    """Hands text to a caller's functions, one per stream; a piece never ends inside a character."""

    def __init__(self, on_stdout: Callback | None, on_stderr: Callback | None) -> None:
        check_callback("on_stdout", on_stdout)
        check_callback("on_stderr", on_stderr)
        self._targets = {"stdout": on_stdout, "stderr": on_stderr}
        self._texts = Texts()

    def __bool__(self) -> bool:
        return any(self._targets.values())

    def begin_after(self, before: Callable[[Record], bytes]) -> None:
        """The first record will not be the first one that there was."""
        self._texts = Texts(before)

    async def feed(self, record: Record) -> None:
        if self._targets.get(record.stream) is not None:
            await self._call(record.stream, self._texts.feed(record))

    async def finish(self) -> None:
        for stream, text in self._texts.end_all():
            await self._call(stream, text)

    async def _call(self, stream: str, text: str) -> None:
        callback = self._targets[stream]
        if text and callback is not None:
            answer = callback(text)
            if inspect.isawaitable(answer):
                await answer
