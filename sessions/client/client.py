"""The way in: a server's sessions and commands, with the verbs of the engine."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

from ..errors import Broken
from ..models import Pruned
from . import calls
from .address import Address, find_address
from .answers import read_command, read_session, read_value
from .command import RemoteCommand
from .connection import Connection
from .listing import list_commands
from .session import RemoteSession
from .streams import RemoteEventStream
from .terminal import RemoteTerminal


def connect(url: str | None = None, token: str | None = None) -> Client:
    """A client of the server at `url`. No connection is made before there is something to ask.

    :param url: ``http://HOST:PORT``, ``https://HOST:PORT`` or ``unix:///PATH/serve.sock``; by default ``$SESSIONS_URL``, else the
        socket of the server on the default root.
    :param token: what the server wants to see, except on a unix socket; by default ``$SESSIONS_TOKEN``, else, for the
        default root's server on loopback, the one that it made.

    ::

        async with sessions.connect("http://127.0.0.1:7878") as client:
            session = await client.get_session("build")
            print((await session.run("make -j2")).stdout)
    """
    return Client(find_address(url, token))


class Client:
    """A server's sessions and commands. Made by `connect`; for one event loop, asyncio's or trio's.

    Use it as ``async with connect(...) as client``, or `close` it in the end.
    """

    def __init__(self, address: Address) -> None:
        self._connection = Connection(address)

    @property
    def url(self) -> str:
        """Where its server is."""
        return self._connection.address.url

    def __repr__(self) -> str:
        return f"<Client of {self.url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections. Sessions and commands go on."""
        await self._connection.close()

    # Sessions

    async def create_session(
        self,
        name: str | None = None,
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        shell: str = "bash",
        labels: Mapping[str, str] | None = None,
        restart: bool = False,
    ) -> RemoteSession:
        """Open a session: a fresh shell without startup files. See `Engine.create_session`; `cwd` is on the server's machine."""
        return self._session(await self._connection.call(calls.create_session(name, cwd, env, shell, labels, restart)))

    @asynccontextmanager
    async def open_session(
        self,
        name: str | None = None,
        *,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        shell: str = "bash",
        labels: Mapping[str, str] | None = None,
        restart: bool = False,
    ) -> AsyncIterator[RemoteSession]:
        """A session that is closed at the end of the block. The arguments are those of `create_session`."""
        session = await self.create_session(name, cwd=cwd, env=env, shell=shell, labels=labels, restart=restart)
        try:
            yield session
        finally:
            await session.close()

    async def get_session(self, name_or_id: str) -> RemoteSession:
        """The open session of this name, or the one with this id, or the newest that had this name. `NotFound` if there is none."""
        return self._session(await self._connection.call(calls.get(calls.session_path(name_or_id))))

    async def list_sessions(
        self, *, state: str | None = None, labels: Mapping[str, str] | None = None
    ) -> list[RemoteSession]:
        """The sessions of the server's root, closed ones too, oldest first."""
        answer = await self._connection.call(calls.list_sessions(state, labels))
        try:
            return [self._session(value) for value in answer["sessions"]]
        except (TypeError, LookupError) as error:
            raise Broken(f"the answer of {self.url} can't be understood: {error!r}") from None

    async def delete_session(self, name_or_id: str) -> None:
        """Close a session and remove it, its commands and their logs. Their ids are unknown from then on."""
        await self._connection.call(calls.delete_session(name_or_id))

    def _session(self, value: Any) -> RemoteSession:
        return RemoteSession(self._connection, read_session(value))

    # Terminals

    async def create_terminal(
        self,
        text: str | None = None,
        *,
        name: str | None = None,
        rows: int = 24,
        columns: int = 80,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> RemoteTerminal:
        """Open a terminal: a program that believes that a person sits in front of it. See `Engine.create_terminal`."""
        call = calls.create_terminal(text, name, rows, columns, cwd, env, labels)
        return RemoteTerminal(self._connection, read_command(await self._connection.call(call)))

    async def get_terminal(self, name_or_id: str) -> RemoteTerminal:
        """The terminal whose session has this name or id; a closed one, too. `NotFound` if there is none."""
        value = await self._connection.call(calls.get(calls.terminal_path(name_or_id)))
        return RemoteTerminal(self._connection, read_command(value))

    # Commands

    async def get_command(self, command_id: str) -> RemoteCommand:
        """A command, long finished ones too. `NotFound` if there is none, `Expired` if retention has removed it."""
        value = await self._connection.call(calls.get(calls.command_path(command_id)))
        return RemoteCommand(self._connection, read_command(value))

    async def list_commands(
        self,
        *,
        session: str | RemoteSession | None = None,
        state: str | None = None,
        labels: Mapping[str, str] | None = None,
        limit: int | None = None,
        before: str | None = None,
    ) -> list[RemoteCommand]:
        """Commands of the server's root, oldest first; of more than `limit` the newest. See `Engine.list_commands`."""
        chosen = session.id if isinstance(session, RemoteSession) else session
        infos = await list_commands(self._connection, chosen, state, labels, limit, before)
        return [RemoteCommand(self._connection, info) for info in infos]

    def watch(self, after: int | None = None) -> RemoteEventStream:
        """What happens in the server's root from now on, or after the event with seq `after`. See `Engine.watch`."""
        return RemoteEventStream(self._connection, after)

    async def prune(self, *, older_than: float | None = None, keep_bytes: int | None = None) -> Pruned:
        """Remove the logs of finished commands, those that finished first before others. See `Engine.prune`."""
        return read_value(await self._connection.call(calls.prune(older_than, keep_bytes)), Pruned)
