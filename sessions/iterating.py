"""Iterating, in a thread without an event loop, over what async streams yield."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from inspect import iscoroutine, iscoroutinefunction
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, Self, TypeAlias, TypeVar

import attrs

from .arguments import check_callback
from .errors import Closed, Invalid
from .portal import Call, End, Item, Portal

T = TypeVar("T")
S = TypeVar("S")

Callback: TypeAlias = Callable[[str], object]
Opener: TypeAlias = Callable[[Call[None]], AbstractAsyncContextManager[AsyncIterator[S]]]


@attrs.frozen
class Saying:
    """Text for a caller's function, to be called in the caller's thread."""

    callback: Callback
    text: str

    def __call__(self) -> None:
        answer = self.callback(self.text)
        if iscoroutine(answer):
            answer.close()
            raise Invalid(f"callback {self.callback!r} is async: pass a plain function to blocking calls")


def relay(callback: Callback | None, call: Call[Any]) -> Callable[[str], Awaitable[None]] | None:
    """What an async verb is to call, so that `callback` is called in the caller's thread."""
    if callback is None:
        return None

    async def tell(text: str) -> None:
        await call.tell(Saying(callback, text), len(text))

    return tell


def check_plain_callback(name: str, callback: Callback | None) -> None:
    check_callback(name, callback)
    if iscoroutinefunction(callback):
        raise Invalid(f"{name}={callback!r} is async: pass a plain function to blocking calls")


class Stream(Generic[T]):
    """What `follow`, `follow_all` and `watch` return: iterate over it, in one thread at a time.

    As a context manager it is closed at the end of the block; else when it has ended or nobody refers to it any more. Closing
    it ends the reading, and nothing else.
    """

    def __init__(
        self, sources: Iterable[tuple[Portal, Opener[S]]], turn: Callable[[S], T], *, endless: bool = False
    ) -> None:
        self._inbox: SimpleQueue[Item | End] = SimpleQueue()
        self._turn = turn
        self._opened = False
        self._closed = False
        self._running: set[Call[None]] = set()
        for portal, opener in sources:
            call: Call[None] = Call(portal, inbox=self._inbox, endless=endless)
            call.work = reader(opener(call))
            self._running.add(call)

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._opened:
            for call in self._running:
                call.cancel()

    def __iter__(self) -> Self:
        self._open()
        return self

    def __next__(self) -> T:
        self._open()
        while self._running and not self._closed:
            message = self._inbox.get()
            if isinstance(message, End):
                self._running.discard(message.call)
                if message.error is not None:
                    self._closed = True
                    self.close()
                    raise message.error
                continue
            value = message.call.use(message)
            if not isinstance(value, Saying):
                return self._turn(value)
            value()
        if self._closed:
            raise Closed("this stream was closed before its end: open another one, with after= to go on where it was")
        raise StopIteration

    def _open(self) -> None:
        if self._opened or self._closed:
            return
        self._opened = True
        try:
            for call in self._running:
                call.portal.start(call)
            for call in self._running:
                error = call.opened.get()
                if error is not None:
                    raise error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the reading. Harmless if that has happened already."""
        if self._opened and not self._closed and not self._running:
            return  # it has ended by itself
        self._closed = True
        if self._opened:
            for call in self._running:
                call.cancel()
            while self._running:
                message = self._inbox.get()
                if isinstance(message, End):
                    self._running.discard(message.call)


def reader(stream: AbstractAsyncContextManager[AsyncIterator[Any]]) -> Callable[[Call[None]], Awaitable[None]]:
    async def read(call: Call[None]) -> None:
        async with stream as items:
            call.opened.put(None)
            async for item in items:
                await call.tell(item, size_of(item))

    return read


def size_of(item: object) -> int:
    """The bytes in a record, or in a pair with one."""
    record = item[1] if isinstance(item, tuple) else item
    return len(getattr(record, "data", b""))
