"""GPU memory per process as the kernel counts it, in /proc/PID/fdinfo of each open graphics device."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

# Looking through the open files of all processes costs tens of milliseconds; those known to use a GPU are looked at
# each time.
SEARCH_S = 3.0
_DEVICES = "/dev/dri/"
_UNITS = {"": 1, "B": 1, "KIB": 1024, "KB": 1024, "MIB": 1024**2, "MB": 1024**2, "GIB": 1024**3, "GB": 1024**3}
_MEMORY_KEYS = ("drm-memory-vram", "vram mem", "drm-resident-vram", "drm-total-vram")


class DrmUse(NamedTuple):
    """What one process holds of the card at `bus_id`, in bytes; None when the kernel does not count it."""

    bus_id: str
    pid: int
    vram: int | None


class Client(NamedTuple):
    """One opening of a graphics device: several descriptors of a process may share it."""

    bus_id: str
    number: str
    vram: int | None


class DrmClients:
    """Finds the processes that have cards open. Used on one thread."""

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self.others_hidden = False
        self._proc = root / "proc"
        self._clock = clock
        self._known: set[int] = set()
        self._search_at = clock()

    def read(self, bus_ids: Collection[str]) -> list[DrmUse]:
        """What each process holds of these cards; processes of other users are mostly hidden from us."""
        if self._clock() >= self._search_at:
            self._search_at = self._clock() + SEARCH_S
            self.others_hidden = False
            self._known = set(self._pids())
        found: list[DrmUse] = []
        for pid in sorted(self._known):
            uses = self._uses(pid, bus_ids)
            if not uses:
                self._known.discard(pid)
            found.extend(uses)
        return found

    def _pids(self) -> list[int]:
        try:
            return [int(entry.name) for entry in self._proc.iterdir() if entry.name.isdigit()]
        except OSError:
            return []

    def _uses(self, pid: int, bus_ids: Collection[str]) -> list[DrmUse]:
        clients: dict[str, Client] = {}
        for name in self._descriptors(pid):
            client = parse(_text(self._proc / str(pid) / "fdinfo" / name))
            if client is not None and client.bus_id in bus_ids:
                clients[client.number or name] = client
        held: dict[str, int | None] = {}
        for client in clients.values():
            before = held.get(client.bus_id, 0)
            held[client.bus_id] = None if before is None or client.vram is None else before + client.vram
        return [DrmUse(bus_id, pid, vram) for bus_id, vram in held.items() if vram is None or vram > 0]

    def _descriptors(self, pid: int) -> list[str]:
        """The open files of a process that are graphics devices."""
        folder = self._proc / str(pid) / "fd"
        try:
            files = list(folder.iterdir())
        except PermissionError:
            self.others_hidden = True
            return []
        except OSError:
            return []
        return [file.name for file in files if _link(file).startswith(_DEVICES)]


def parse(text: str) -> Client | None:
    """The client that an fdinfo text describes; None when it is not of an amdgpu card."""
    values = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
    bus_id = values.get("drm-pdev") or values.get("pdev")
    if not bus_id or values.get("drm-driver", "amdgpu") != "amdgpu":
        return None
    size = next((amount(values[key]) for key in _MEMORY_KEYS if key in values), None)
    return Client(bus_id.lower(), values.get("drm-client-id", ""), size)


def amount(text: str) -> int | None:
    """Bytes from `123 KiB` or `123`; None when it is no amount."""
    number, _, unit = text.strip().partition(" ")
    factor = _UNITS.get(unit.strip().upper())
    if factor is None or not (number.isascii() and number.isdigit()):
        return None
    return int(number) * factor


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
