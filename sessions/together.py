"""Following many commands at once, whoever runs them: this program's engines, or servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, overload

from .arguments import check_positions
from .command import Command
from .errors import Invalid
from .models import Record
from .streams import MergedStream

if TYPE_CHECKING:
    from .client.command import RemoteCommand

C = TypeVar("C", covariant=True)


class Together(AbstractAsyncContextManager[Any], Protocol[C]):
    """Pairs of command and record: open it with ``async with``, then iterate."""

    async def __aenter__(self) -> Self: ...

    def __aiter__(self) -> AsyncIterator[tuple[C, Record]]: ...

    async def __anext__(self) -> tuple[C, Record]: ...


@overload
def follow_all(
    commands: Iterable[Command], *, after: Mapping[str, int] | None = ..., stream: str | None = ..., late: bool = ...
) -> Together[Command]: ...


@overload
def follow_all(
    commands: Iterable[RemoteCommand],
    *,
    after: Mapping[str, int] | None = ...,
    stream: str | None = ...,
    late: bool = ...,
) -> Together[RemoteCommand]: ...


def follow_all(
    commands: Iterable[Any],
    *,
    after: Mapping[str, int] | None = None,
    stream: str | None = None,
    late: bool = False,
) -> Together[Any]:
    """Follow many commands at once, each from its first byte to its end.

    A command's own records come in their order; no slow or silent command holds another up. Ends when all have ended. The
    commands are an engine's, or a client's, not both. `after` says for session ids behind which record to begin, to go on
    where an earlier reading ended. `stream` is ``"stdout"`` or ``"stderr"`` to see only that; `late` also waits for what
    processes that a command left behind still write.

    ::

        async with sessions.follow_all([build, tests]) as records:
            async for command, record in records:
                print(command.id, record.data)
    """
    try:
        chosen = list(commands)
    except TypeError:
        raise Invalid(f"follow_all takes many commands, in a list for example, not {type(commands).__name__}") from None
    positions = check_positions(after)
    if all(isinstance(command, Command) for command in chosen):
        return MergedStream(chosen, positions, stream, late)
    from .client.command import RemoteCommand
    from .client.merging import RemoteMergedStream

    if all(isinstance(command, RemoteCommand) for command in chosen):
        return RemoteMergedStream(chosen, positions, stream, late)
    raise Invalid("follow_all takes commands of engines or commands of clients, and not both: follow them one by one")
