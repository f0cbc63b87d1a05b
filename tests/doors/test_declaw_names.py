"""Programs that know one name for Declaw, and a server that has this name: with a certificate for it, at the port of HTTPS."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from own_names import named_server, needs_own_names
from sdk_runs import CHECKS, Sdk, names_of, read_checks, said
from server_process import TOKEN

SDK = Sdk("declaw")
pytestmark = needs_own_names

NAME: Final = "api.declaw.ai"
KEY: Final = {"DECLAW_API_KEY": TOKEN}
PROGRAM: Final = """
import asyncio
from declaw import AsyncSandbox, Sandbox

with Sandbox.create() as sandbox:
    print(sandbox.commands.run("echo run").stdout, end="")
    print(sandbox.commands.run_stream("echo streamed").stdout, end="")  # by a connection of its own

async def main():
    sandbox = await AsyncSandbox.create()
    print((await sandbox.run_command("echo awaited")).stdout, end="")
    await sandbox.kill()

asyncio.run(main())
"""


@SDK.needs_python
def test_python(tmp_path: Path) -> None:
    with named_server(tmp_path / "server", [NAME], f"--host={NAME}") as (inside, variables):
        told = said([*inside, SDK.python, "-c", PROGRAM], {**variables, **KEY}, tmp_path)
    assert told == "run\nstreamed\nawaited\n"


@SDK.needs_node
def test_node(tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(SDK.node_modules)
    copy = shutil.copy(CHECKS / "declaw_checks.ts", tmp_path / "declaw_checks.mts")
    with named_server(tmp_path / "server", [NAME], f"--host={NAME}") as (inside, variables):
        printed = said([*inside, SDK.node_modules / ".bin" / "tsx", copy], {**variables, **KEY}, tmp_path)
    assert read_checks(printed) == dict.fromkeys(names_of("declaw_checks.ts"), "ok")
