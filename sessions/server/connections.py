"""Connections: who takes them, how long a stranger may stay, and how all of them end.

Hypercorn speaks HTTP and WebSocket on each. Its own loop that takes connections is not used, nor its way to refuse, all for
reasons seen with its version 0.18:

- One request with bytes beyond ASCII in a header of a WebSocket's handshake raises an error in its connection's task, and that
  ends the server. Here it ends that connection.
- Who begins to speak HTTP/2 and then says nothing is never cut, and neither is a TLS handshake's peer for a minute.
  Here a connection is closed unless it has sent a request that was let in within ``header_seconds``.
- A WebSocket whose client has gone keeps its descriptor until its next ping is due, and a connection whose client has gone between
  two requests keeps its own for ``idle_seconds``. Here they are given back at once.
- What it can't read it answers without a body, and closes at once, so that who is still sending may lose the answer.
  Here all refusals have the same form.
- What it sends is shielded from cancellation, so a client that never reads keeps the server from ending. Here the socket is
  closed under it.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol, H11WSConnection
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from ..doors.requests import error_response
from ..errors import Invalid
from .admission import Rules
from .entrances import Entrance, Wanted
from .guard import DRAIN_SECONDS, NO_SNIFFING, Guard
from .limits import ServerLimits
from .refusals import unread

LOGGER: Final = logging.getLogger("sessions.server")
MESSAGE_BYTES: Final = 1 << 20
"""The largest message that a WebSocket's client may send: input for a program. Many clients take as much themselves."""
DRAIN_BYTES: Final = 1 << 16
LINGER_SECONDS: Final = 0.5
"""What a connection gets to end in good order, once its answer has been sent."""


def configure(limits: ServerLimits, wanted: Wanted) -> Config:
    """Hypercorn's settings."""
    config = Config()
    config.accesslog = None
    config.errorlog = LOGGER
    config.include_server_header = False
    config.h11_max_incomplete_size = limits.header_bytes
    config.keep_alive_timeout = limits.idle_seconds
    config.ssl_handshake_timeout = limits.header_seconds
    config.websocket_max_message_size = MESSAGE_BYTES
    config.websocket_ping_interval = limits.heartbeat_seconds
    config.alpn_protocols = ["http/1.1"]
    config.certfile = os.fspath(wanted.certfile) if wanted.certfile is not None else None
    config.keyfile = os.fspath(wanted.keyfile) if wanted.keyfile is not None else None
    return config


def load_certificate(config: Config) -> ssl.SSLContext | None:
    """None if there is none. `Invalid` if it can't be used."""
    try:
        return config.create_ssl_context()
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise Invalid(f"certificate {config.certfile} with key {config.keyfile} can't be used: {error}") from error


class Connection:
    """One client."""

    def __init__(self, transport: trio.SocketStream) -> None:
        self.transport = transport
        self.let_in = trio.Event()
        self.answers = 0
        """How many are under way."""
        self.hung_up = False
        """Whether its client has gone while an answer was under way."""
        self.scope = trio.CancelScope()

    def end_if_over(self) -> None:
        if self.hung_up and not self.answers:
            self.scope.cancel()

    def close(self) -> None:
        """At once, whatever is being done with it: that fails then."""
        self.transport.socket.close()


class Speaker(TCPServer):
    """HTTP on one connection."""

    def __init__(self, connection: Connection, app: Any, config: Config, context: WorkerContext, stream: Any) -> None:
        super().__init__(app, config, context, ConnectionState({}), stream)
        self._connection = connection
        self._is_read = False
        """Whether its client will ask no more."""

    async def protocol_send(self, event: Any) -> None:
        if self._is_read and isinstance(event, Updated):
            return  # it would wait for another request
        was_answering = self._is_answering
        try:
            await super().protocol_send(event)
        except trio.BusyResourceError:
            # It is being closed at this moment, as its client has ended its half in the middle of a request's body.
            await self.protocol.handle(Closed())
        if was_answering and not self._is_answering and isinstance(event, RawData):
            self._connection.hung_up = True  # which the reader does not notice behind a request that waits for its turn

    @property
    def _is_answering(self) -> bool:
        protocol = self.protocol.protocol
        return isinstance(protocol, H11Protocol) and protocol.stream is not None

    async def _read_data(self) -> None:
        protocol = self.protocol.protocol
        if isinstance(protocol, H11Protocol):
            protocol._send_error_response = partial(self._refuse, protocol)  # type: ignore[method-assign]
            protocol._check_protocol = partial(check_protocol, protocol)  # type: ignore[method-assign]
            connection = protocol.connection
            if isinstance(connection, h11.Connection):
                connection.next_event = partial(next_event, connection)  # type: ignore[method-assign]
        await super()._read_data()
        self._is_read = True
        if not self._is_answering:
            await self.idle_task.stop()
        if isinstance(protocol, H11Protocol) and isinstance(protocol.connection, H11WSConnection):
            self._connection.hung_up = True
            self._connection.close()  # though its answer may go on for a while
            self._connection.end_if_over()

    async def _refuse(self, protocol: H11Protocol, status: int) -> None:
        """Answer what can't be read, and read the rest of it: closed over unread bytes, the connection would be reset."""
        answer = error_response(unread(status, self.config.h11_max_incomplete_size))
        headers = [*answer.raw_headers, NO_SNIFFING, (b"connection", b"close")]
        for event in (
            h11.Response(status_code=status, headers=headers),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        ):
            await protocol._send_h11_event(event)
        if isinstance(self.stream, trio.SocketStream):
            await self.stream.send_eof()  # in TLS there is no such thing
        with trio.move_on_after(DRAIN_SECONDS):
            while await self.stream.receive_some(DRAIN_BYTES):
                pass


async def check_protocol(protocol: H11Protocol, request: h11.Request) -> None:
    """Who begins with HTTP/2 is told that it is not spoken here. An offer to change to it, as some clients make each time, is none to take."""
    if request.method == b"PRI":
        await H11Protocol._check_protocol(protocol, request)
    offers = [value.lower() for name, value in request.headers if name == b"upgrade"]
    if offers and offers != [b"websocket"] and isinstance(protocol.connection, h11.Connection):
        # h11 reads nothing more until it is told whether the offer is taken, so the client could not be seen to leave.
        protocol.connection._cstate.pending_switch_proposals.clear()


def next_event(connection: h11.Connection) -> Any:
    """What h11 has to say next. Bytes behind a client's last request wait until it is answered: h11 takes them for an error in it."""
    is_answering = connection.our_state in (h11.SEND_RESPONSE, h11.SEND_BODY)
    if is_answering and connection.their_state is h11.MUST_CLOSE and connection.trailing_data[0]:
        return h11.PAUSED
    return h11.Connection.next_event(connection)


class Connections:
    """All clients of a server."""

    def __init__(self, guard: Guard, config: Config, limits: ServerLimits) -> None:
        self._guard = guard
        self._config = config
        self._limits = limits
        self._context = WorkerContext(None)
        self._open: set[Connection] = set()
        self._strangers: dict[Connection, None] = {}
        self._gone = trio.Event()
        self._taking = trio.CancelScope()
        self._takers: trio.Nursery
        self._handlers: trio.Nursery
        self._serving = trio.CancelScope()

    async def serve(self, entrances: Sequence[Entrance], task_status: trio.TaskStatus[None]) -> None:
        """Take connections and serve them until `end` has ended all of them."""
        with self._serving:
            async with trio.open_nursery() as handlers:
                with self._taking:
                    async with trio.open_nursery() as self._takers:
                        self._handlers = handlers
                        for entrance in entrances:
                            await self.take(entrance)
                        task_status.started()

    async def take(self, entrance: Entrance) -> None:
        """Take connections from this one, too."""
        handler = partial(self._serve, entrance.rules)
        take = partial(trio.serve_listeners, handler_nursery=self._handlers)
        await self._takers.start(take, handler, [entrance.listener])

    async def end(self) -> None:
        """Take no more. Those that are silent are closed at once, those that are not when they have been answered, or soon."""
        self._taking.cancel()
        await self._context.terminated.set()
        with trio.move_on_after(LINGER_SECONDS):
            while self._open:
                await self._gone.wait()
        for connection in list(self._open):
            connection.close()
        self._serving.cancel()

    async def _serve(self, rules: Rules, stream: Any) -> None:
        connection = Connection(getattr(stream, "transport_stream", stream))
        self._open.add(connection)
        if rules.token_digest is not None:
            self._make_room()
            self._strangers[connection] = None

        async def app(scope: Any, receive: Any, send: Any, sync_spawn: object, call_soon: object) -> None:
            connection.answers += 1
            try:
                await self._guard.answer(rules, partial(self._admit, connection), scope, receive, send)
            finally:
                connection.answers -= 1
                connection.end_if_over()

        try:
            with connection.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch, connection)
                    # Not a coroutine, but what can be awaited once.
                    await Speaker(connection, app, self._config, self._context, stream)
                    nursery.cancel_scope.cancel()
        except* (trio.ClosedResourceError, trio.BrokenResourceError):
            pass  # it has gone, or was made to go
        except* Exception as group:
            # Whatever a client can make go wrong in there goes wrong for that client.
            LOGGER.warning("a connection failed: %s", "; ".join(map(repr, leaves(group))))
        finally:
            connection.close()
            self._strangers.pop(connection, None)
            self._open.discard(connection)
            if not self._open:
                self._gone.set()
                self._gone = trio.Event()

    def _make_room(self) -> None:
        if len(self._strangers) >= self._limits.strangers:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.close()

    def _admit(self, connection: Connection) -> None:
        connection.let_in.set()
        self._strangers.pop(connection, None)

    async def _watch(self, connection: Connection) -> None:
        with trio.move_on_after(self._limits.header_seconds):
            await connection.let_in.wait()
            return
        connection.close()


def leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The errors in it, and in the groups in it."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
