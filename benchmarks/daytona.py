"""The scheme of Daytona's session commands, built from its description to have something to compare with.

One shell for the session. Each command is sent to it as a wrapper: two named pipes, beside each a ``while read`` loop
that puts a mark of three bytes before every line and appends it to the one log, the command's text sourced from a file,
and its exit code written to a file once both loops have ended. Who waits looks for that file every 50 ms.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from types import TracebackType

POLL_SECONDS = 0.05
GIVE_UP_SECONDS = 60.0

WRAPPER = r"""
mkfifo {at}/out {at}/err
while IFS= read -r line || [ -n "$line" ]; do printf '\001\001\001%s\n' "$line"; done < {at}/out >> {at}/log &
out_reader=$!
while IFS= read -r line || [ -n "$line" ]; do printf '\002\002\002%s\n' "$line"; done < {at}/err >> {at}/log &
err_reader=$!
. {at}/text > {at}/out 2> {at}/err < /dev/null
code=$?
wait "$out_reader" "$err_reader"
rm -f {at}/out {at}/err
echo "$code" > {at}/code.part && mv {at}/code.part {at}/code
"""


class LabelledShell:
    """One shell that runs commands by the scheme above; blocking, as only its time is of interest."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.commands = 0
        self.shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> LabelledShell:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        assert self.shell.stdin is not None
        self.shell.stdin.close()
        self.shell.wait()

    def run(self, text: str, *, poll_seconds: float = POLL_SECONDS) -> tuple[int, bytes]:
        """Exit code and the log as it is stored, marks and all."""
        self.commands += 1
        at = self.place / str(self.commands)
        at.mkdir(parents=True)
        (at / "text").write_text(text + "\n")
        (at / "log").touch()
        assert self.shell.stdin is not None
        self.shell.stdin.write(WRAPPER.format(at=at).encode())
        self.shell.stdin.flush()
        give_up_at = time.monotonic() + GIVE_UP_SECONDS
        while not (at / "code").exists():
            if time.monotonic() > give_up_at:
                raise RuntimeError(f"no exit code after {GIVE_UP_SECONDS:g} s: {text!r}")
            time.sleep(poll_seconds)
        return int((at / "code").read_text()), (at / "log").read_bytes()
