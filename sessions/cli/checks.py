"""What `doctor` finds, and when it is right, doubtful or wrong. Plain; no I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Literal, TypeAlias

import attrs

from .times import format_size

State: TypeAlias = Literal["ok", "note", "wrong"]

SPACE_WRONG_BYTES: Final = 64 << 20
SPACE_LOW_BYTES: Final = 1 << 30
INODES_LOW: Final = 10_000
DESCRIPTORS_LOW: Final = 4096
"""Two for each running command, and some."""
DESCRIPTORS_FULL: Final = 0.8
SOCKET_PATH_BYTES: Final = 107
NETWORK_SYSTEMS: Final = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "9p",
    "fuse.sshfs",
    "afs",
    "ceph",
    "glusterfs",
    "fuse.glusterfs",
)


@attrs.frozen
class Finding:
    state: State
    what: str
    do: str | None = None
    """What to do about it."""


def judge_shells(found: Mapping[str, str | None]) -> list[Finding]:
    """`found` has the path of each shell, or None."""
    findings = []
    for name, path in found.items():
        if path is not None:
            findings.append(Finding("ok", f"{name} is {path}"))
        elif name == "bash":
            findings.append(
                Finding("wrong", "there is no bash, which sessions use unless told otherwise", "install bash")
            )
        else:
            findings.append(Finding("note", f"there is no {name}", f"only sessions with --shell {name} need it"))
    return findings


def judge_root(*, root: str, exists: bool, writable: bool, mine: bool, mode: int, system: str | None) -> list[Finding]:
    if not exists:
        if writable:
            return [Finding("ok", f"the root {root} is not there yet and can be made")]
        return [Finding("wrong", f"the root {root} can't be made", "choose another with --root or $SESSIONS_HOME")]
    findings = []
    if not mine:
        findings.append(Finding("wrong", f"the root {root} belongs to another user", "choose your own with --root"))
    elif not writable:
        findings.append(
            Finding("wrong", f"the root {root} can't be written", f"chmod u+rwx {root}, or remount it for writing")
        )
    else:
        findings.append(Finding("ok", f"the root {root} can be written"))
    if mine and mode & 0o077:
        findings.append(
            Finding("wrong", f"the root {root} is open to other users (mode {mode & 0o777:o})", f"chmod 700 {root}")
        )
    if system in NETWORK_SYSTEMS:
        findings.append(
            Finding(
                "wrong",
                f"the root {root} is on {system}: its locks and its catalog need a local disk",
                "choose a root on one",
            )
        )
    return findings


def judge_hidden_root(*, root: str, place: str) -> Finding:
    """`place` is the directory that may not be looked into."""
    return Finding(
        "wrong",
        f"the root {root} is out of reach: {place} may not be searched",
        "choose your own with --root or $SESSIONS_HOME",
    )


def judge_space(free_bytes: int, free_inodes: int | None) -> Finding:
    """`free_inodes` is None for a file system that doesn't count them."""
    told = f"{format_size(free_bytes)} free on the root's file system"
    more = "`sessions prune --keep SIZE` or `--older-than SPAN` makes room, and so does whatever else you delete there"
    if not free_bytes:
        return Finding("wrong", "the root's file system is full: commands wait, and no server starts", more)
    if free_bytes < SPACE_WRONG_BYTES or free_inodes == 0:
        return Finding("wrong", told + (", and no inodes" if free_inodes == 0 else ""), more)
    if free_bytes < SPACE_LOW_BYTES or (free_inodes is not None and free_inodes < INODES_LOW):
        return Finding("note", told + (f", {free_inodes} inodes" if free_inodes is not None else ""), more)
    return Finding("ok", told)


def judge_descriptors(hard_limit: int) -> Finding:
    told = f"a program may open {hard_limit} descriptors"
    if 0 <= hard_limit < DESCRIPTORS_LOW:
        return Finding(
            "note", f"{told}: enough for about {hard_limit // 3} running commands", "raise it: ulimit -Hn, LimitNOFILE="
        )
    return Finding("ok", told if hard_limit >= 0 else "a program may open any number of descriptors")


def judge_socket(path: str, size_bytes: int) -> list[Finding]:
    if size_bytes <= SOCKET_PATH_BYTES:
        return []
    return [
        Finding(
            "wrong",
            f"the path of the server's socket has {size_bytes} bytes, {SOCKET_PATH_BYTES} are possible: {path}",
            "choose a shorter root, or `sessions serve --unix PATH`",
        )
    ]


def judge_server(
    *, locked: bool, answers: bool, left_socket: bool, pid: int | None, descriptors: tuple[int, int] | None, log: str
) -> list[Finding]:
    """`descriptors`: how many the server has open, and may have."""
    who = f"process {pid}" if pid is not None else "a process"
    if locked and answers:
        findings = [Finding("ok", f"a server runs: {who}")]
        if descriptors is not None and descriptors[1] > 0 and descriptors[0] > DESCRIPTORS_FULL * descriptors[1]:
            told = f"the server has {descriptors[0]} descriptors open of {descriptors[1]}"
            findings.append(
                Finding("wrong", told, "let it run fewer commands at once, or raise the limit (LimitNOFILE=)")
            )
        return findings
    if locked:
        return [
            Finding(
                "wrong",
                f"{who} holds the server's lock, but nobody answers on the root's socket",
                f"if it was started with --no-unix or --unix, use --url; else see {log}, and end it: kill {pid or 'PID'}",
            )
        ]
    if answers:
        return [
            Finding(
                "wrong", "who answers on the root's socket is not the root's server", "end it, and remove the socket"
            )
        ]
    if left_socket:
        return [Finding("note", "no server runs; one that died has left its socket", "the next server replaces it")]
    return [Finding("ok", "no server runs; `sessions run`, `start` and `new` start one")]


def judge_engines(dead: Mapping[str, int]) -> list[Finding]:
    """`dead` has for each dead engine the number of sessions that it left open."""
    return [
        Finding(
            "note",
            f"engine {engine} has died and left {count} sessions open",
            "`sessions ps` marks them and ends what is left",
        )
        for engine, count in dead.items()
    ]


def judge_leftovers(pids: Collection[int]) -> list[Finding]:
    """Processes of sessions that nobody owns any more."""
    if not pids:
        return []
    shown = " ".join(map(str, sorted(pids)[:20]))
    return [
        Finding(
            "wrong",
            f"{len(pids)} processes are left of sessions that have ended: {shown}",
            "`sessions ps` ends those of dead engines; if they stay, kill them",
        )
    ]


def judge_session(name: str, state: str, problem: str | None) -> list[Finding]:
    if state == "stalled":
        return [Finding("wrong", f"session {name} can't write its log: {problem}", "make room; it goes on by itself")]
    if state == "ended":
        return [
            Finding("note", f"the shell of session {name} has ended", f"`sessions close {name}`, and open it again")
        ]
    return []
