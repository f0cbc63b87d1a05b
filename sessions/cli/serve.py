"""`sessions serve`: the server of a root, in the foreground."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from .kinds import size, span
from .outlets import say
from .place import Place

if TYPE_CHECKING:
    from ..server.listening import Addresses


@click.command("serve")
@click.option(
    "--bind",
    multiple=True,
    metavar="HOST:PORT",
    help="Listen with TCP, too; port 0 is any that is free. A token is needed there.",
)
@click.option("--unix", metavar="PATH", help="Where the unix socket is.  [serve.sock in the root]")
@click.option("--no-unix", is_flag=True, help="No unix socket; the other verbs then need --url.")
@click.option(
    "--token-file",
    metavar="PATH",
    help="Holds the token for TCP.  [$SESSIONS_TOKEN, else the root's file token, made once]",
)
@click.option("--certfile", metavar="PATH", help="Serve TLS with this certificate.")
@click.option("--keyfile", metavar="PATH", help="The certificate's key.")
@click.option("--insecure", is_flag=True, help="Let other machines connect without TLS: something else encrypts.")
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="A name that clients call this server by.")
@click.option(
    "--superserve-front",
    is_flag=False,
    flag_value="127.0.0.1:0",
    metavar="[HOST:PORT]",
    help="Open the local proxy that Superserve's SDKs need; any free port if left out.",
)
@click.option("--log-bytes", callback=size, metavar="SIZE", help="Size cap of one command's log.  [1G]")
@click.option("--kill-grace", callback=span, metavar="SPAN", help="From the first signal to SIGKILL.  [5s]")
@click.option("--max-sessions", type=click.IntRange(min=1), metavar="N", help="Open sessions.  [10000]")
@click.option(
    "--max-queued", type=click.IntRange(min=1), metavar="N", help="Commands that wait in one session.  [10000]"
)
@click.option("--json", "as_json", is_flag=True, help="Print the addresses as one line of JSON once it is up.")
@click.pass_obj
def serve(
    place: Place, /, bind: Sequence[str], unix: str | None, no_unix: bool, as_json: bool,
    log_bytes: int | None, kill_grace: float | None, max_sessions: int | None, max_queued: int | None, **options: Any,
) -> None:  # fmt: skip
    """Run the server of the root until SIGTERM or Ctrl-C; then all commands are ended.

    One root has one server. `run`, `start` and `new` start one by themselves, without TCP.
    """
    if unix is not None and no_unix:
        raise click.UsageError("--unix and --no-unix exclude each other")
    if place.given_url is not None:
        raise click.UsageError("--url names a server; to say where this one listens, use --bind")
    from ..models import Limits
    from ..server.running import serve_root

    given = {
        "log_bytes": log_bytes,
        "kill_grace_seconds": kill_grace,
        "sessions": max_sessions,
        "queued_commands": max_queued,
    }
    serve_root(
        place.root,
        bind=bind,
        unix=False if no_unix else unix,
        token=place.given_token,
        limits=Limits(**{name: value for name, value in given.items() if value is not None}),  # type: ignore[arg-type]
        ready=tell_json if as_json else None,
        **options,
    )


def tell_json(addresses: Addresses) -> None:
    say(json.dumps({"urls": addresses.urls, "unix": str(addresses.unix) if addresses.unix else None}))
