"""What users and programs bring along to a shell: startup files in the environment, and questions at a terminal."""

from __future__ import annotations

import http.server
import shlex
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from conftest import SHELLS

import sessions

AT_ONCE_SECONDS = 10
"""Far less than anybody would wait for an answer, far more than a busy machine needs."""

NOISE = """
echo from the startup file
echo from the startup file >&2
PS1='startup> '
PROMPT_COMMAND='echo prompted'
export STARTED=yes
set -e
"""


@pytest.mark.parametrize("shell", SHELLS)
async def test_startup_files_that_the_environment_names_are_not_read(
    engine: sessions.Engine, tmp_path: Path, shell: str
) -> None:
    names = (".bashrc", ".bash_profile", ".profile", ".zshenv", ".zshrc", ".zprofile", ".zlogin", ".inputrc")
    for name in names:
        (tmp_path / name).write_text(NOISE)
    env = {
        "HOME": str(tmp_path),
        "ZDOTDIR": str(tmp_path),
        "BASH_ENV": str(tmp_path / ".bashrc"),
        "ENV": str(tmp_path / ".profile"),
        "PS1": "inherited> ",
        "PS4": "inherited ",
        "PROMPT_COMMAND": "echo prompted",
        "TERM": "xterm-256color",
    }
    session = await engine.create_session(shell=shell, env=env)
    for in_shell in (True, False):
        with trio.fail_after(AT_ONCE_SECONDS):
            command = await session.run_async('false; echo "on [$STARTED]"; (exit 3)', in_shell=in_shell)
            await command.wait()
        assert (command.exit_code, (await command.logs()).output) == (3, b"on []\n")
    # Who wants them, says so.
    await session.run(f"cd {shlex.quote(str(tmp_path))}; . ./.profile; set +e")
    wanted = await session.run('echo "on [$STARTED]"; (exit 3)')
    assert (wanted.exit_code, wanted.stdout) == (3, "on [yes]\n")


# Questions at a terminal


class Forbidding(http.server.BaseHTTPRequestHandler):
    """A repository that wants to know who asks."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="private"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def forbidden() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Forbidding)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/private.git"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


ASKING = {
    "git": ("git clone {0} clone", "could not read Username"),
    "ssh-keygen": ("ssh-keygen -q -t ed25519 -N secret -f key && ssh-keygen -y -f key", "passphrase"),
    "openssl": ("openssl genrsa -aes128 -passout pass:secret -out key 2>/dev/null && openssl rsa -in key", "key"),
}
"""What they run, and what they complain about."""


@pytest.mark.parametrize("in_shell", [True, False])
@pytest.mark.parametrize("program", ASKING)
async def test_a_program_that_asks_for_a_password_ends_at_once(
    engine: sessions.Engine, tmp_path: Path, forbidden: str, program: str, in_shell: bool
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is NOT INSTALLED")
    text, complaint = ASKING[program]
    env = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "no_proxy": "*", "LC_ALL": "C"}
    session = await engine.create_session(cwd=tmp_path, env=env)
    await session.run("unset GIT_ASKPASS SSH_ASKPASS SUDO_ASKPASS DISPLAY")
    command = await session.run_async(text.format(forbidden), in_shell=in_shell)
    with trio.fail_after(AT_ONCE_SECONDS):
        await command.wait()
    assert command.reason == "exit"
    assert command.exit_code not in (0, None)
    assert complaint in (await command.logs()).stderr.decode()
    assert (await session.run("echo alive")).stdout == "alive\n"
