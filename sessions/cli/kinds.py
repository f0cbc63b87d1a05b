"""Kinds of arguments: how click reads spans of time, moments, sizes and pairs, and completes names."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from ..errors import Invalid
from .choosing import parse_pairs
from .place import Place
from .times import parse_moment, parse_size, parse_span

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

T = TypeVar("T")


def reading(parse: Callable[[str], T]) -> Callable[[click.Context, click.Parameter, str | None], T | None]:
    """As an option's ``callback=``: its text as what it stands for."""

    def read(context: click.Context, option: click.Parameter, text: str | None) -> T | None:
        try:
            return None if text is None else parse(text)
        except Invalid as error:
            raise click.BadParameter(str(error), context, option) from None

    return read


span = reading(parse_span)
"""Seconds."""
moment = reading(lambda text: parse_moment(text, time.time()))
"""Unix seconds."""
size = reading(parse_size)
"""Bytes."""


def pairs(context: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """For options of ``KEY=VALUE`` that can be repeated."""
    try:
        return parse_pairs(texts)
    except Invalid as error:
        raise click.BadParameter(str(error), context, option) from None


def sessions_here(context: click.Context, argument: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """As ``shell_complete=``: names and ids of sessions."""
    from .completing import complete_sessions

    return complete_sessions(place_of(context), incomplete)


def commands_here(context: click.Context, argument: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """As ``shell_complete=``: ids of commands, and sessions, which stand for their last one."""
    from .completing import complete_commands

    return complete_commands(place_of(context), incomplete)


def files_here(context: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """As ``shell_complete=``: the shell knows files best."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def directories_here(context: click.Context, option: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """As ``shell_complete=``, of which the shell takes care."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="dir")]


def signals_here(context: click.Context, argument: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """As ``shell_complete=``: names of signals, with ``SIG`` in front if one began so."""
    from signal import Signals

    from click.shell_completion import CompletionItem

    begin = incomplete.upper()
    names = [one.name if begin.startswith("SIG") else one.name.removeprefix("SIG") for one in Signals]
    return [CompletionItem(name) for name in names if name.startswith(begin)]


def place_of(context: click.Context) -> Place:
    return context.obj if isinstance(context.obj, Place) else Place()
