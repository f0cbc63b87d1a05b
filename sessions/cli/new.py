"""`sessions new`: a session that nothing runs in yet."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import click

from .kinds import directories_here, pairs
from .outlets import say
from .place import Place, current_directory
from .starting import MARKS, ensure_server


@click.command("new")
@click.argument("name", required=False)
@click.option(
    "-C",
    "--cwd",
    shell_complete=directories_here,
    metavar="DIRECTORY",
    help="Where its shell begins; here, if the server is on this machine.",
)
@click.option("-e", "--env", multiple=True, callback=pairs, metavar="KEY=VALUE", help="A variable of its shell.")
@click.option("--inherit-env", is_flag=True, help="All variables of this terminal; else it has the server's.")
@click.option("--shell", type=click.Choice(["bash", "sh", "zsh"]), default="bash", show_default=True)
@click.option("-l", "--label", "labels", multiple=True, callback=pairs, metavar="KEY=VALUE", help="To find it by.")
@click.option(
    "--restart", is_flag=True, help="Replace a shell that has ended by a fresh one when the next command comes."
)
@click.option("--json", "as_json", is_flag=True, help="Print all that is known of it.")
@click.pass_obj
def new(place: Place, /, as_json: bool, **request: Any) -> None:
    """Open a session called NAME and print its id. The server of the root is started if there is none."""
    if request["cwd"] is None and place.url is None:
        request["cwd"] = current_directory()
    if request.pop("inherit_env"):
        request["env"] = {name: value for name, value in os.environ.items() if name not in MARKS} | request["env"]
    ensure_server(place)
    import trio

    trio.run(open_new, place, as_json, request)


async def open_new(place: Place, as_json: bool, request: Mapping[str, Any]) -> None:
    from .reaching import server_of

    async with server_of(place) as client:
        session = await client.create_session(**request)
        if as_json:
            from .views import session_object

            say(json.dumps(session_object(session.info)))
        else:
            say(session.id)
