"""One scenario for all doors, and what each door's client must be able to do for it. Runs where an SDK is installed, and knows none.

``python contract_DOOR.py scenario PLACE sync`` prints what came out, as JSON; ``... streams PLACE NUMBER ALL`` what so many streams
told, which go on when all of all doors have been heard.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from contract_writer import command_of

Found = dict[str, Any]
See = Callable[[str, str], None]
"""Is told a stream, and a piece of what was written to it."""
STEP_SECONDS = 60
STREAMS_SECONDS = 220
NAME = Path(sys.argv[0]).stem.removeprefix("contract_")
"""Of the door."""


class NoCall(Exception):
    """The SDK has no call for this."""


class Ended(NamedTuple):
    """How a command ended, and what it had written."""

    stdout: str
    stderr: str
    exit_code: int


class Door:
    """A client of one door, with a space of its own: what the scenario asks for, said in an SDK's words."""

    tells_when_all_is_over = True
    """Whether a command that is out of time is answered only when nothing is left of it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    async def call(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """The result of a method that blocks in one client and is awaited in the other."""
        if self.kind == "sync":
            return await asyncio.to_thread(method, *arguments, **options)
        return await method(*arguments, **options)

    async def __aenter__(self) -> Door:
        raise NotImplementedError

    async def __aexit__(self, *exception: object) -> None:
        raise NotImplementedError

    async def run(self, text: str, timeout: int | None = None) -> Ended:
        """Wait for it."""
        raise NotImplementedError

    async def stream(self, text: str, see: See) -> int:
        """Be told what it writes while it runs; its exit code."""
        raise NotImplementedError

    async def start(self, text: str) -> Any:
        """Start it, and go on; what it is known by."""
        raise NotImplementedError

    async def wait(self, command: Any) -> Ended:
        raise NotImplementedError

    async def logs(self, command: Any) -> tuple[str, str]:
        """Of a command that has ended: its stdout and its stderr."""
        raise NotImplementedError

    async def kill(self, command: Any) -> None:
        raise NotImplementedError

    async def feed(self, text: str, lines: list[str]) -> Ended:
        """Start it, type these lines, and wait."""
        raise NotImplementedError

    async def ask_for_nobody(self) -> None:
        """Ask for a command that there never was."""
        raise NotImplementedError

    async def ask_for_nowhere(self) -> None:
        """Ask for a space that there never was."""
        raise NotImplementedError


class Scenario:
    """The steps, each of which returns what the doors are compared by."""

    def __init__(self, door: Door, place: Path) -> None:
        self.door = door
        self.gate = place / f"{NAME}-{door.kind}"
        """A file, which commands wait for, or make."""
        self.nap = f"sleep 8{os.getpid():08}"
        """A command that takes long, like no other on this machine."""

    def left(self) -> int:
        """How many of them there are."""
        return len(subprocess.run(["pgrep", "-fx", self.nap], capture_output=True).stdout.split())

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0.01)

    async def run(self) -> Found:
        return (await self.door.run("echo 'ü€😀'; printf 'no newline' >&2; (exit 3)"))._asdict()

    async def run_without_input(self) -> Found:
        return (await self.door.run("cat; echo end"))._asdict()

    async def stream(self) -> Found:
        """Each piece is waited for before the next is written, so their order is certain, and that they come at once."""
        told: list[tuple[str, str]] = []

        def see(stream: str, piece: str) -> None:
            if told and told[-1][0] == stream:
                piece = told.pop()[1] + piece
            if piece:
                told.append((stream, piece))
            if "".join(text for _, text in told).endswith("\n"):
                self.gate.write_text(str(len(told)))

        steps = "\n".join(
            f"echo {number} >&{1 + number % 2}; until [ \"$(cat '{self.gate}')\" = {number} ]; do sleep 0.02; done"
            for number in range(1, 5)
        )
        self.gate.write_text("0")
        code = await self.door.stream(f"{steps}\nprintf end; (exit 4)", see)
        return {"pieces": told, "exit_code": code}

    async def stream_of_characters(self) -> Found:
        """Those of two streams, written byte by byte and in turns."""
        pieces: dict[str, list[str]] = {"stdout": [], "stderr": []}
        octal = [f"\\\\{byte:03o}" for byte in "aü€😀\n".encode()]
        text = "; ".join(f"printf {byte}; printf {byte} >&2; sleep 0.01" for byte in octal)
        code = await self.door.stream(text, lambda stream, piece: pieces[stream].append(piece))
        split = any("\ufffd" in piece for found in pieces.values() for piece in found)
        return {name: "".join(found) for name, found in pieces.items()} | {"exit_code": code, "split": split}

    async def background(self) -> Found:
        """It has not ended when it has been started, for it waits for us."""
        self.gate.unlink(missing_ok=True)
        text = f"echo begun; until [ -e '{self.gate}' ]; do sleep 0.02; done; echo err >&2; (exit 5)"
        command = await self.door.start(text)
        self.gate.touch()
        return (await self.door.wait(command))._asdict()

    async def logs_after_exit(self) -> Found:
        command = await self.door.start("echo 'out ü'; echo err >&2; printf rest")
        await self.door.wait(command)
        stdout, stderr = await self.door.logs(command)
        return {"stdout": stdout, "stderr": stderr}

    async def kill(self) -> Found:
        """With all that it has started, and although it doesn't want to."""
        self.gate.unlink(missing_ok=True)
        text = f"trap '' TERM; echo up; {self.nap} & touch '{self.gate}'; {self.nap}; echo not reached"
        command = await self.door.start(text)
        await self.until(lambda: self.gate.exists() and self.left() == 2)
        await self.door.kill(command)
        await self.until(lambda: self.left() == 0)
        return (await self.door.wait(command))._asdict()

    async def timeout(self) -> Found:
        """Nothing is left when it is told."""
        text = f"trap '' TERM; echo up; echo err >&2; {self.nap} & {self.nap}; echo not reached"
        try:
            found: Found = (await self.door.run(text, timeout=1))._asdict()
        except Exception as error:
            found = {"error": type(error).__name__}
        if not self.door.tells_when_all_is_over:
            await self.until(lambda: self.left() == 0)
        return {**found, "left": self.left()}

    async def input(self) -> Found:
        text = 'read -r a; read -r b; echo "got $a, $b"; (exit 6)'
        return (await self.door.feed(text, ["one ü\n", "two\n"]))._asdict()

    async def unknown_command(self) -> Found:
        await self.door.ask_for_nobody()
        return {}

    async def unknown_space(self) -> Found:
        await self.door.ask_for_nowhere()
        return {}


STEPS = [name for name in vars(Scenario) if name not in ("left", "until") and not name.startswith("_")]


async def play(door: Door, place: Path) -> dict[str, Found]:
    """All steps, one after the other. One that fails is told by its error, and doesn't keep the next from being tried."""
    found: dict[str, Found] = {}
    async with door:
        scenario = Scenario(door, place)
        for name in STEPS:
            step: Callable[[], Awaitable[Found]] = getattr(scenario, name)
            try:
                found[name] = await asyncio.wait_for(step(), STEP_SECONDS)
            except Exception as error:
                found[name] = {"error": type(error).__name__}
                traceback.print_exc()
    return found


async def stream_one(door: Door, name: str, place: Path, total: int) -> Found:
    """What one of many streams tells: its parts, as hashes. All of them go on when each client has heard of its own."""
    hashes = {"stdout": hashlib.sha256(), "stderr": hashlib.sha256()}
    heard = {"stdout": "", "stderr": ""}
    lock = threading.Lock()

    def see(stream: str, piece: str) -> None:
        with lock:
            if len(heard["stdout"]) < len("begun\n"):
                heard["stdout"] += piece if stream == "stdout" else ""
                if heard["stdout"].startswith("begun\n"):
                    (place / name).touch()
            hashes[stream].update(piece.encode())

    code = await door.stream(command_of(name, place, total), see)
    return {"exit_code": code, **{stream: found.hexdigest() for stream, found in hashes.items()}}


async def stream_many(doors: list[Door], place: Path, number: int, total: int) -> dict[str, Found]:
    """So many streams at once, in turns by one client and the other."""
    for door in doors:
        await door.__aenter__()
    names = [f"{NAME}-{one}" for one in range(number)]
    tasks = [stream_one(doors[one % len(doors)], name, place, total) for one, name in enumerate(names)]
    found = await asyncio.wait_for(asyncio.gather(*tasks), STREAMS_SECONDS)
    for door in doors:
        await door.__aexit__(None, None, None)
    return dict(zip(names, found, strict=True))


async def follow_arguments(kind_of_door: type[Door]) -> None:
    # Each blocking stream takes a thread, and there would be but few of them on a small machine.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(32))
    what, place, *rest = sys.argv[1:]
    if what == "scenario":
        found = await play(kind_of_door(*rest), Path(place))
    else:
        number, total = map(int, rest)
        found = await stream_many([kind_of_door("sync"), kind_of_door("async")], Path(place), number, total)
    print(json.dumps(found))


def main(kind_of_door: type[Door]) -> None:
    asyncio.run(follow_arguments(kind_of_door))
