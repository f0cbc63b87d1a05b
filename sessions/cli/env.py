"""`sessions env`: what points a program that was written for another system at our server."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click

from ..client.address import parse_url, place_of_server, read_token
from ..errors import Broken, Invalid
from .outlets import say
from .place import Place
from .starting import ensure_server

ANSWER_SECONDS: Final = 30.0


def daytona(url: str, token: str) -> Mapping[str, str]:
    return {"DAYTONA_API_URL": f"{url}/daytona/api", "DAYTONA_API_KEY": token}


def declaw(url: str, token: str) -> Mapping[str, str]:
    address = urlsplit(url)
    port = address.port or (443 if address.scheme == "https" else 80)
    if (address.scheme == "https") != (port == 443):
        raise Invalid(f"Declaw's SDKs speak TLS to port 443 alone, and plain HTTP to all others: {url} is neither")
    host = f"[{address.hostname}]" if ":" in (address.hostname or "") else address.hostname
    return {"DECLAW_DOMAIN": f"{host}:{port}", "DECLAW_API_KEY": token}


def miosa(url: str, token: str) -> Mapping[str, str]:
    # The SDK prefers an access token where there is one, which would be the real service's.
    return {"MIOSA_BASE_URL": f"{url}/miosa", "MIOSA_API_KEY": token, "MIOSA_ACCESS_TOKEN": token}


def nullspace(url: str, token: str) -> Mapping[str, str]:
    return {"NULLSPACE_API_URL": f"{url}/nullspace", "NULLSPACE_API_KEY": token}


def superserve(url: str, token: str) -> Mapping[str, str]:
    """Has the server open a front, which is the only way for clients that run commands at a name of their own."""
    if url.startswith("https:"):
        raise Invalid(
            f"Superserve's SDKs would trust no certificate but the front's, so not that of {url}: on the server's machine, "
            "leave out --url and $SESSIONS_URL"
        )
    answer = ask("POST", f"{url}/server/superserve-front", None, {"Authorization": f"Bearer {token}"})
    if answer.status_code != 200:
        raise Broken(f"the server at {url} can't open a front for Superserve's SDKs: {message_of(answer)}")
    front = answer.json()
    if not Path(front["certificate"]).exists():
        raise Invalid(
            f"the server at {url} is on another machine, where alone its front for Superserve's SDKs can be used"
        )
    direct = ",".join(dict.fromkeys([urlsplit(url).hostname or "127.0.0.1", "127.0.0.1", "localhost"]))
    return {
        "SUPERSERVE_BASE_URL": f"{url}/superserve",
        "SUPERSERVE_API_KEY": token,
        # Some programs read the one spelling, some the other, and some prefer what is there already.
        "HTTPS_PROXY": front["url"],
        "https_proxy": front["url"],
        "NO_PROXY": direct,
        "no_proxy": direct,
        "SSL_CERT_FILE": front["certificate"],
        "NODE_EXTRA_CA_CERTS": front["certificate"],
        "NODE_USE_ENV_PROXY": "1",
    }


def message_of(answer: Any) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"it answers {answer.status_code}"


SYSTEMS: Final[Mapping[str, Callable[[str, str], Mapping[str, str]]]] = {
    "daytona": daytona,
    "declaw": declaw,
    "miosa": miosa,
    "nullspace": nullspace,
    "superserve": superserve,
}


@click.command("env")
@click.argument("system", type=click.Choice(list(SYSTEMS)))
@click.pass_obj
def env(place: Place, /, system: str) -> None:
    """Print what points programs that were written for another system at the server, as lines for a shell.

    \b
        eval "$(sessions env daytona)"

    Starts the server if there is none, and lets it listen on this machine with TCP if it does not, or only with TLS. The lines
    hold its token.
    """
    url, token = find_server(place)
    for name, value in SYSTEMS[system](url, token).items():
        say(f"export {name}={shlex.quote(value)}")


def find_server(place: Place) -> tuple[str, str]:
    """Its URL over TCP, and a token that it accepts."""
    url = place.url
    if url is None or url.startswith("unix://"):
        ensure_server(place)
        url = ask_for_url(url.removeprefix("unix://") if url is not None else str(place.socket))
    url = parse_url(url).url.rstrip("/")
    # Another server is not told what lets in to ours: where "localhost" is two, ours is asked by its own address.
    ours = place_of_server(place.root, url)
    token = place.token or (read_token(place.root) if ours is not None else None)
    url = ours or url
    if token is None or not is_accepted(url, token):
        raise Invalid(
            f"the server at {url} was started with a token of its own: say it with $SESSIONS_TOKEN or --token"
        )
    return url, token


def ask_for_url(socket: str) -> str:
    answer = ask("POST", "http://localhost/server/loopback", socket)
    if answer.status_code != 200:
        raise Broken(f"the server at {socket} does not listen with TCP and can't be made to ({answer.status_code}): "
                     "end it, and start it again")  # fmt: skip
    return str(answer.json()["url"])


def is_accepted(url: str, token: str) -> bool:
    answer = ask("GET", f"{url}/v1/health", None, {"Authorization": f"Bearer {token}"})
    return int(answer.status_code) != 401


def ask(method: str, url: str, socket: str | None, headers: Mapping[str, str] | None = None) -> Any:
    import ssl

    import httpx

    try:
        # $SSL_CERT_FILE counts, but only where there is TLS: it may name the file of a front that has gone.
        tls = True if url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        transport = httpx.HTTPTransport(verify=tls, uds=socket)
        with httpx.Client(transport=transport, timeout=ANSWER_SECONDS, trust_env=False) as client:
            return client.request(method, url, headers=headers)
    except (httpx.HTTPError, OSError) as error:
        raise Broken(f"the server at {socket or url} does not answer: {error}") from error
