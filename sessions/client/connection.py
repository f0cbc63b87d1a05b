"""The rim: sends a `Call` to one server and returns what it answers, or raises what went wrong."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import urlencode

import anyio
import httpx

from ..errors import Broken, Closed, SessionsError
from .address import Address
from .answers import BUSY_STATUSES, ServerCloses, read_error
from .calls import Call
from .patience import Patience

CONNECT_SECONDS: Final = 10.0
WRITE_SECONDS: Final = 60.0
SILENCE_SECONDS: Final = 60.0
"""A server that gives a sign of life each 15 s is gone when it has missed four."""
IDLE_SECONDS: Final = 4.0
"""Less than anything on the way keeps an idle connection (our server 120 s, many proxies 5 s), so that a request doesn't meet its end."""
IDLE_CONNECTIONS: Final = 100
LAST_WORDS_SECONDS: Final = 10.0
"""For what a cancelled verb still has to tell the server."""

# Where no sign of life is promised, the system finds out within a minute that the other machine has gone.
KEEP_ALIVE: Final = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]


class Gone(Exception):
    """The connection failed, or the server can't answer now: it may be worth another try."""

    def __init__(self, error: SessionsError, *, never_sent: bool = False) -> None:
        super().__init__(str(error))
        self.error = error
        """What to tell who does not try again."""
        self.never_sent = never_sent
        """No server was there to take the request."""


class Connection:
    """Any number of connections to one server, opened as needed."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._closed = False
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if address.token is not None:
            headers["Authorization"] = f"Bearer {address.token}"
        # Reading the certificates of all authorities takes longer than a request.
        tls = True if address.base.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        limits = httpx.Limits(
            max_connections=None, max_keepalive_connections=IDLE_CONNECTIONS, keepalive_expiry=IDLE_SECONDS
        )
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(
                verify=tls, limits=limits, uds=address.socket, socket_options=None if address.socket else KEEP_ALIVE
            ),
            headers=headers,
            trust_env=False,
        )

    async def call(self, call: Call) -> Any:
        """The JSON that it answers; None if that is nothing. Tried twice if that does no harm and there is a server."""
        try:
            return await self._ask(call)
        except Gone as gone:
            if gone.never_sent or not call.repeatable:
                raise gone.error from gone.__cause__
        try:
            return await self._ask(call)
        except Gone as gone:
            raise gone.error from gone.__cause__

    async def call_patiently(self, call: Call) -> Any:
        """The same for what may take hours: connections may break and servers be replaced meanwhile."""
        patience = Patience()
        while True:
            began = anyio.current_time()
            try:
                return await self._ask(call)
            except Gone as gone:
                patience.lasted(anyio.current_time() - began)
                await self.rest(patience, gone)

    async def rest(self, patience: Patience, gone: Gone) -> None:
        """Wait before the next try, or raise what to tell when there have been enough."""
        delay = patience.next_delay()
        if delay is None:
            raise gone.error from gone.__cause__
        await anyio.sleep(delay)

    async def insist(self, call: Call, seconds: float = LAST_WORDS_SECONDS) -> Any:
        """A call that reaches the server even if the caller is cancelled; the answer is then waited for so long at most."""
        try:
            return await self.call(call)
        except anyio.get_cancelled_exc_class():
            await self.last_words(call, seconds)
            raise

    async def last_words(self, call: Call, seconds: float = LAST_WORDS_SECONDS) -> None:
        """Tell the server although the caller is cancelled; what then goes wrong is no news to it."""
        cancelled = anyio.get_cancelled_exc_class()
        again: BaseException | None = None
        with anyio.move_on_after(seconds, shield=True) as scope:
            while True:
                try:
                    await self.call(call)
                except SessionsError:
                    pass
                except cancelled as error:
                    if scope.cancel_called:
                        raise
                    again = error  # asyncio's own cancel(), once more: no shield keeps that out
                    continue
                break
        if again is not None:
            raise again

    async def _ask(self, call: Call) -> Any:
        return await self.read(call, await self.open(call))

    async def read(self, call: Call, response: httpx.Response) -> Any:
        """The whole of an answer, as JSON. `Gone` if the connection breaks first."""
        try:
            body = await response.aread()
        except httpx.TransportError as error:
            raise Gone(self._broken(call, error)) from error
        if not body:
            return None
        try:
            value = json.loads(body)
        except ValueError as error:
            raise Broken(
                f"the answer of {self.address} can't be understood ({error}): is it a sessions server?"
            ) from None
        if isinstance(value, dict) and "error" in value:  # what went wrong when the answer had begun
            failure = read_error(500, body, self.address)
            raise Gone(failure) if isinstance(failure, ServerCloses) else failure
        return value

    async def open(self, call: Call) -> httpx.Response:
        """An answer of which nothing but the head has been read. `Gone` if there is none, or the server has no time for one."""
        if self._closed:
            raise Closed("this client is closed: connect() makes another one")
        try:
            response = await self._http.send(self._request(call), stream=True)
        except httpx.TransportError as error:
            never_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            raise Gone(self._broken(call, error), never_sent=never_sent) from error
        if response.is_success:
            return response
        try:
            body = await response.aread()
        except httpx.TransportError as error:
            raise Gone(self._broken(call, error)) from error
        refusal = read_error(response.status_code, body, self.address)
        if response.status_code in BUSY_STATUSES and call.repeatable:
            raise Gone(refusal)
        raise refusal

    def _request(self, call: Call) -> httpx.Request:
        url = self.address.base + call.path + ("?" + urlencode(call.query) if call.query else "")
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"} if call.streamed else {}
        content = None
        if call.body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(call.body, separators=(",", ":")).encode()
        read = SILENCE_SECONDS if call.heard else None
        timeout = httpx.Timeout(connect=CONNECT_SECONDS, read=read, write=WRITE_SECONDS, pool=None)
        request = self._http.build_request(call.method, url, content=content, headers=headers, timeout=timeout)
        request.stream = Body(content)
        return request

    def _broken(self, call: Call, error: httpx.TransportError) -> SessionsError:
        if self._closed:
            return Closed("this client was closed meanwhile: connect() makes another one")
        said = str(error) or type(error).__name__
        if (reason := certificate_fault(error)) is not None:
            return Broken(
                f"the certificate of {self.address} is not trusted ({reason}): $SSL_CERT_FILE names others to trust"
            )
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return Broken(f"no server answers at {self.address} ({said}): start one there with `sessions serve`")
        known = "" if call.repeatable else "; whether the server did it is not known: look before you do it again"
        return Broken(
            f"the connection to {self.address} broke ({said}) before {call.method} {call.path} was answered{known};"
            " if the server is gone, start it with `sessions serve`"
        )

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        with anyio.CancelScope(shield=True):
            await self._http.aclose()


def certificate_fault(error: BaseException | None) -> str | None:
    """What is wrong with the server's certificate, if that is what has failed; the libraries in between don't tell."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        error = error.__cause__ or error.__context__
    return None


class Body(httpx.AsyncByteStream):
    """A request's body. httpx's own is a generator, which is left hanging where a connection breaks while it is sent."""

    def __init__(self, content: bytes | None) -> None:
        self._pieces = [content] if content else []

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._pieces:
            raise StopAsyncIteration
        return self._pieces.pop()
