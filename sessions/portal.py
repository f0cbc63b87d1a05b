"""A thread that runs trio, and the way into it for threads that don't.

Each call is a task in the portal's thread. Its caller waits on a queue, the call's inbox, until the last message in it: the `End`.
Before that may come items, to be used in the caller's thread while the task goes on; a task that is too far ahead of its
caller waits. A caller that is interrupted (Ctrl-C) cancels its task and waits for it to end, so that what a cancelled verb
does is done: a command that was run is killed. A second interrupt leaves that to the portal's thread.

Each call is answered, whatever happens: what the task could not answer, the thread answers as its last act.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, ExitStack
from queue import SimpleQueue
from typing import Any, Final, Generic, ParamSpec, TypeVar

import attrs
import trio

from .errors import Broken, Closed, SessionsError

T = TypeVar("T")
Host = TypeVar("Host")
P = ParamSpec("P")

AHEAD_BYTES: Final = 1 << 20
"""How far a task may be ahead of its caller."""
ITEM_BYTES: Final = 256
"""What an item costs beside the bytes in it, roughly."""
LAST_WORDS_SECONDS: Final = 1.0
"""What calls of other threads get to answer by themselves when all sessions are closed."""
EXIT_SECONDS: Final = 30.0
"""How long the end of the program waits for an engine that nobody closed. The engine's keeper ends all processes in any case."""


@attrs.define(eq=False)
class Item:
    """Something for the caller before the end."""

    call: Call[Any]
    value: Any
    size_bytes: int


@attrs.define(eq=False)
class End:
    """A call's answer."""

    call: Call[Any]
    value: Any
    error: BaseException | None


class Call(Generic[T]):
    """One task in a portal, as the thread that asked for it sees it."""

    def __init__(
        self,
        portal: Portal,
        work: Callable[[Call[T]], Awaitable[T]] | None = None,
        *,
        inbox: SimpleQueue[Item | End] | None = None,
        endless: bool = False,
    ) -> None:
        self.portal = portal
        self.work = work
        """The task; set before it is started."""
        self.endless = endless
        """Whether it has no end of its own, even when all sessions are closed."""
        self.inbox: SimpleQueue[Item | End] = inbox if inbox is not None else SimpleQueue()
        self.opened: SimpleQueue[BaseException | None] = SimpleQueue()
        """Gets one message when the task says that it is under way, and one when it ends."""
        self.begun = False
        self.ended = False
        self.scope = trio.CancelScope()
        self._ahead_bytes = 0
        self._room = trio.Event()
        self._used_bytes = 0

    # In the portal's thread

    async def tell(self, value: object, size_bytes: int) -> None:
        """Hand something to the caller's thread; waits while that is far behind."""
        size_bytes += ITEM_BYTES
        self._ahead_bytes += size_bytes
        self.inbox.put(Item(self, value, size_bytes))
        while self._ahead_bytes > AHEAD_BYTES:
            self._room = trio.Event()
            await self._room.wait()

    def _caught_up(self, size_bytes: int) -> None:
        self._ahead_bytes -= size_bytes
        self._room.set()

    def end(self, value: Any, error: BaseException | None) -> None:
        self.ended = True
        self.inbox.put(End(self, value, error))
        self.opened.put(error)

    def abandon(self) -> None:
        """Cancel the task. It has an answer then, also if the interrupt came before it began or after its end."""
        if self.begun and not self.ended:
            self.scope.cancel()
        else:
            self.begun = True
            self.end(None, None)

    # In the caller's thread

    def use(self, item: Item) -> Any:
        """The value of an item that was read from the inbox."""
        self._used_bytes += item.size_bytes
        if self._used_bytes > AHEAD_BYTES // 2:
            used, self._used_bytes = self._used_bytes, 0
            self.portal.post(self._caught_up, used)
        return item.value

    def result(self) -> T:
        """Start it, call the functions that it hands over, and return what the task returns."""
        try:
            self.portal.start(self)
            while isinstance(message := self.inbox.get(), Item):
                self.use(message)()
        except BaseException:
            self.stop()
            raise
        if message.error is not None:
            raise message.error
        value: T = message.value
        return value

    def cancel(self) -> None:
        """Cancel the task, and don't wait for its end. From any thread."""
        if not self.portal.post(self.abandon):
            self.end(None, None)

    def stop(self) -> None:
        """Cancel the task and wait for its end."""
        self.cancel()
        while isinstance(self.inbox.get(), Item):
            pass


class Portal:
    """The thread. It is there as long as its host: an engine or a client, which lives in it."""

    def __init__(self, what: str) -> None:
        self.what = what
        """How errors name the host: "the engine"."""
        self._token: trio.lowlevel.TrioToken | None = None
        self._whole = trio.CancelScope()
        self._given_up = False
        self._asked_to_close = trio.Event()
        self._closing = False
        self._calls: set[Call[Any]] = set()
        self._over = False
        self._forked = False
        self._failure: BaseException | None = None

    # In callers' threads

    def open(
        self, manager: AbstractAsyncContextManager[Host], settle: Callable[[Host], Awaitable[object]] | None = None
    ) -> Host:
        """Start the thread and enter `manager` in it; its host.

        `settle` is called first when the portal is closed, and gives waiting calls what they wait for; else they are cancelled.
        """
        opened: SimpleQueue[tuple[Host] | None] = SimpleQueue()
        self._thread = threading.Thread(
            target=self._run, args=(manager, settle, opened), name=f"sessions: {self.what}", daemon=True
        )
        try:
            self._thread.start()
            answer = opened.get()
        except BaseException:
            self._given_up = True
            self.post(self._whole.cancel)
            raise
        if answer is None:
            assert self._failure is not None
            raise self._failure
        return answer[0]

    def post(self, function: Callable[..., object], *args: Any) -> bool:
        """Have `function` called in the portal's thread, soon. False if the thread is over."""
        if self._token is None or self._over:
            return False
        try:
            self._token.run_sync_soon(function, *args)
        except trio.RunFinishedError:
            return False
        return True

    def start(self, call: Call[Any]) -> None:
        """Have the call made. If it can't be, that is its answer."""
        if threading.current_thread() is self._thread:  # a finalizer that the garbage collector calls here
            call.end(None, RuntimeError(f"blocking calls can't be made in the thread of {self.what}"))
            return
        self._calls.add(call)
        # First in the set, then a look whether the thread is over: the thread says so first, then looks into the set.
        if not self.post(self._begin, call) or self._over:
            call.end(None, self._refusal())

    def call(self, verb: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Await ``verb(...)`` in the portal's thread; what it returns or raises."""
        return Call(self, lambda _: verb(*args, **kwargs)).result()

    def close(self, timeout: float | None = None) -> None:
        """End the host and the thread. Harmless if that has happened already."""
        if self._forked:
            return
        self.post(self._asked_to_close.set)
        try:
            self._thread.join(timeout)
        except BaseException:
            portals.discard(self)  # who didn't want to wait now does not want to at the end of the program
            raise
        failure, self._failure = self._failure, None
        if failure is not None:
            raise Broken(f"{self.what} has failed: {failure!r}") from failure

    def _refusal(self) -> SessionsError:
        """Why it takes no calls."""
        if self._forked:
            return Broken(f"{self.what} belongs to the process that this one was forked from: open another one")
        if self._failure is None:
            return Closed(f"{self.what} is closed: open another one")
        error = Broken(f"{self.what} has failed: {self._failure!r}; open another one")
        error.__cause__ = self._failure
        return error

    def disown(self) -> None:
        """In the child after a fork, which has no such thread."""
        self._forked = self._over = True

    # In the thread

    def _run(
        self,
        manager: AbstractAsyncContextManager[Host],
        settle: Callable[[Host], Awaitable[object]] | None,
        opened: SimpleQueue[tuple[Host] | None],
    ) -> None:
        portals.add(self)
        try:
            trio.run(self._main, manager, settle, opened)
        except BaseException as error:
            self._failure = error
        self._over = True
        portals.discard(self)
        opened.put(None)
        for call in list(self._calls):
            call.end(None, self._refusal())

    async def _main(
        self,
        manager: AbstractAsyncContextManager[Host],
        settle: Callable[[Host], Awaitable[object]] | None,
        opened: SimpleQueue[tuple[Host] | None],
    ) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with self._whole:
            if self._given_up:
                return
            async with manager as host, trio.open_nursery() as self._nursery:
                try:
                    opened.put((host,))
                    await self._asked_to_close.wait()
                finally:
                    self._closing = True
                if settle is None:
                    self._nursery.cancel_scope.cancel()
                    return
                await settle(host)
                for call in list(self._calls):
                    if call.endless:
                        call.scope.cancel()
                self._nursery.cancel_scope.deadline = trio.current_time() + LAST_WORDS_SECONDS

    def _begin(self, call: Call[Any]) -> None:
        if call.begun or self._closing:
            return
        call.begun = True
        self._nursery.start_soon(self._serve, call)

    async def _serve(self, call: Call[Any]) -> None:
        value, error = None, None
        try:
            with call.scope:
                assert call.work is not None
                value = await call.work(call)
            if self._closing and call.scope.cancelled_caught:
                return  # the thread answers
        except BaseException as failure:
            if is_cancellation(failure):
                raise  # likewise
            error = failure
        self._calls.discard(call)
        call.end(value, error)


def is_cancellation(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(trio.Cancelled) is not None
    return isinstance(error, trio.Cancelled)


portals: set[Portal] = set()
"""Those whose thread runs."""


@atexit.register
def close_forgotten() -> None:
    """At the end of a program: close what it has not closed."""
    with ExitStack() as stack:
        for portal in list(portals):
            stack.callback(portal.close, EXIT_SECONDS)


def disown_all() -> None:
    for portal in portals:
        portal.disown()
    portals.clear()


os.register_at_fork(after_in_child=disown_all)
