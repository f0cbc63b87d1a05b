"""Output of known bytes, and what a log of it costs: space on the disk, memory, reading."""

from __future__ import annotations

from pathlib import Path

import sessions

MEBIBYTE = 1 << 20


def numbers(size: int) -> bytes:
    """What `pour` prints."""
    return b"".join(b"%015d\n" % number for number in range(1, size // 16 + 2))[:size]


def pour(size: int) -> str:
    """Shell text that prints so many bytes."""
    return f"seq -f %015.0f 100000000 | head -c {size}"


def transcript(engine: sessions.Engine, session: sessions.Session) -> Path:
    return engine.root / "sessions" / session.id / "transcript"


def disk_bytes(path: Path) -> int:
    """What a file or a directory takes on the disk."""
    files = [path, *path.rglob("*")]
    return sum(file.stat().st_blocks * 512 for file in files)


def bytes_read() -> int:
    """What this process has asked the kernel to read so far."""
    return int(Path("/proc/self/io").read_text().split()[1])


def forget_peak() -> None:
    """From here on the peak is counted."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_kib() -> int:
    """The most memory that this process has had since."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])
