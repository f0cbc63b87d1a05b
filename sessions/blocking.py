"""The verbs of the engine and of the client without ``async``, for scripts, threads and interactive use.

Each verb is the async one, awaited in a thread that runs trio while the caller waits: see `sessions.Engine`,
`sessions.Session` and `sessions.Command` for what they do and what they raise. Any number of threads may call at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from . import models
from .blocking_commands import Command, Result, Terminal, commands, records, result
from .engine import Engine as AsyncEngine
from .errors import CommandFailed
from .facade import Facade, verb, verb_for, verb_on
from .facts import SessionFacts
from .iterating import Callback, Stream, check_plain_callback, relay
from .models import Event, Limits, Record, SessionInfo
from .opening import open_engine as open_async_engine
from .portal import Call, Portal
from .session import Session as AsyncSession
from .together import follow_all as async_follow_all

__all__ = [
    "Client",
    "Command",
    "Engine",
    "Result",
    "Session",
    "Stream",
    "Terminal",
    "connect",
    "follow_all",
    "open_engine",
]


class Session(Facade, SessionFacts):
    """A `sessions.Session` for blocking programs. Its facts are read without waiting."""

    @property
    def info(self) -> SessionInfo:
        """All its facts at this moment."""
        info: SessionInfo = self._inner.info
        return info

    def run(
        self,
        text: str,
        *,
        timeout: float | None = None,
        idle_timeout: float | None = None,
        check: bool = False,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        stdin: bool | bytes | str = False,
        labels: Mapping[str, str] | None = None,
        on_stdout: Callback | None = None,
        on_stderr: Callback | None = None,
    ) -> Result:
        """`sessions.Session.run`, blocking.

        Ctrl-C, or whatever else a signal handler raises, ends the command; the shell lives on. The callbacks are called in the
        calling thread; what one raises ends the command, too.
        """
        check_plain_callback("on_stdout", on_stdout)
        check_plain_callback("on_stderr", on_stderr)

        async def run(call: Call[models.Result]) -> models.Result:
            answer: models.Result = await self._inner.run(
                text,
                timeout=timeout,
                idle_timeout=idle_timeout,
                check=check,
                env=env,
                cwd=cwd,
                stdin=stdin,
                labels=labels,
                on_stdout=relay(on_stdout, call),
                on_stderr=relay(on_stderr, call),
            )
            return answer

        try:
            return result(self._portal, Call(self._portal, run).result())
        except CommandFailed as failed:
            failed.result = result(self._portal, failed.result)
            raise

    def follow(
        self,
        *,
        after: int | None = None,
        stream: str | None = None,
        on_stdout: Callback | None = None,
        on_stderr: Callback | None = None,
    ) -> Stream[Record]:
        """`sessions.Session.follow`, blocking: iterate over it. The callbacks are called in the thread that iterates."""
        return records(self._portal, partial(self._inner.follow, after=after, stream=stream), on_stdout, on_stderr)

    refresh = verb_on(AsyncSession.refresh)
    run_async = verb_for(AsyncSession.run_async, Command)
    list_commands = verb_for(AsyncSession.list_commands, commands)
    logs = verb(AsyncSession.logs)
    restart = verb(AsyncSession.restart)
    close = verb(AsyncSession.close)


def sessions(portal: Portal, inner: Iterable[AsyncSession]) -> list[Session]:
    return [Session(portal, session) for session in inner]


class Host(Facade):
    """What an engine and a client have in common. Made open; closed by `close`, or at the end of its ``with`` block.

    Close it when no other thread needs it any more: what such a thread waits for then gets `Closed`, unless the closing
    itself gives it an answer. One that is forgotten is closed when the program ends.
    """

    def __repr__(self) -> str:
        return f"<blocking {self._inner!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close it and end its thread. Harmless if that has happened already."""
        self._portal.close()

    create_session = verb_for(AsyncEngine.create_session, Session)

    @contextmanager
    def open_session(
        self,
        name: str | None = None,
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        shell: str = "bash",
        labels: Mapping[str, str] | None = None,
        restart: bool = False,
    ) -> Iterator[Session]:
        """A session that is closed at the end of the ``with`` block. The arguments are those of `create_session`."""
        session = self.create_session(name, cwd=cwd, env=env, shell=shell, labels=labels, restart=restart)
        try:
            yield session
        finally:
            session.close()

    get_session = verb_for(AsyncEngine.get_session, Session)
    list_sessions = verb_for(AsyncEngine.list_sessions, sessions)
    delete_session = verb(AsyncEngine.delete_session)
    create_terminal = verb_for(AsyncEngine.create_terminal, Terminal)
    get_terminal = verb_for(AsyncEngine.get_terminal, Terminal)
    get_command = verb_for(AsyncEngine.get_command, Command)

    def list_commands(
        self,
        *,
        session: str | Session | None = None,
        state: str | None = None,
        labels: Mapping[str, str] | None = None,
        limit: int | None = None,
        before: str | None = None,
    ) -> list[Command]:
        """`sessions.Engine.list_commands`, blocking."""
        chosen = session._inner if isinstance(session, Session) else session
        found = self._portal.call(
            self._inner.list_commands, session=chosen, state=state, labels=labels, limit=limit, before=before
        )
        return commands(self._portal, found)

    def watch(self, after: int | None = None) -> Stream[Event]:
        """`sessions.Engine.watch`, blocking: iterate over it."""
        return Stream([(self._portal, lambda _: self._inner.watch(after))], lambda event: event, endless=True)

    prune = verb(AsyncEngine.prune)


class Engine(Host):
    """A `sessions.Engine` for blocking programs, in a thread of its own. Made by `open_engine`.

    Closing it closes all its sessions and ends all their processes.
    """

    @property
    def id(self) -> str:
        engine_id: str = self._inner.id
        return engine_id

    @property
    def root(self) -> Path:
        root: Path = self._inner.root
        return root

    @property
    def limits(self) -> Limits:
        limits: Limits = self._inner.limits
        return limits


def open_engine(root: str | os.PathLike[str] | None = None, *, limits: Limits | None = None) -> Engine:
    """`sessions.open_engine`, blocking.

    ::

        with blocking.open_engine() as engine:
            session = engine.create_session("build")
            print(session.run("echo hello").stdout)
    """
    portal = Portal("the engine")
    return Engine(portal, portal.open(open_async_engine(root, limits=limits), settle=AsyncEngine.close))


class Client(Host):
    """A `sessions.Client` for blocking programs, in a thread of its own. Made by `connect`.

    Closing it ends its connections, and nothing on the server.
    """

    @property
    def url(self) -> str:
        """Where its server is."""
        url: str = self._inner.url
        return url


def connect(url: str | None = None, token: str | None = None) -> Client:
    """`sessions.connect`, blocking.

    ::

        with blocking.connect("http://127.0.0.1:7878") as client:
            print(client.get_session("build").run("make").exit_code)
    """
    from .client.client import connect as connect_async

    portal = Portal("the client")
    return Client(portal, portal.open(connect_async(url, token)))


def follow_all(
    commands: Iterable[Command],
    *,
    after: Mapping[str, int] | None = None,
    stream: str | None = None,
    late: bool = False,
) -> Stream[tuple[Command, Record]]:
    """`sessions.follow_all`, blocking: iterate over it. The commands may be of several engines and servers.

    ::

        for command, record in blocking.follow_all([build, tests]):
            print(command.id, record.data)
    """
    ours = {command._inner: command for command in commands}
    by_portal: dict[Portal, list[Any]] = {}
    for inner, command in ours.items():
        by_portal.setdefault(command._portal, []).append(inner)

    def opener(inners: list[Any]) -> Callable[[Call[None]], Any]:
        return lambda _: async_follow_all(inners, after=after, stream=stream, late=late)

    sources = [(portal, opener(inners)) for portal, inners in by_portal.items()]
    return Stream(sources, lambda pair: (ours[pair[0]], pair[1]))
