"""An async object in a portal, and its verbs, blocking: made from the async ones, so that neither can drift from the other."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from .portal import Portal

T = TypeVar("T")
R = TypeVar("R")
F = TypeVar("F", bound="Facade")
P = ParamSpec("P")


class Facade:
    """An async object in a portal."""

    def __init__(self, portal: Portal, inner: Any) -> None:
        self._portal = portal
        self._inner = inner


def verb(source: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[Facade, P], T]:
    """The same verb, blocking."""
    return verb_for(source, lambda _, value: value)


def verb_for(
    source: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], turn: Callable[[Portal, R], T]
) -> Callable[Concatenate[Facade, P], T]:
    """The same verb, blocking; `turn` makes its answer one of ours."""
    name = source.__name__

    @wraps(source)
    def blocking(self: Facade, /, *args: P.args, **kwargs: P.kwargs) -> T:
        answer = self._portal.call(getattr(self._inner, name), *args, **kwargs)
        return turn(self._portal, answer)

    return present(blocking, source)


def verb_on(source: Callable[Concatenate[Any, P], Coroutine[Any, Any, object]]) -> Callable[Concatenate[F, P], F]:
    """The same verb, blocking; it returns what it was called on."""
    name = source.__name__

    @wraps(source)
    def blocking(self: F, /, *args: P.args, **kwargs: P.kwargs) -> F:
        self._portal.call(getattr(self._inner, name), *args, **kwargs)
        return self

    return present(blocking, source)


def present(ours: Callable[P, T], source: Callable[..., object]) -> Callable[P, T]:
    """What ``help()`` shows of it."""
    ours.__module__ = __name__
    ours.__doc__ = f"`sessions.{source.__qualname__}`, blocking."
    return ours
