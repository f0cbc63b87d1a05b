"""``sessions env declaw`` points an SDK at the user's own server."""

from __future__ import annotations

from pathlib import Path

import pytest
from server_process import TOKEN, server_process
from test_daytona_env import run

from sessions import Invalid
from sessions.cli.env import SYSTEMS


def test_its_two_variables(root: Path) -> None:
    with server_process(root) as server:
        done = run(root, "env", "declaw", "--token", TOKEN)
    assert done.returncode == 0, done.stderr
    domain = server.http.removeprefix("http://")
    assert done.stdout == f"export DECLAW_DOMAIN={domain}\nexport DECLAW_API_KEY={TOKEN}\n"


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("http://box", "box:80"),
        ("https://box", "box:443"),
        ("https://box:443", "box:443"),
    ],
)
def test_an_address_as_the_sdks_read_it(url: str, domain: str) -> None:
    assert SYSTEMS["declaw"](url, "key")["DECLAW_DOMAIN"] == domain


@pytest.mark.parametrize("url", ["https://box:8443", "http://box:443"])
def test_an_address_that_they_would_misread(url: str) -> None:
    with pytest.raises(Invalid, match="port 443"):
        SYSTEMS["declaw"](url, "key")
