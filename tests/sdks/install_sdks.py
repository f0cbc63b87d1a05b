"""Install what `sdks.txt` names, below ``.sdks`` in the repository. What can't be had is said, and its tests are skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
PLACE = HERE.parent.parent / ".sdks"
STAMP = ".installed"


def lines() -> dict[str, str]:
    """What is wanted, by name."""
    found = {}
    for line in (HERE / "sdks.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, rest = line.split(maxsplit=1)
            found[name] = " ".join(rest.split())
    return found


def is_installed(name: str) -> bool:
    stamp = PLACE / name / STAMP
    return stamp.exists() and stamp.read_text() == lines()[name]


def install(name: str, wanted: str) -> None:
    place = PLACE / name
    shutil.rmtree(place, ignore_errors=True)
    tool, *packages = wanted.split()
    if tool == "pip":
        venv.create(place, with_pip=False)
        pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "install"]
        command = [*pip, "-qq", "--disable-pip-version-check", *packages]
    else:
        place.mkdir(parents=True)
        (place / "package.json").write_text("{}\n")
        quiet = ["--no-audit", "--no-fund", "--loglevel=error", "--ignore-scripts"]
        command = ["npm", "install", "--prefix", str(place), *quiet, *packages]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, env={**os.environ, "PIP_NO_INPUT": "1"})
    (place / STAMP).write_text(wanted)


def provide(name: str, wanted: str) -> None:
    if is_installed(name):
        return
    print(f"installing {wanted.partition(' ')[2]} into .sdks/{name}", flush=True)
    try:
        install(name, wanted)
    except (OSError, subprocess.CalledProcessError) as problem:
        print(f"!!! {name} IS NOT INSTALLED ({problem}): the tests that need it are SKIPPED", file=sys.stderr)


def main() -> None:
    # Side by side: they wait for the network most of the time.
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(provide, *zip(*lines().items(), strict=True)))


if __name__ == "__main__":
    main()
