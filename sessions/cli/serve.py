"""`sessions serve`: the server of a root, in the foreground."""

from __future__ import annotations

import importlib.util
import json
import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from .kinds import files_here, size, span
from .outlets import notice, say
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
@click.option(
    "--unix", shell_complete=files_here, metavar="PATH", help="Where the unix socket is.  [serve.sock in the root]"
)
@click.option("--no-unix", is_flag=True, help="No unix socket; the other verbs then need --url.")
@click.option(
    "--token-file",
    shell_complete=files_here,
    metavar="PATH",
    help="Holds the token for TCP.  [$SESSIONS_TOKEN, else the root's file token, made once]",
)
@click.option("--certfile", shell_complete=files_here, metavar="PATH", help="Serve TLS with this certificate.")
@click.option("--keyfile", shell_complete=files_here, metavar="PATH", help="The certificate's key.")
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
    from ..server.serving import DOORS

    given = {
        "log_bytes": log_bytes,
        "kill_grace_seconds": kill_grace,
        "sessions": max_sessions,
        "queued_commands": max_queued,
    }
    # Before the server takes it out of its environment.
    has_own_token = bool(place.token or options["token_file"])

    def tell(addresses: Addresses) -> None:
        if as_json:
            say(json.dumps({**facts(addresses), "doors": list(DOORS)}))
        else:
            command = env_command(place, addresses, is_elsewhere=no_unix or unix is not None)
            notice("\n".join(announce(list(DOORS), command, has_own_token, options["superserve_front"] is not None)))

    serve_root(
        place.root,
        bind=bind,
        unix=False if no_unix else unix,
        token=place.given_token,
        limits=Limits(**{name: value for name, value in given.items() if value is not None}),  # type: ignore[arg-type]
        ready=tell,
        **options,
    )


def facts(addresses: Addresses) -> dict[str, Any]:
    return {"urls": addresses.urls, "unix": str(addresses.unix) if addresses.unix else None}


def env_command(place: Place, addresses: Addresses, is_elsewhere: bool) -> str:
    """`sessions env` so that it finds this server, whatever it would look for by itself."""
    from ..server.loopback import plain_url

    words = ["sessions"]
    if place.given_root or place.environ.get("SESSIONS_URL"):
        words += ["--root", str(place.root)]
    if is_elsewhere:
        words += [
            "--url",
            f"unix://{addresses.unix}" if addresses.unix else plain_url(addresses.urls) or addresses.urls[0],
        ]
    return shlex.join([*words, "env"])


def announce(doors: Sequence[str], command: str, has_own_token: bool, has_front: bool) -> Iterator[str]:
    """What is open, and the line that points each system's SDKs here."""
    yield f"doors: {' '.join(doors)}"
    if has_own_token:
        yield "  with this server's token in $SESSIONS_TOKEN:"
    for system in (door.removeprefix("/") for door in doors[1:]):
        if system == "superserve":
            yield f"  {remark_on_front(has_front)}:"
        yield f'  eval "$({command} {system})"'


def remark_on_front(has_front: bool) -> str:
    if importlib.util.find_spec("trustme") is None:
        return "through a front, which needs trustme: pip install '.[superserve]' in a checkout"
    return "through its front" if has_front else "through a front (see --superserve-front), which this opens"
