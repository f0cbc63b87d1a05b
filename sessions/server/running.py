"""A server as a program: an engine, the doors, and signals to end both."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Final, Literal

import trio

from ..errors import Invalid
from ..models import Limits
from ..opening import open_engine
from .entrances import AnyPath, Wanted
from .limits import ServerLimits
from .listening import Addresses
from .pid_one import stay_behind_if_first
from .serving import open_server
from .token import VARIABLE, read_token

LOGGER: Final = logging.getLogger("sessions.server")


def serve_root(
    root: AnyPath | None = None,
    *,
    bind: Sequence[str] = (),
    unix: AnyPath | Literal[False] | None = None,
    token: str | None = None,
    token_file: AnyPath | None = None,
    certfile: AnyPath | None = None,
    keyfile: AnyPath | None = None,
    insecure: bool = False,
    hosts: Sequence[str] = (),
    superserve_front: str | None = None,
    limits: Limits | None = None,
    server_limits: ServerLimits | None = None,
    ready: Callable[[Addresses], None] | None = None,
) -> None:
    """Serve a root until SIGTERM or SIGINT. The whole of a program: call it in the main thread, without an event loop.

    `ready` is called with the real addresses when the server is up. `token_file` holds the token; the other arguments are those of
    `open_engine` and `serve`. When it returns, all commands have been ended, their followers have been told, and nothing is left.

    As PID 1 of a container it returns in a child; the process that called it stays behind to collect zombies.
    """
    stay_behind_if_first()
    log_to_stderr()
    if token is not None and token_file is not None:
        raise Invalid("there are two tokens: pass token or token_file")
    if token_file is not None:
        token = read_token(token_file)
    elif token is None and (given := os.environ.get(VARIABLE)):
        token = given
    # Commands inherit this program's environment, and what they print is kept.
    os.environ.pop(VARIABLE, None)
    wanted = Wanted(
        bind=bind, unix=unix, token=token, certfile=certfile, keyfile=keyfile, insecure=insecure, hosts=hosts,
        superserve_front=superserve_front,
    )  # fmt: skip
    trio.run(serve_until_told, root, limits, wanted, server_limits or ServerLimits(), ready)


async def serve_until_told(
    root: AnyPath | None,
    limits: Limits | None,
    wanted: Wanted,
    server_limits: ServerLimits,
    ready: Callable[[Addresses], None] | None,
) -> None:
    with trio.open_signal_receiver(*ending_signals()) as signals:
        async with open_engine(root, limits=limits) as engine, open_server(engine, wanted, server_limits) as server:
            if ready is not None:
                ready(server.addresses)
            number = await anext(signals)
            LOGGER.info("%s: ending all commands", signal.Signals(number).name)
            server.refuse()
            # Followers see their commands end, and are told so before the server goes.
            await engine.close()
            await server.let_finish()


def ending_signals() -> list[signal.Signals]:
    """A terminal that closes ends it, too, unless it was started so as to outlive that."""
    hangup = [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL else []
    return [signal.SIGTERM, signal.SIGINT, *hangup]


def log_to_stderr() -> None:
    """Unless the program has its own way to log."""
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    if logging.getLogger("sessions").level == logging.NOTSET:
        logging.getLogger("sessions").setLevel(logging.INFO)
