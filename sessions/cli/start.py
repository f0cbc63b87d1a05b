"""`sessions start`: a command that nobody waits for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from .outlets import say
from .place import Place
from .starting import ensure_server
from .submitting import Submission, session_for, submission, text_of


@click.command("start", cls=Submission)
@submission
@click.option("--in-shell", is_flag=True, help="In the shell itself, behind the commands before it.")
@click.option("--stdin", is_flag=True, help="Keep its stdin open for `sessions send`.")
@click.option("--detach", is_flag=True, help="It outlives its session, but not the server.")
@click.option("--json", "as_json", is_flag=True, help="Print all that is known of it.")
@click.pass_obj
def start(place: Place, /, session: str, words: Sequence[str], as_json: bool, **request: Any) -> None:
    """Start COMMAND beside the shell of SESSION, which is made if there is none, and print the command's id.

    It sees the shell's variables, functions and directory, and changes none of them. The server of the root is started
    if there is none. Options stand in front of COMMAND.
    """
    ensure_server(place)
    import trio

    trio.run(start_in, place, session, text_of(words), as_json, request)


async def start_in(place: Place, name: str, text: str, as_json: bool, request: Mapping[str, Any]) -> None:
    from .reaching import server_of

    async with server_of(place) as client:
        session = await session_for(client, name, place)
        command = await session.run_async(text, **request)
        if as_json:
            from .views import command_object

            say(json.dumps(command_object(command.info, session.name)))
        else:
            say(command.id)
