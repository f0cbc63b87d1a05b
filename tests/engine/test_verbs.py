"""The verbs are the same everywhere: an engine's, a client's on trio, a client's on asyncio."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest
from server_process import TOKEN, ServerProcess, server_process
from verbs import CHECKS, Check, Subject

import sessions

each_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with server_process(tmp_path_factory.mktemp("server") / "root") as server:
        yield server


@each_check
async def test_engine(engine: sessions.Engine, check: Check) -> None:
    await check(Subject(engine))


@each_check
async def test_client_on_trio(server: ServerProcess, check: Check) -> None:
    async with sessions.connect(server.unix) as client:
        await check(Subject(client))


@each_check
def test_client_on_asyncio(server: ServerProcess, check: Check) -> None:
    async def main() -> None:
        async with sessions.connect(server.http, TOKEN) as client:
            await check(Subject(client))

    anyio.run(main, backend="asyncio")
