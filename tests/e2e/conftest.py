"""What the end-to-end tests need of the machine: a user without special rights, and small disks."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_disk import SmallDisk


@pytest.fixture(scope="session")
def without_rights() -> list[str]:
    """Words before a command that let permissions count for it, also when the tests run as root."""
    if os.geteuid() != 0:
        return []
    prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
    if shutil.which("setpriv") is None or subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("root without setpriv: files that this user may not read or write are not tested")
    return prefix


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of 8 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("mounting a small disk needs root: full and read-only disks are not tested")
    try:
        yield SmallDisk(place)
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def cut_model(starter_file: Path, tmp_path: Path) -> Callable[[int], Path]:
    """Makes a copy of the starter model with only its first bytes."""

    def cut(size: int) -> Path:
        path = tmp_path / "cut.gguf"
        with starter_file.open("rb") as source:
            path.write_bytes(source.read(size))
        return path

    return cut
