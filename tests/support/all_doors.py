"""All doors of one server, each spoken to by its own SDK in a separate process, side by side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from install_sdks import PLACE, is_installed
from server_process import TOKEN, server_process

from sessions.cli.env import SYSTEMS

CHECKS: Final = Path(__file__).parent.parent / "sdks" / "checks"
DOORS: Final = ("native", *SYSTEMS)
ENDED_SECONDS: Final = 250

Results = Mapping[str, Any]


def python_of(door: str) -> Path:
    return Path(sys.executable) if door == "native" else PLACE / door / "bin" / "python"


def is_there(door: str) -> bool:
    return door == "native" or is_installed(door)


def variables_of(door: str, url: str) -> Mapping[str, str]:
    """What points that door's SDK at the server, and nowhere else."""
    if door == "native":
        return {"CONTRACT_URL": url, "CONTRACT_TOKEN": TOKEN}
    return SYSTEMS[door](url, TOKEN)


class Clients:
    """Programs that run one door's client each."""

    def __init__(self, url: str, place: Path) -> None:
        self.url = url
        self.place = place

    def start(self, door: str, *arguments: str) -> subprocess.Popen[str]:
        home = self.place / "home"
        home.mkdir(exist_ok=True)
        own = {"HOME": str(home), "XDG_CONFIG_HOME": str(home)}
        with self.log_of(door, *arguments).open("w") as log:
            return subprocess.Popen(
                [python_of(door), CHECKS / f"contract_{door}.py", *arguments],
                env={**os.environ, **own, **variables_of(door, self.url)},
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def log_of(self, door: str, *arguments: str) -> Path:
        return self.place / f"{door}-{arguments[0]}-{arguments[-1]}.log"

    def run(self, calls: list[tuple[str, ...]]) -> dict[tuple[str, ...], Results]:
        """What they find out, side by side; by the call, which is a door and the program's arguments."""
        processes = {call: self.start(*call) for call in calls}
        try:
            found = {}
            for call, process in processes.items():
                printed, _ = process.communicate(timeout=ENDED_SECONDS)
                assert process.returncode == 0, f"{call}: {self.log_of(*call).read_text()}"
                found[call] = json.loads(printed)
            return found
        finally:
            for process in processes.values():
                process.kill()
                process.wait()


@contextmanager
def all_doors(place: Path) -> Iterator[Clients]:
    with server_process(place / "root") as server:
        yield Clients(server.http, place)
