"""Commands and their results for blocking programs. Their names are those in `sessions.blocking`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Self

import attrs
import trio

from . import models
from .arguments import check_seconds
from .command import Command as AsyncCommand
from .errors import TimedOut
from .facade import Facade, verb, verb_on
from .facts import CommandFacts
from .iterating import Callback, Stream, check_plain_callback, relay
from .models import CommandInfo, Record
from .portal import Call, Portal
from .terminal import Terminal as AsyncTerminal


class Command(Facade, CommandFacts):
    """A `sessions.Command` for blocking programs. Its facts are read without waiting."""

    @property
    def info(self) -> CommandInfo:
        """All its facts at this moment."""
        info: CommandInfo = self._inner.info
        return info

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until it is finished, and return it.

        `timeout` takes the place of the cancel scope that an async program would put around it: `TimedOut` after so many
        seconds. The command goes on.
        """
        seconds = check_seconds("timeout", timeout)

        async def wait() -> bool:
            with trio.move_on_after(float("inf") if seconds is None else seconds) as scope:
                await self._inner.wait()
            return scope.cancelled_caught

        if self._portal.call(wait):
            raise TimedOut(f"command {self.id} is not finished after {timeout} s; it goes on: kill() it or wait longer")
        return self

    def follow(
        self,
        *,
        after: int | None = None,
        stream: str | None = None,
        late: bool = False,
        on_stdout: Callback | None = None,
        on_stderr: Callback | None = None,
    ) -> Stream[Record]:
        """`sessions.Command.follow`, blocking: iterate over it. The callbacks are called in the thread that iterates."""
        return records(
            self._portal, partial(self._inner.follow, after=after, stream=stream, late=late), on_stdout, on_stderr
        )

    refresh = verb_on(AsyncCommand.refresh)
    wait_for = verb(AsyncCommand.wait_for)
    logs = verb(AsyncCommand.logs)
    excerpt = verb(AsyncCommand.excerpt)
    send_input = verb(AsyncCommand.send_input)
    close_input = verb(AsyncCommand.close_input)
    interrupt = verb(AsyncCommand.interrupt)
    send_signal = verb(AsyncCommand.send_signal)
    kill = verb_on(AsyncCommand.kill)


class Terminal(Command):
    """A `sessions.Terminal` for blocking programs."""

    resize = verb(AsyncTerminal.resize)
    redraw_after = verb(AsyncTerminal.redraw_after)


def commands(portal: Portal, inner: Iterable[AsyncCommand]) -> list[Command]:
    return [Command(portal, command) for command in inner]


def records(
    portal: Portal, follow: Callable[..., Any], on_stdout: Callback | None, on_stderr: Callback | None
) -> Stream[Record]:
    check_plain_callback("on_stdout", on_stdout)
    check_plain_callback("on_stderr", on_stderr)

    def opener(call: Call[None]) -> Any:
        return follow(on_stdout=relay(on_stdout, call), on_stderr=relay(on_stderr, call))

    return Stream([(portal, opener)], lambda record: record)


@attrs.frozen(slots=False, kw_only=True)
class Result(models.Result):
    """A `sessions.Result` whose command is one for blocking programs."""

    command: Command  # type: ignore[assignment]  # the same verbs, blocking


def result(portal: Portal, inner: models.Result) -> Result:
    return Result(
        command=Command(portal, inner.command),
        logs=inner.logs,
        restarted=inner.restarted,
        shell_ended=inner.shell_ended,
    )
