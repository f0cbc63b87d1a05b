"""A small file system in memory, to fill. To mount it takes root."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

MEBIBYTE = 1 << 20
DISK_BYTES = 16 * MEBIBYTE


@attrs.frozen
class Disk:
    path: Path

    @property
    def root(self) -> Path:
        return self.path / "root"

    def fill(self, but: int = 0) -> None:
        """Take all space except so many bytes."""
        with open(self.path / "ballast", "ab", buffering=0) as file:
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))
            if but:
                file.truncate(file.seek(0, os.SEEK_END) - but)

    def free(self) -> None:
        (self.path / "ballast").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if os.getuid() != 0:
        pytest.skip("NOT TESTED: what happens on a full disk; mounting a small file system takes root")
    path = tmp_path / "disk"
    path.mkdir()
    options = f"size={DISK_BYTES},mode=700"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"NOT TESTED: what happens on a full disk; a tmpfs can't be mounted here: {mounted.stderr.strip()}")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)
