"""The shortest way through the engine, in each shell."""

from __future__ import annotations

import pytest
from conftest import SHELLS

import sessions


@pytest.mark.parametrize("shell", SHELLS)
async def test_state_stays_and_output_comes_back(engine: sessions.Engine, shell: str) -> None:
    session = await engine.create_session("smoke", shell=shell)
    await session.run("cd /usr; export COLOR=red; greet() { echo hello $1; }")
    result = await session.run("pwd; echo $COLOR; greet you; echo oops >&2; false")
    assert result.stdout == "/usr\nred\nhello you\n"
    assert result.stderr == "oops\n"
    assert (result.exit_code, result.reason) == (1, "exit")
