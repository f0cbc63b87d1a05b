"""Programs that are waited for, outside of sessions: ``process.exec`` and ``code_run``, each in a shell state of its own."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any, Final

import trio
from starlette.types import ASGIApp

from ...arguments import NoDirectory, check_text
from ...command import Command
from ...reading_logs import read_logs_beside
from ...selection import Selection
from ..own_shells import ONE_STREAM, in_own_shell
from ..requests import json_response
from .errors import Refusal
from .routing import Call, Row
from .sessions import check_size, text_object
from .views import exit_code

CANNOT_START: Final = -1


async def execute(call: Call) -> ASGIApp:
    body = call.body
    text = check_text(body.needed_text("command"))  # as it came: what it says of a place in it is then true
    cwd, env, timeout = body.text("cwd"), body.texts("envs"), body.seconds("timeout")
    return await run(call, in_own_shell(text), cwd=cwd, env=env, timeout=timeout, stdin=False)


async def run(
    call: Call,
    text: str,
    *,
    cwd: str | None,
    env: dict[str, str],
    timeout: float | None,
    stdin: bool | str,
    **facts: Any,
) -> ASGIApp:
    """Run it to its end. After `timeout` seconds it is killed, with all that it started, and the answer says so.

    Its session tells it to end then, too, so that it does not run on if its client has gone.
    """
    try:
        _, command = await call.space.start_process(ONE_STREAM + text, cwd=cwd, env=env, timeout=timeout, stdin=stdin)
    except NoDirectory as error:
        return json_response({"exitCode": CANNOT_START, "result": str(error), **facts})
    until = trio.current_time() + timeout if timeout is not None else float("inf")
    await call.streams.wait_aloud(command.wait, trio.lowlevel.checkpoint, until)
    if command.state != "finished" or command.reason == "timeout":
        with trio.CancelScope(shield=True):
            await command.kill(grace=0)
        raise Refusal(408, "PROCESS_EXECUTION_TIMEOUT", f"it ran for more than {timeout:g} s and was killed")
    return await answer(command, facts)


async def answer(command: Command, facts: dict[str, Any]) -> ASGIApp:
    check_size(command)
    logs = await read_logs_beside(command.archive, command.info, Selection())
    return text_object({"exitCode": exit_code(command), **facts}, {"result": logs.output})


def python(arguments: str) -> str:
    return f"python3 -u - {arguments}"


def javascript(arguments: str) -> str:
    return f"{NEEDS_NODE}\nnode - {arguments}"


def typescript(arguments: str) -> str:
    """tsx or ts-node where there is one; node itself reads it from 22.6 on; else npx may get tsx. None reads it from stdin."""
    return TYPESCRIPT.replace("ARGUMENTS", arguments)


NEEDS_NODE: Final = """if ! command -v node >/dev/null; then
    echo 'code_run: node is not installed on this machine' >&2
    exit 127
fi"""

TYPESCRIPT: Final = f"""{NEEDS_NODE}
file=$(mktemp "$PWD/.code-XXXXXXXX.ts") || exit
trap 'rm -f "$file"' EXIT
cat >"$file"
if command -v tsx >/dev/null; then
    tsx "$file" ARGUMENTS
elif command -v ts-node >/dev/null; then
    ts-node --transpile-only "$file" ARGUMENTS
elif node --experimental-strip-types -e 0 2>/dev/null; then
    node --no-warnings --experimental-strip-types "$file" ARGUMENTS
elif command -v npx >/dev/null && npm_config_fetch_retries=0 npx --yes tsx --version >/dev/null 2>&1; then
    npx --yes tsx "$file" ARGUMENTS
else
    echo 'code_run: there is nothing on this machine that runs TypeScript: install tsx, or node 22.6' >&2
    exit 127
fi"""

LANGUAGES: Final[dict[str, Callable[[str], str]]] = {
    "python": python,
    "javascript": javascript,
    "typescript": typescript,
}


async def run_code(call: Call) -> ASGIApp:
    body = call.body
    code, language = body.needed_text("code"), body.text("language") or "python"
    make = LANGUAGES.get(language)
    if make is None:
        raise Refusal(400, "BAD_REQUEST", f"language {language!r} is not known: {', '.join(LANGUAGES)} are")
    text = make(shlex.join(body.text_list("argv")))
    env, timeout = body.texts("envs"), body.seconds("timeout")
    return await run(call, text, cwd=None, env=env, timeout=timeout, stdin=code, artifacts={"charts": []})


ROWS: Final = [
    Row("POST", "process/execute", execute, waits=True),
    Row("POST", "process/code-run", run_code, waits=True),
]
