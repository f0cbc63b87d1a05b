"""Programs that can't begin where, or as whom, their client wants them to: the same in all dialects."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from served import over_tcp, served

import sessions
from sessions.arguments import NoDirectory
from sessions.doors import accounts

NOBODY: Final = pwd.getpwuid(65534)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="NOT ROOT: only root can run programs as others")
needs_setpriv = pytest.mark.skipif(
    shutil.which("setpriv") is None, reason="setpriv IS NOT INSTALLED: it belongs to util-linux"
)

Ask = Callable[..., Awaitable[httpx.Response]]
"""Runs the text; other fields of the body are those of its dialect."""


@pytest.fixture
async def http(engine: sessions.Engine) -> AsyncIterator[httpx.AsyncClient]:
    async with served(engine) as addresses, over_tcp(addresses, timeout=60) as http:
        yield http


async def ask(http: httpx.AsyncClient, path: str, field: str, text: str, token: str = "", **fields: Any) -> Any:
    headers = {"X-Access-Token": token} if token else {}
    return await http.post(path, json={field: text, **fields}, headers=headers)


async def in_declaw(http: httpx.AsyncClient) -> Ask:
    made = (await http.post("/sandboxes", json={})).json()
    return partial(ask, http, f"/sandboxes/{made['sandbox_id']}/commands", "cmd")


async def in_miosa(http: httpx.AsyncClient) -> Ask:
    made = (await http.post("/miosa/api/v1/computers", json={"name": "c"})).json()
    return partial(ask, http, f"/miosa/api/v1/computers/{made['id']}/commands", "command")


async def in_nullspace(http: httpx.AsyncClient) -> Ask:
    made = (await http.post("/nullspace/v1/machines", json={})).json()
    return partial(ask, http, f"/nullspace/v1/machines/{made['id']}/exec", "command", shell=True)


async def in_superserve(http: httpx.AsyncClient) -> Ask:
    made = (await http.post("/superserve/sandboxes", json={"name": "s"})).json()
    return partial(ask, http, "/exec", "command", token=made["access_token"])


DOORS: Final[dict[str, tuple[Callable[[httpx.AsyncClient], Awaitable[Ask]], str]]] = {
    "declaw": (in_declaw, "cwd"),
    "miosa": (in_miosa, "cwd"),
    "nullspace": (in_nullspace, "cwd"),
    "superserve": (in_superserve, "working_dir"),
}


@pytest.mark.parametrize("door", DOORS)
async def test_a_directory_in_which_nothing_can_begin(http: httpx.AsyncClient, door: str) -> None:
    make, field = DOORS[door]
    run = await make(http)
    for directory, code in (("/nowhere", 127), ("/etc/passwd", 126)):
        answer = await run("echo begun", **{field: directory})
        found = answer.json()
        assert (answer.status_code, found["exit_code"], found["stdout"]) == (200, code, "")
        assert directory in found["stderr"]


@needs_root
@needs_setpriv
@pytest.mark.parametrize("door", ["declaw", "miosa"])
async def test_another_account(http: httpx.AsyncClient, door: str) -> None:
    run = await DOORS[door][0](http)
    name, home = NOBODY.pw_name, accounts.home_of(NOBODY)
    text = "id -un; echo $USER $HOME $A; pwd; echo '&' >&2; exit 5"
    variables = "envs" if door == "declaw" else "env"
    found = (await run(text, user=name, **{variables: {"A": "b c"}})).json()
    assert (found["stdout"], found["stderr"]) == (f"{name}\n{name} {home} b c\n{home}\n", "&\n")
    assert found["exit_code"] == 5
    limit = "timeout" if door == "declaw" else "timeout_seconds"
    found = (await run("pwd; sleep 1000", user=name, cwd="/usr", **{limit: 0.5})).json()
    assert (found["stdout"], found["stderr"], found["exit_code"]) == ("/usr\n", "", 124)
    assert (await run("id -un", user="root")).json()["stdout"] == "root\n"
    assert (await run("id -un", user="")).json()["stdout"] == "root\n"


@needs_root
@needs_setpriv
@pytest.mark.parametrize("door", ["declaw", "miosa"])
@pytest.mark.parametrize("padding", ["x" * 200_000, "'" * 60_000], ids=["long", "longer when it is quoted"])
async def test_a_long_text_as_another_account(http: httpx.AsyncClient, door: str, padding: str) -> None:
    run = await DOORS[door][0](http)
    text = f"id -un; cat <<'end' | wc -c\n{padding}\nend\n[ -e /proc/self/fd/9 ] && echo left open; exit 5"
    found = (await run(text, user=NOBODY.pw_name)).json()
    assert (found["stdout"], found["stderr"]) == (f"{NOBODY.pw_name}\n{len(padding) + 1}\n", "")
    assert found["exit_code"] == 5


@pytest.mark.parametrize("door", DOORS)
async def test_a_long_text_is_a_program_of_its_own(http: httpx.AsyncClient, door: str) -> None:
    """As a short one is: a signal to ``$$`` hits no other."""
    run = await DOORS[door][0](http)
    found = [(await run(f": {'x' * 200_000}; cat; echo $$; kill -9 $$")).json() for _ in range(2)]
    assert [one["exit_code"] for one in found] == [137, 137]
    assert found[0]["stdout"] != found[1]["stdout"]


async def test_an_account_that_is_not_there(http: httpx.AsyncClient) -> None:
    """One dialect's clients always name one; those of the other only if they mean it."""
    run = await in_declaw(http)
    assert (await run("id -u", user="user-that-is-not-there")).json()["stdout"] == f"{os.geteuid()}\n"
    run = await in_miosa(http)
    answer = await run("id -u", user="user-that-is-not-there")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "VALIDATION_ERROR")


async def test_a_server_that_can_run_nothing_as_others(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "PROGRAM", "a-program-that-is-not-there")
    run = await in_declaw(http)
    assert (await run("id -u", user=NOBODY.pw_name)).json()["stdout"] == f"{os.geteuid()}\n"
    run = await in_miosa(http)
    answer = await run("id -u", user=NOBODY.pw_name)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "PERMISSION_DENIED")
    assert (await run("id -u", user=pwd.getpwuid(os.geteuid()).pw_name)).json()["stdout"] == f"{os.geteuid()}\n"


async def test_to_all_others_a_missing_directory_is_an_invalid_argument(
    http: httpx.AsyncClient, tmp_path: Path
) -> None:
    assert (NoDirectory.code, NoDirectory.status) == (sessions.Invalid.code, sessions.Invalid.status)
    answer = await http.post("/v1/sessions", json={"cwd": str(tmp_path / "none")})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid")
