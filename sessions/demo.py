"""The main job, on real input: ``python -m sessions.demo``.

Three sessions, each with a directory, exports and functions of its own. One writes a small Python package, tests it and
builds it into a wheel; one compresses and checksums packages of the standard library; one compiles real modules, of which
one is broken half-way, and runs a job that never ends. The seven jobs run side by side and are followed live. Then the
engine closes, and a second one on the same root reads what the first has left. Nothing needs the network.
"""

from __future__ import annotations

import argparse
import os
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Final

import attrs
import psutil
import trio
from rich.console import Console
from rich.table import Table
from rich.text import Text

import sessions

COLOURS: Final = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta")
BARS: Final = {"stdout": "│", "stderr": "║", "dropped": "┊"}
WIDTH: Final = 80

# The package that is built. Its backend makes a wheel with nothing but the standard library and is called as a build front
# end would call it, so that this works in any environment and without a network.
PACKAGE: Final = {
    "pyproject.toml": """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
""",
    "tally/__init__.py": '''\
"""Counts words."""
import collections, re

def tally(text):
    return collections.Counter(re.findall(r"[a-z]+", text.lower()))
''',
    "tally/__main__.py": """\
import pathlib, sys
from . import tally

for path in map(pathlib.Path, sys.argv[1:]):
    words = tally(path.read_text())
    (word, count), = words.most_common(1)
    print(f"{path.name:20}{words.total():7} words, {count:4} x {word!r}", flush=True)
""",
    "test_tally.py": """\
import unittest
from tally import tally

class TallyTest(unittest.TestCase):
    def test_counts(self):
        self.assertEqual(tally("to be, or not to be")["be"], 2)

    def test_case_does_not_matter(self):
        self.assertEqual(tally("Be be BE"), {"be": 3})

    def test_nothing(self):
        self.assertFalse(tally(" 1 2 3 "))
""",
    "backend.py": """\
import base64, hashlib, os, pathlib, zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    version = os.environ["VERSION"]
    name, info = f"tally-{version}-py3-none-any.whl", f"tally-{version}.dist-info"
    files = {str(path): path.read_text() for path in sorted(pathlib.Path("tally").glob("*.py"))}
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\\nName: tally\\nVersion: {version}\\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\\nGenerator: demo\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    record = ""
    with zipfile.ZipFile(pathlib.Path(directory, name), "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, text in files.items():
            print("adding", path, flush=True)
            wheel.writestr(path, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
            record += f"{path},sha256={digest},{len(text.encode())}\\n"
        wheel.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\\n")
    return name
""",
}

# What each session is told first. It stays: the jobs below use these directories, variables and functions.
SETUP: Final = {
    "build": """
        mkdir -p package/tally package/dist && cd package
        export VERSION=1.2.3 PYTHONDONTWRITEBYTECODE=1
        py() { "$PYTHON" -u "$@"; }
    """,
    "archive": """
        mkdir -p archives && cd archives
        export LEVEL=9
        pack() {
            echo "$(find "$STDLIB/$1" -name '*.py' | wc -l) modules in $1"
            tar -C "$STDLIB" --exclude=__pycache__ -cf "$1.tar" "$1"
            gzip -k -"$LEVEL" "$1.tar"
            echo "$(stat -c %s "$1.tar") bytes, compressed $(stat -c %s "$1.tar.gz")"
            sha256sum "$1.tar.gz" >"$1.sha256" && echo "sha256 $(head -c 16 "$1.sha256")..."
            gzip -t "$1.tar.gz" && sha256sum -c "$1.sha256"
        }
    """,
    "nightly": """
        mkdir -p modules && cd modules
        cp "$STDLIB"/{ast,bisect,calendar,csv,enum,fractions,heapq,textwrap}.py .
        sed '/^def dis(/q' "$STDLIB/dis.py" >dis.py    # broken: cut off where a function begins
        export PYTHONDONTWRITEBYTECODE=1
        check() { "$PYTHON" -c 'import sys; compile(open(sys.argv[1]).read(), sys.argv[1], "exec")' "$1"; }
    """,
}


@attrs.frozen
class Job:
    session: str
    name: str
    text: str
    timeout: float | None = None


JOBS: Final = (
    Job("build", "tests", "py -m unittest -v"),
    Job(
        "build",
        "wheel",
        """py -c 'import backend; print("built", backend.build_wheel("dist"))' &&
        PYTHONPATH=$(echo dist/*.whl) py -P -m tally "$STDLIB"/{argparse,typing,zipfile,tarfile,inspect}.py""",
    ),
    Job("archive", "asyncio", "pack asyncio"),
    Job("archive", "email", "pack email"),
    Job("archive", "json", "pack json"),
    Job("nightly", "compile", 'for file in *.py; do check "$file" || exit 3; echo "$file is fine"; done'),
    Job("nightly", "ticker", 'while :; do echo "tick $((++ticks))"; sleep 0.4; done', timeout=2),
)


class LivePrinter:
    """Prints what commands write, whole lines, each behind its command's name in its command's colour."""

    def __init__(self, console: Console, names: dict[str, str]) -> None:
        self._console = console
        self._names = names
        self._colours = {command_id: COLOURS[n % len(COLOURS)] for n, command_id in enumerate(names)}
        self._unfinished: dict[tuple[str, str], bytes] = {}
        self.seen: dict[str, bytes] = dict.fromkeys(names, b"")
        """All that was written, by command."""

    def show(self, record: sessions.Record) -> None:
        key = record.command_id, record.stream
        self.seen[record.command_id] += record.data
        *lines, rest = (self._unfinished.get(key, b"") + record.data).split(b"\n")
        for line in lines:
            self._print(*key, line)
        self._unfinished[key] = rest

    def flush(self) -> None:
        for key, line in self._unfinished.items():
            if line:
                self._print(*key, line)
        self._unfinished.clear()

    def _print(self, command_id: str, stream: str, line: bytes) -> None:
        text = Text(f"{self._names[command_id]:>8} {BARS[stream]} ", style=self._colours[command_id])
        text.append(line.decode("utf-8", "replace"), style="default")
        self._console.print(text, no_wrap=True, overflow="ellipsis")


async def work(engine: sessions.Engine, directory: Path, console: Console) -> dict[str, bytes]:
    """Does all jobs side by side. Returns what each command wrote, as it was seen live."""
    env = {"PYTHON": sys.executable, "STDLIB": sysconfig.get_path("stdlib")}
    opened = {name: await engine.create_session(name, cwd=directory, env=env) for name in SETUP}
    for name, text in SETUP.items():
        await opened[name].run(text, check=True, labels={"job": "setup"})
    files = "\n".join(f"cat >{name} <<'END'\n{text}END" for name, text in PACKAGE.items())
    await opened["build"].run(files, check=True, labels={"job": "write"})

    commands = [
        await opened[job.session].run_async(job.text, timeout=job.timeout, labels={"job": job.name}) for job in JOBS
    ]
    printer = LivePrinter(console, {command.id: command.labels["job"] for command in commands})
    async with sessions.follow_all(commands) as records:
        async for _, record in records:
            printer.show(record)
    printer.flush()

    for name, session in opened.items():
        result = await session.run('echo "${PWD##*/} and knows $(declare -F py pack check)"', labels={"job": "state"})
        console.print(f"{name:>8} │ is still in {result.stdout.strip()}()")
    return printer.seen


async def look_back(engine: sessions.Engine, seen: dict[str, bytes], console: Console) -> bool:
    """Reads the logs by id and shows what there was. Returns whether they are what was seen live."""
    equal = True
    for command_id, live in seen.items():
        command = await engine.get_command(command_id)
        logs = await command.logs()
        equal = equal and logs.output == live
        if command.exit_code:
            last = (await command.logs(tail=1)).output.decode("utf-8", "replace").strip()
            console.print(
                f"{command_id} ({command.labels['job']}) wrote last: {last}", overflow="ellipsis", no_wrap=True
            )
    verdict = "the same bytes as seen live" if equal else "NOT what was seen live"
    console.print(f"{len(seen)} logs read by id: {verdict}\n")

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("command", "session", "job"):
        table.add_column(title, no_wrap=True)
    for title in ("exit", "reason", "seconds", "stdout", "stderr"):
        table.add_column(title, justify="left" if title == "reason" else "right", no_wrap=True)
    names = {session.id: session.name for session in await engine.list_sessions()}
    for command in await engine.list_commands():
        if command.session_id in {command_id.partition("-")[0] for command_id in seen}:
            table.add_row(
                command.id,
                names[command.session_id],
                command.labels["job"],
                str(command.exit_code),
                command.reason,
                f"{command.duration_seconds:.3f}",
                str(command.stdout_bytes),
                str(command.stderr_bytes),
                style="red" if command.exit_code else None,
            )
    console.print(table)
    return equal


def processes_of(session_ids: set[str]) -> list[psutil.Process]:
    """What still runs of these sessions on this machine, and whatever else this program has started."""
    left = psutil.Process().children(recursive=True)
    for process in psutil.process_iter(["environ"]):
        if (process.info["environ"] or {}).get("SESSIONS_SESSION_ID") in session_ids:
            left.append(process)
    return left


async def main(root: Path, directory: Path, console: Console) -> int:
    console.rule(f"{len(JOBS)} jobs side by side in {len(SETUP)} sessions (│ stdout ║ stderr)", align="left")
    async with sessions.open_engine(root) as engine:
        seen = await work(engine, directory, console)
    console.rule("the engine is closed; a second one reads what it has left", align="left")
    async with sessions.open_engine(root) as engine:
        equal = await look_back(engine, seen, console)
    left = processes_of({command_id.partition("-")[0] for command_id in seen})
    console.print(f"\nprocesses left: {left or 'none'}")
    return 0 if equal and not left else 1


def run() -> int:
    parser = argparse.ArgumentParser(prog="python -m sessions.demo", description="The main job, on real input.")
    parser.add_argument("--root", type=Path, help="state directory to keep (default: a temporary one)")
    root = parser.parse_args().root
    console = Console(highlight=False, markup=False, width=min(WIDTH, Console().width), legacy_windows=False)
    with tempfile.TemporaryDirectory(prefix="sessions-demo-") as directory:
        os.mkdir(f"{directory}/work")
        return trio.run(main, root or Path(directory, "root"), Path(directory, "work"), console)


if __name__ == "__main__":
    sys.exit(run())
