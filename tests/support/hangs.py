"""A test that hangs is one failure, which shows where every task of trio stood; the tests after it go on.

pytest-timeout raises out of `trio.run`, whose generator then lives on in the traceback, and with it the thread's run context: each later
test would fail because it calls run() "from inside a run()". So the run is abandoned here: its generator is closed, which gives
the context back. Its tasks are kept until the end of the program, since to end they would need their run.
"""

from __future__ import annotations

import gc
import inspect
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Generator
from types import FrameType
from typing import Any, Final

import pytest_timeout
import trio

ABANDONED: Final[list[object]] = []
"""What must not be collected."""


class Hung(BaseException):
    """The time of a test is over. No failure of one example, which hypothesis would try again, without a limit."""


def living_tasks() -> list[trio.lowlevel.Task]:
    """Of all threads, parents first."""
    found = [one for one in gc.get_objects() if isinstance(one, trio.lowlevel.Task)]
    waiting = [task for task in found if task.parent_nursery is None]
    ordered = []
    while waiting:
        task = waiting.pop()
        if inspect.getcoroutinestate(task.coro) != inspect.CORO_CLOSED:
            ordered.append(task)
            waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return ordered


def describe(task: trio.lowlevel.Task) -> str:
    """Its name and its stack, as far as that is not trio's own."""
    frames = [(frame, line) for frame, line in task.iter_await_frames() if "/trio/" not in frame.f_code.co_filename]
    stack = traceback.StackSummary.extract(iter(frames), lookup_lines=True)
    return f"task {task.name}\n{''.join(stack.format()) or '  (in trio)'}"


def abandon_run(frame: FrameType | None) -> None:
    """Give back the context of the run that waits for events below `frame`. One whose task is at work gets the exception itself."""
    while frame is not None and frame.f_code is not trio.run.__code__:
        frame = frame.f_back
    rounds: Generator[Any, Any, None] | None = frame.f_locals.get("gen") if frame is not None else None
    if rounds is not None and not rounds.gi_running:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that weird stuff might happen
            rounds.close()


def on_alarm(limit: float) -> Callable[[int, FrameType | None], None]:
    def give_up(_: int, frame: FrameType | None) -> None:
        __tracebackhide__ = True
        tasks = living_tasks()
        told = "\n".join(describe(task) for task in tasks if task not in ABANDONED)
        ABANDONED.extend(tasks)
        abandon_run(frame)
        raise Hung(f"the test has not ended within {limit} s; the tasks of trio stood at\n{told or '(there are none)'}")

    return give_up


def pytest_timeout_set_timer(settings: Any) -> bool | None:
    """In place of pytest-timeout's own alarm. Again and again, for what is done after the first may hang, too."""
    wanted = settings.method == "signal" and threading.current_thread() is threading.main_thread()
    if not wanted or pytest_timeout.is_debugging():
        return None
    signal.signal(signal.SIGALRM, on_alarm(settings.timeout))
    signal.setitimer(signal.ITIMER_REAL, settings.timeout, settings.timeout)
    return True


def pytest_timeout_cancel_timer() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
