"""What `sessions serve` says of its doors is true: each line that it prints, run in a shell, points that system's SDK at it."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
import trustme
from all_doors import is_there, python_of

from sessions import Invalid
from sessions.cli.env import SYSTEMS
from sessions.cli.place import Place
from sessions.cli.serve import announce, env_command
from sessions.server.listening import Addresses
from sessions.server.lock import FILE
from sessions.server.serving import DOORS

pytestmark = pytest.mark.timeout(300)  # of a loaded machine

SESSIONS: Final = Path(sys.executable).with_name("sessions")
DOCS: Final = Path(__file__).parent.parent.parent / "docs"
TOKEN: Final = "a-token-of-its-own"
LINE: Final = re.compile(r'  eval "\$\(sessions .*env (\w+)\)"\n')
PROGRAMS: Final = {
    "daytona": "from daytona import Daytona; s = Daytona().create(); found = s.process.exec('echo hi').result; s.delete()",
    "declaw": "from declaw import Sandbox; s = Sandbox.create(); found = s.commands.run('echo hi').stdout; s.kill()",
    "miosa": "from miosa import Miosa; s = Miosa().computers.create(name='x'); found = s.bash('echo hi').output; s.destroy()",
    "nullspace": "from nullspace import Machine; s = Machine.create(); "
    "found = s.commands.run_streaming('echo hi', shell=True).stdout; s.kill()",
    "superserve": "from superserve import Sandbox; s = Sandbox.create(name='x'); "
    "found = s.commands.run('echo hi').stdout; s.kill()",
}
"""Each runs a command; Nullspace's over a WebSocket."""
NOBODY: Final = "http://127.0.0.1:1"
OTHERS: Final = {
    "DAYTONA_SERVER_URL": NOBODY,
    "DAYTONA_API_URL": NOBODY,
    "DAYTONA_API_KEY": "x",
    "DECLAW_DOMAIN": "127.0.0.1:1",
    "DECLAW_API_KEY": "x",
    "MIOSA_BASE_URL": NOBODY,
    "MIOSA_ACCESS_TOKEN": "x",
    "NULLSPACE_API_URL": NOBODY,
    "NULLSPACE_BASE_URL": NOBODY,
    "NULLSPACE_TOKEN": "x",
    "SUPERSERVE_BASE_URL": NOBODY,
    "SUPERSERVE_API_KEY": "ss_live_usw_x",
    "HTTPS_PROXY": NOBODY,
    "NO_PROXY": "example.com,127.0.0.1,::1",
}
"""What pointed them elsewhere before: never at the services themselves."""
ADDRESSES: Final = {
    "daytona": "DAYTONA_API_URL",
    "declaw": "DECLAW_DOMAIN",
    "miosa": "MIOSA_BASE_URL",
    "nullspace": "NULLSPACE_API_URL",
    "superserve": "SUPERSERVE_BASE_URL",
}


def clean(**more: str) -> dict[str, str]:
    names = ("SESSIONS_", *(f"{system.upper()}_" for system in SYSTEMS))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    return {**kept, "PATH": f"{SESSIONS.parent}:{os.environ['PATH']}", **more}


@contextmanager
def serving(root: Path, *options: str) -> Iterator[dict[str, str]]:
    """A server that was started as people do; the lines that it prints, by system."""
    command = [str(SESSIONS), "--root", str(root), "serve", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=clean()) as server:
        try:
            yield lines_of(server)
        finally:
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=30)
    assert server.returncode == 0


def lines_of(server: subprocess.Popen[str]) -> dict[str, str]:
    assert server.stderr is not None
    found: dict[str, str] = {}
    said = ""
    for line in server.stderr:
        said += line
        if match := LINE.fullmatch(line):
            found[match[1]] = line.strip()
        if len(found) == len(SYSTEMS):
            return found
    raise AssertionError(said)


def in_a_shell(system: str, line: str, variables: Mapping[str, str]) -> str:
    """What a program of that system prints, in a shell that has run this line."""
    name = ADDRESSES[system]
    # An SDK that is still pointed at nobody would try for a minute.
    script = f'{line}; [[ ${name} != "{OTHERS[name]}" ]] && "$1" -c "$2; print(found, end=chr(0))"'
    done = subprocess.run(
        ["bash", "-c", script, "bash", str(python_of(system)), PROGRAMS[system]],
        env=variables, cwd=variables["HOME"], capture_output=True, text=True, timeout=200, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.stdout if done.returncode == 0 else done.stdout + done.stderr


def check_all(lines: Mapping[str, str], home: Path, **more: str) -> None:
    home.mkdir(exist_ok=True)
    variables = clean(**OTHERS, HOME=str(home), XDG_CONFIG_HOME=str(home), **more)
    systems = [system for system in SYSTEMS if is_there(system)]
    if not systems:
        pytest.skip("NO SDK IS INSTALLED: make sdks")
    with ThreadPoolExecutor(len(systems)) as pool:
        found = dict(zip(systems, pool.map(lambda one: in_a_shell(one, lines[one], variables), systems), strict=True))
    assert found == dict.fromkeys(systems, "hi\n\0")


@pytest.fixture
def certificate(tmp_path: Path) -> Sequence[str]:
    """Options that have a server speak TLS, with a certificate that no SDK trusts."""
    issued = trustme.CA().issue_cert("box.example")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    return "--certfile", str(tmp_path / "cert.pem"), "--keyfile", str(tmp_path / "key.pem")


def test_a_server_on_its_unix_socket(root: Path, tmp_path: Path) -> None:
    with serving(root) as lines:
        assert lines["daytona"] == f'eval "$(sessions --root {root} env daytona)"'
        check_all(lines, tmp_path / "home")
        assert len(json.loads((root / FILE).read_text())["urls"]) == 1  # that all of them have asked for


def test_a_server_for_other_machines(root: Path, tmp_path: Path, certificate: Sequence[str]) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    options = ["--bind", "0.0.0.0:0", "--bind", "[::1]:0", *certificate, "--token-file", str(token)]
    with serving(root, *options) as lines:
        check_all(lines, tmp_path / "home", SESSIONS_TOKEN=TOKEN)
        done = subprocess.run(
            [str(SESSIONS), "--root", str(root), "env", "miosa"], env=clean(), capture_output=True, text=True
        )
        assert (done.returncode, done.stdout, "SESSIONS_TOKEN" in done.stderr) == (2, "", True)


def test_a_server_with_an_ipv6_address_alone(root: Path, tmp_path: Path) -> None:
    socket = tmp_path / "other place" / "a.sock"
    socket.parent.mkdir()
    with serving(root, "--bind", "[::1]:0", "--unix", str(socket), "--superserve-front") as lines:
        assert f"'unix://{socket}' env " in lines["miosa"]
        check_all(lines, tmp_path / "home")


def test_a_server_without_a_unix_socket(root: Path, tmp_path: Path) -> None:
    with serving(root, "--no-unix", "--bind", "0.0.0.0:0", "--insecure") as lines:
        assert "--url http://127.0.0.1:" in lines["miosa"]
        check_all(lines, tmp_path / "home")


def test_no_server_yet(root: Path, tmp_path: Path) -> None:
    """Five who ask at once for one that is not there get the same."""
    try:
        check_all({system: f'eval "$(sessions --root {root} env {system})"' for system in SYSTEMS}, tmp_path / "home")
    finally:
        end(json.loads((root / FILE).read_text())["pid"])


def end(pid: int) -> None:
    """A server that is nobody's child."""
    with open(os.pidfd_open(pid)) as handle:
        os.kill(pid, signal.SIGTERM)
        ended, _, _ = select.select([handle], [], [], 30)
    assert ended


def run(root: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [str(SESSIONS), "--root", str(root), *arguments]
    return subprocess.run(command, env=clean(**more), capture_output=True, text=True, timeout=60)


def test_json_is_all_that_is_told(root: Path) -> None:
    command = [str(SESSIONS), "--root", str(root), "serve", "--json", "--bind", "127.0.0.1:0", "--bind", "[::1]:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean()) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        server.send_signal(signal.SIGTERM)
        rest, log = server.communicate(timeout=30)
    told = json.loads(line)
    assert (rest, "eval" in log) == ("", False)
    assert [url.rpartition(":")[0] for url in told["urls"]] == ["http://127.0.0.1", "http://[::1]"]
    assert told["unix"] == str(root / "serve.sock")
    assert told["doors"] == ["/v1", *(f"/{system}" for system in SYSTEMS)]


def test_the_lines_are_those_of_the_documentation() -> None:
    page = (DOCS / "cli.md").read_text()
    shown = "\n".join(announce(list(DOORS), "sessions env", has_own_token=False, has_front=False))
    assert f"```text\n{shown}\n```" in page
    section = page.partition("## `env`")[2]
    for system, variables in SYSTEMS.items():
        assert f'eval "$(sessions env {system})"' in section
        names = variables("http://127.0.0.1:80", "x") if system != "superserve" else {"SUPERSERVE_BASE_URL": ""}
        (row,) = [row for row in section.splitlines() if row.startswith(f"| [`{system}`](doors/{system}.md) |")]
        assert all(f"`{name}`" in row for name in names)


def test_lines_name_what_would_not_be_found() -> None:
    def command(environ: Mapping[str, str], root: str | None, addresses: Addresses, is_elsewhere: bool) -> str:
        return env_command(Place(root, None, None, environ), addresses, is_elsewhere)

    usual = Addresses([], Path("/x/serve.sock"))
    assert command({}, None, usual, False) == "sessions env"
    assert command({}, "/a b", usual, False) == "sessions --root '/a b' env"
    assert command({"SESSIONS_URL": "http://other", "HOME": "/h"}, None, usual, False).startswith("sessions --root ")
    assert command({}, None, usual, True) == "sessions --url unix:///x/serve.sock env"
    assert (
        command({}, None, Addresses(["https://a:1", "http://[::]:2"], None), True)
        == "sessions --url 'http://[::1]:2' env"
    )
    told = list(announce(["/v1", "/daytona"], "sessions env", has_own_token=True, has_front=True))
    assert told[1] == "  with this server's token in $SESSIONS_TOKEN:"


def test_certificates_that_have_gone_are_not_missed(root: Path) -> None:
    """A shell that was pointed at a front still names its file when the server is another one."""
    try:
        done = run(root, "env", "superserve", SSL_CERT_FILE="/nowhere/superserve-ca.pem")
        assert (done.returncode, done.stderr) == (0, "")
    finally:
        end(json.loads((root / FILE).read_text())["pid"])


def test_our_token_is_not_told_to_others(root: Path) -> None:
    root.mkdir()
    (root / "token").write_text("secret\n")
    done = run(root, "--url", "http://192.0.2.1:9", "env", "daytona")  # an address of nobody (RFC 5737)
    assert (done.returncode, "SESSIONS_TOKEN" in done.stderr) == (2, True)  # it did not even try


def test_a_front_is_for_plain_addresses() -> None:
    with pytest.raises(Invalid, match="the front's"):
        SYSTEMS["superserve"]("https://127.0.0.1:9", "x")
