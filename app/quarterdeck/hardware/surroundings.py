"""What the system itself says about GPUs without waking them: sysfs, WSL, containers."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

_NVIDIA_VENDOR = "0x10de"
_DISPLAY_CLASS = "0x03"
_ASLEEP = "suspended"
# The number that every Linux kernel gives the namespace of process ids that is not nested in another.
_FIRST_PID_NAMESPACE = "pid:[4026531836]"

WSL = (
    "This is Linux inside Windows (WSL): Windows keeps to itself which programs hold GPU memory. "
    "If the GPU is missing or answers wrongly, run “wsl --shutdown” in Windows and start again."
)
WSL_NO_DEVICE = (
    "WSL has no /dev/dxg, so that no program here can use the GPU. Run “wsl --update” and “wsl --shutdown” in Windows; "
    "a container needs /dev/dxg and /usr/lib/wsl passed into it."
)
WSL_NO_PERMISSION = "This user may not use /dev/dxg, through which WSL reaches the GPU. Check its permissions."
CONTAINER = (
    "Quarterdeck runs in a container: programs outside it that hold GPU memory have no name here and cannot be stopped."
)


class Surroundings:
    """Reads `/sys`, `/proc` and `/usr/lib/wsl` below `root`; every question is a few small file reads."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._pci = root / "sys/bus/pci/devices"
        self._version = root / "proc/version"
        self._wsl_library = root / "usr/lib/wsl/lib/libnvidia-ml.so.1"

    def is_wsl(self) -> bool:
        return self._wsl_library.parent.is_dir() or "microsoft" in _read(self._version).lower()

    def has_wsl_library(self) -> bool:
        """Whether Windows handed its NVIDIA library to WSL (the loader may still not look there)."""
        return self._wsl_library.exists()

    def notes(self, *, gpus: bool) -> list[str]:
        """Sentences about what this system keeps from us and what to do about it; `gpus` says whether it shows any."""
        if self._wsl_notes:
            return list(self._wsl_notes)
        return [CONTAINER] if gpus and self._in_container else []

    @cached_property
    def _wsl_notes(self) -> tuple[str, ...]:
        if not self.is_wsl():
            return ()
        device = self._root / "dev/dxg"
        if not device.exists():
            return (WSL, WSL_NO_DEVICE)
        return (WSL,) if os.access(device, os.R_OK | os.W_OK) else (WSL, WSL_NO_PERMISSION)

    @cached_property
    def _in_container(self) -> bool:
        try:
            return str((self._root / "proc/self/ns/pid").readlink()) != _FIRST_PID_NAMESPACE
        except OSError:
            return False

    def cards(self) -> list[str] | None:
        """Bus addresses of NVIDIA display devices; None where the system has no such list."""
        if not self._pci.is_dir():
            return None
        found = [device for device in self._pci.iterdir() if _is_nvidia_display(device)]
        return sorted(device.name for device in found)

    def is_asleep(self, bus_id: str) -> bool:
        """Whether the kernel has suspended this card to save power; asking NVML about it would wake it."""
        return _read(self._pci / sysfs_address(bus_id) / "power/runtime_status") == _ASLEEP

    def all_asleep(self) -> bool:
        cards = self.cards()
        return bool(cards) and all(self.is_asleep(card) for card in cards or ())


def sysfs_address(bus_id: str) -> str:
    """NVML's `00000000:01:00.0` as sysfs writes it, `0000:01:00.0`; other spellings only become lower case."""
    domain, colon, rest = bus_id.lower().partition(":")
    if len(domain) == 8 and domain.startswith("0000"):
        domain = domain[4:]
    return f"{domain}{colon}{rest}"


def _is_nvidia_display(device: Path) -> bool:
    return _read(device / "vendor") == _NVIDIA_VENDOR and _read(device / "class").startswith(_DISPLAY_CLASS)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
