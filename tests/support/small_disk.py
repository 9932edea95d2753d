"""A small file system for tests of full and read-only disks."""

from __future__ import annotations

import subprocess
from pathlib import Path


class SmallDisk:
    """A mounted file system of its own, which can be filled to the last byte, emptied, and made read-only."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.data_dir = place / "data"
        self._filler = place / "filler"

    def fill(self) -> None:
        block = b"\0" * 65536
        with self._filler.open("ab", buffering=0) as file:
            while block:
                try:
                    file.write(block)
                except OSError:
                    block = block[: len(block) // 2]

    def empty(self) -> None:
        self._filler.unlink()

    def make_read_only(self, wanted: bool = True) -> None:
        mode = "ro" if wanted else "rw"
        subprocess.run(["mount", "-o", f"remount,{mode}", self.place], check=True)
