"""`sessions top`: running commands, live."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from .kinds import pairs, sessions_here, span
from .outlets import has_colour, is_terminal, say, terminal_width
from .place import Place

if TYPE_CHECKING:
    from rich.table import Table

    from .hosts import AnyCommand, Reader
    from .sampling import Load, Sample, Usage

FIRST_SECONDS: Final = 0.5
"""Between the two looks that a rate needs."""
LEAST_SECONDS: Final = 0.1
AT_ONCE: Final = 8


@click.command("top")
@click.option("-s", "--session", shell_complete=sessions_here, metavar="NAME", help="Only commands of this session.")
@click.option(
    "-l", "--label", "labels", multiple=True, callback=pairs, metavar="KEY=VALUE", help="Only with this label."
)
@click.option(
    "-d", "--interval", callback=span, default="1s", show_default=True, metavar="SPAN", help="Between two looks."
)
@click.option("--once", is_flag=True, help="One plain listing, as when stdout is no terminal.")
@click.option("--json", "as_json", is_flag=True, help="One listing as a JSON array.")
@click.pass_obj
def top(
    place: Place, /, session: str | None, labels: Mapping[str, str], interval: float, once: bool, as_json: bool
) -> None:  # fmt: skip
    """Show running commands: CPU, memory and number of all their processes, bytes per second, the last line. Ctrl-C ends it.

    CPU and memory are those of this machine's processes that carry a command's mark, and of their children: of a server
    elsewhere they are not known, and what the shell does itself, without starting a program, is not counted.
    """
    import trio

    watch = Watch(place, session, labels)
    if once or as_json or not is_terminal(1):
        trio.run(show_once, watch, as_json)
    else:
        trio.run(show_live, watch, max(interval, LEAST_SECONDS))


@attrs.define
class Watch:
    """What is looked at, and the look before."""

    place: Place
    session: str | None
    labels: Mapping[str, str]
    names: dict[str, str] = attrs.field(factory=dict)
    before: Sample | None = None

    async def look(self, reader: Reader) -> list[Load]:
        import trio

        from .sampling import Sample, compare, last_line_of

        commands: Sequence[AnyCommand] = await reader.list_commands(
            session=self.session, state="running", labels=self.labels
        )
        if any(command.session_id not in self.names for command in commands):
            self.names = {session.id: session.name for session in await reader.list_sessions()}
        taken = trio.current_time()
        usage = await trio.to_thread.run_sync(measure)
        lines: dict[str, str] = {}
        limiter = trio.CapacityLimiter(AT_ONCE)

        async def read_last_line(command: AnyCommand) -> None:
            async with limiter:
                lines[command.id] = last_line_of((await command.logs(tail=1)).output)

        async with trio.open_nursery() as nursery:
            for command in commands:
                if command.info.last_seq > command.info.first_seq or command.size_bytes:
                    nursery.start_soon(read_last_line, command)
        sample = Sample(taken, [command.info for command in commands], usage, lines)
        loads = compare(self.before, sample)
        self.before = sample
        return loads

    def name_of(self, load: Load) -> str:
        return self.names.get(load.info.session_id, load.info.session_id)


def measure() -> dict[str, Usage]:
    """What each command's processes on this machine use. Reads ``/proc``: call it in a thread."""
    import psutil

    from ..shell.processes import snapshot
    from .sampling import Usage, command_behind, owners

    seen = [
        attrs.evolve(one, command_id=command_behind(one.session_id, outputs(one.pid)))
        if one.session_id is not None and one.command_id is None
        else one
        for one in snapshot()
    ]
    processes = {one.pid: one.process for one in seen}
    cpu: dict[str, dict[tuple[int, float], float]] = {}
    memory: dict[str, int] = {}
    for pid, owner in owners(seen).items():
        try:
            with processes[pid].oneshot():
                times = processes[pid].cpu_times()
                identity = pid, processes[pid].create_time()
                resident = processes[pid].memory_info().rss
        except psutil.Error:
            continue  # it has just ended
        cpu.setdefault(owner, {})[identity] = times.user + times.system
        memory[owner] = memory.get(owner, 0) + resident
    return {owner: Usage(cpu[owner], memory[owner]) for owner in cpu}


def outputs(pid: int) -> list[str]:
    """Where its stdout and stderr go."""
    try:
        return [os.readlink(f"/proc/{pid}/fd/{descriptor}") for descriptor in (1, 2)]
    except OSError:
        return []


async def show_once(watch: Watch, as_json: bool) -> None:
    import trio

    from .reaching import is_empty, looking_at
    from .sampling import COLUMNS, load_row
    from .text import lay_out

    loads: list[Load] = []
    if not is_empty(watch.place):
        async with looking_at(watch.place) as reader:
            await watch.look(reader)
            await trio.sleep(FIRST_SECONDS)
            loads = await watch.look(reader)
    if as_json:
        say(json.dumps([load_object(load, watch.name_of(load)) for load in loads], indent=2))
    else:
        rows = [load_row(load, watch.name_of(load), time.time()) for load in loads]
        for line in lay_out(COLUMNS, rows, width=terminal_width(), colour=has_colour(1)):
            say(line)


def load_object(load: Load, session_name: str) -> dict[str, Any]:
    from .views import command_object

    return command_object(load.info, session_name) | {
        "cpu_percent": load.cpu_percent,
        "memory_bytes": load.memory_bytes,
        "processes": load.processes,
        "bytes_per_second": load.bytes_per_second,
        "last_line": load.last_line,
    }


async def show_live(watch: Watch, interval: float) -> None:
    """Until somebody ends it, which must not happen in the middle of a screen."""
    import trio

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(paint, watch, interval)
            await anext(signals)
            nursery.cancel_scope.cancel()


async def paint(watch: Watch, interval: float) -> None:
    import trio
    from rich.console import Console
    from rich.live import Live

    from .reaching import looking_at

    console = Console(no_color=not has_colour(1), highlight=False)
    async with looking_at(watch.place) as reader:
        loads = await watch.look(reader)
        with Live(table(watch, loads), console=console, screen=True, auto_refresh=False) as live:
            pause = min(interval, FIRST_SECONDS)
            while True:
                await trio.sleep(pause)
                pause = interval
                live.update(table(watch, await watch.look(reader)), refresh=True)


def table(watch: Watch, loads: Sequence[Load]) -> Table:
    from rich.table import Table
    from rich.text import Text

    from .sampling import COLUMNS, load_row

    busy = f"{len(loads)} running in {watch.place.url or watch.place.root}, {time.strftime('%H:%M:%S')}"
    shown = Table(title=Text(busy), title_justify="left", box=None, padding=(0, 1, 0, 0), expand=True)
    for column in COLUMNS:
        text = column in COLUMNS[-2:]  # these two share what the others leave: a part of an id or a number is none
        shown.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if text else None,
            header_style="dim",
        )
    for load in loads:
        cells = load_row(load, watch.name_of(load), time.time())
        shown.add_row(*(Text(cell.text, style=cell.style or "") for cell in cells))
    return shown
