"""Ending commands: how to stop one without losing its shell, and how to be sure that nothing of it is left.

In the foreground, bash acts on SIGINT only if the child that it waits for dies of it too. So INT goes to the whole group,
again every 50 ms, until the shell reports: a loop of short children is hit between two of them sooner or later. Whoever
ignores INT gets TERM after three rounds and KILL after the grace; the shell itself only if it outlives even that.

In the background, TERM and CONT to the command's group, a grace, KILL. Then, for both, the same for whatever still carries the
command's mark: what has left the group, or was left behind.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

import trio

from .lifecycle import Reason
from .running import RunningCommand
from .shell import processes
from .shell.descriptors import Spare
from .shell.processes import Memory, Seen
from .store.records import STDERR
from .threads import run_in_thread

if TYPE_CHECKING:
    from psutil import Process

LOGGER: Final = logging.getLogger("sessions")
INTERRUPT_SECONDS: Final = 0.05
"""Between two interrupts."""
INTERRUPTS_BEFORE_TERM: Final = 3
SHELL_GRACE_SECONDS: Final = 2.0
"""What a shell gets on top of the grace, once all its children have been killed."""
REPORTER_ROUNDS: Final = 3
"""How often a background command's reporter is asked to go on, once a second, before it is killed, too."""
BIRTH_SECONDS: Final = 5.0
"""For a shell to fork a background command, and for the fork to tell that it has started: a few ms, on a busy machine more. Who
was stopped on the way is continued within two seconds."""
REPORTER_TURNS: Final = 4
"""Each so many looks, a command is looked at that has left somebody behind, maybe, who holds its stderr."""
KILL_SECONDS: Final = 10.0
"""How long a process in uninterruptible sleep is waited for."""
STUCK_SECONDS: Final = 15.0
"""How long shells and commands are waited for that don't end although they were killed."""
LOOK_SECONDS: Final = 0.02
"""Between two looks at processes that have been told to end; doubled each time, up to a quarter of a second."""


def most_seconds(grace: float) -> float:
    """What a shell with all its commands gets to end: a command has one grace, and what it has left another."""
    return 2 * grace + STUCK_SECONDS


class Census:
    """Looks at all processes, in a thread; those who ask at the same time share a look that began after they asked."""

    def __init__(self) -> None:
        self._lock = trio.Lock()
        self._began = float("-inf")
        self._seen: list[Seen] = []
        self._spare = Spare()

    async def take(self) -> list[Seen]:
        asked = trio.current_time()
        async with self._lock:
            if self._began <= asked:
                began = trio.current_time()
                try:
                    self._seen = await run_in_thread(self._look)
                except RuntimeError:  # there may be no more threads, which is why somebody is to be ended
                    self._seen = self._look()
                self._began = began  # only now: a look that failed, or was cancelled, has seen nothing
            return self._seen

    def _look(self) -> list[Seen]:
        return self._spare.call(processes.snapshot)

    def close(self) -> None:
        self._spare.close()


async def sweep(census: Census, find: Callable[[list[Seen]], list[Seen]], grace: float) -> None:
    """End all processes that `find` picks, until it finds none: TERM and CONT, `grace` seconds, KILL.

    Whoever has not gone `KILL_SECONDS` after that sits in the kernel, and is not waited for: it ends when it gets out of there.
    """
    deadline = trio.current_time() + grace
    pause = LOOK_SECONDS
    told: set[int] = set()
    given_up_at: dict[Process, float] = {}
    while found := find(await census.take()):
        now = trio.current_time()
        if now >= deadline:
            waited_for = [seen for seen in found if now < given_up_at.setdefault(seen.process, now + KILL_SECONDS)]
            if not waited_for:
                LOGGER.error(
                    "processes %s have not gone %s s after SIGKILL", [seen.pid for seen in found], KILL_SECONDS
                )
                return
            processes.send(waited_for, signal.SIGKILL)
        else:
            processes.send([seen for seen in found if seen.pid not in told], signal.SIGTERM)
            told.update(seen.pid for seen in found)
        await trio.sleep(pause)
        pause = min(2 * pause, 0.25)


async def freeze(census: Census, find: Callable[[list[Seen]], list[Seen]]) -> None:
    """Stop all processes that `find` picks where they are, until it finds none that still runs."""
    told: set[int] = set()
    while found := [seen for seen in find(await census.take()) if seen.pid not in told or processes.runs(seen.pid)]:
        # Those that were told before, too: one of the others may have continued them before it was stopped itself.
        processes.send(found, signal.SIGSTOP)
        told.update(seen.pid for seen in found)
        await trio.sleep(LOOK_SECONDS)


async def sweep_command(command_id: str, census: Census, grace: float) -> None:
    """End whatever a finished command left behind."""
    await sweep(census, lambda seen: processes.of_command(seen, command_id), grace)


async def stop(command: RunningCommand, census: Census, reason: Reason, grace: float) -> None:
    """End a command that has started, and all that it started. Returns when its end is reported and nothing of it is left."""
    memory = Memory(lambda seen: belonging(command, seen))
    if not command.is_over:
        # Before the first signal: afterwards, what lost its parents by it could not be told from another's.
        memory.find(await census.take())
    if not command.is_over:
        command.asked = command.asked or reason
        if command.in_shell:
            await stop_in_shell(command, census, grace)
        else:
            await stop_beside(command, census, grace)
    await sweep(census, memory.find, grace)


async def stop_in_time(command: RunningCommand, census: Census, grace: float) -> None:
    """End a command that has started when its time is over, or it has been silent for too long."""
    started_at = trio.current_time()
    while not command.is_over:
        until = command.deadline(started_at)
        if trio.current_time() >= until:
            await stop(command, census, "timeout", grace)
            return
        with trio.move_on_at(until):
            await command.over.wait()


def belonging(command: RunningCommand, seen: Sequence[Seen]) -> list[Seen]:
    # Once it is finished, its shell's children are another's, and so is its leader's number if a process has it.
    shell = command.shell.pid if command.shell and command.in_shell and not command.is_over else None
    leader = None if command.is_over and any(one.pid == command.leader for one in seen) else command.leader
    return processes.of_command(seen, command.id, leader=leader, shell=shell)


async def stop_in_shell(command: RunningCommand, census: Census, grace: float) -> None:
    shell = command.shell
    assert shell is not None
    deadline = trio.current_time() + grace
    rounds = 0
    killed = False
    while not command.is_over:
        command.sent_signal = command.sent_signal or signal.SIGINT
        programs = [] if shell.dialect.own_group else belonging(command, await census.take())
        if command.is_over:
            break  # an interrupt now would hit the next one
        shell.interrupt(command.request, programs)
        rounds += 1
        if trio.current_time() >= deadline + SHELL_GRACE_SECONDS:
            shell.kill()
        elif trio.current_time() >= deadline and rounds >= INTERRUPTS_BEFORE_TERM:
            killed = True
            command.sent_signal = signal.SIGKILL
            processes.send(belonging(command, await census.take()), signal.SIGKILL)
        elif rounds == INTERRUPTS_BEFORE_TERM and not killed:
            processes.send(belonging(command, await census.take()), signal.SIGTERM)
        with trio.move_on_after(INTERRUPT_SECONDS):
            await command.over.wait()


async def await_birth(command: RunningCommand) -> None:
    """Wait until a shell has forked a background command that it was told to start, or until that has ended without.

    A shell that was stopped would never do so: it is continued, and killed once it has forked nobody for `BIRTH_SECONDS`.
    """
    began = trio.current_time()
    while command.leader is None and not command.is_over:
        assert command.shell is not None
        # One that has many to fork may take longer. Behind its own fork, it is not the shell that is waited for.
        heard_at = max(began, command.forked_at or command.shell.forked_at)
        if trio.current_time() < heard_at + BIRTH_SECONDS:
            command.shell.proceed()
        else:
            command.shell.kill()
        with trio.move_on_after(INTERRUPT_SECONDS):
            await command.started.wait()


async def stop_beside(command: RunningCommand, census: Census, grace: float) -> None:
    await await_birth(command)
    if grace:
        with trio.move_on_after(grace):
            command.sent_signal = command.end_signal
            await send(command, census, command.end_signal)
            await command.over.wait()
    rounds = 0
    while not command.is_over:
        command.sent_signal = signal.SIGKILL
        reporter = processes.reporter_of(command.leader, command.session_id) if command.leader else None
        await send(command, census, signal.SIGKILL)
        if reporter is not None:
            # The command may have stopped it. Without it, the keeper tells how the command ended.
            processes.send_to(reporter, signal.SIGCONT if rounds < REPORTER_ROUNDS else signal.SIGKILL)
        rounds += 1
        with trio.move_on_after(1):
            await command.over.wait()


def continue_reporters(commands: Iterable[RunningCommand], look: int) -> None:
    """Continue who reports for commands that have ended: one that stopped its reporter would seem to run for ever.

    `look` counts the looks. Cheap for a thousand that run: those whose stderr has not come to its end take turns.
    """
    for command in commands:
        if command.leader is None or command.is_over:
            continue
        if STDERR in command.pipes and (command.number - look) % REPORTER_TURNS:
            continue
        if processes.is_zombie(command.leader) and (
            reporter := processes.reporter_of(command.leader, command.session_id)
        ):
            processes.send_to(reporter, signal.SIGCONT)


async def continue_forked(shell: int, keeper: int | None, census: Census) -> None:
    """Continue who reports for background commands of this shell: one that was stopped before it had told of the start."""
    if processes.is_stopped(shell):
        return  # as all of a space that is paused: nothing of it shall go on
    orphans = [
        seen
        for seen in await census.take()
        if seen.unix_session == shell and seen.parent == keeper and seen.command_id is None
    ]
    processes.send([seen for seen in orphans if processes.is_stopped(seen.pid)], signal.SIGCONT)


async def send(command: RunningCommand, census: Census, number: int) -> None:
    """Send a signal to all processes of a running command; never to its shell."""
    if command.leader is not None and command.owns_group:
        # Its leader is reaped at most a moment before that is reported, so the number is not another's yet.
        processes.send_group(command.leader, number)
    else:
        processes.send(belonging(command, await census.take()), number)


ENDING_SIGNALS: Final = frozenset(
    {
        signal.SIGTERM,
        signal.SIGKILL,
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGSTOP,
        signal.SIGTSTP,
        signal.SIGCONT,
    }
)
"""Those that are meant for a whole command."""


async def notify(command: RunningCommand, census: Census, number: int) -> None:
    """Send a signal that a user chose.

    One such as USR1 is for the programs that a command runs. The fork of the shell that waits for them would die of it, and
    the command with it: it gets the signal only if it has a trap for it, or if there is nobody else.
    """
    if number in ENDING_SIGNALS:
        await send(command, census, number)
        return
    everybody = belonging(command, await census.take())
    programs = [seen for seen in everybody if seen.command_id == command.id or processes.catches(seen.pid, number)]
    processes.send(programs or everybody, number)


async def interrupt(command: RunningCommand, census: Census, patience: float = 1.0) -> None:
    """Ctrl-C, as a terminal would do it: once for each program. Returns when the command is over, or after `patience` seconds.

    A loop of short children, or a shell that was about to start a program, may need several; a program that has got one and
    is busy cleaning up does not get another.
    """
    reached: set[int] = set()
    spared = False
    with trio.move_on_after(patience):
        while not command.is_over:
            everybody = belonging(command, await census.take())
            # A fork of bash that waits for programs dies of it; those of other shells may shrug it off.
            programs = {seen.pid for seen in everybody if seen.command_id == command.id or command.owns_group}
            # When its program has just ended, the shell is about to say how: it is hit only if it still has not at the next look.
            spared = bool(reached) and not programs and not spared
            if not spared and not programs & reached and not command.is_over:
                interrupt_now(command, everybody)
                reached |= programs
            with trio.move_on_after(INTERRUPT_SECONDS):
                await command.over.wait()


def interrupt_now(command: RunningCommand, everybody: Sequence[Seen]) -> None:
    command.sent_signal = signal.SIGINT
    if command.in_shell:
        assert command.shell is not None
        # Seen a moment ago: between two short programs, it is the shell's own loop that is hit.
        if command.shell.dialect.hides_interrupt and not any(processes.lives(seen.pid) for seen in everybody):
            command.asked = command.asked or "killed"
        command.shell.interrupt(command.request, everybody)
    elif command.owns_group and command.leader is not None:
        processes.send_group(command.leader, signal.SIGINT)
    else:
        # Shells without job control start background commands with SIGINT ignored, for good.
        deaf = [seen for seen in everybody if processes.ignores(seen.pid, signal.SIGINT)]
        processes.send([seen for seen in everybody if seen not in deaf], signal.SIGINT)
        processes.send(deaf, signal.SIGTERM)
        if deaf:
            command.sent_signal = signal.SIGTERM
