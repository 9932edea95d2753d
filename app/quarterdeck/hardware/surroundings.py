"""What the system itself says about NVIDIA cards without waking them: sysfs and WSL."""

from __future__ import annotations

from pathlib import Path

_NVIDIA_VENDOR = "0x10de"
_DISPLAY_CLASS = "0x03"
_ASLEEP = "suspended"


class Surroundings:
    """Reads `/sys`, `/proc` and `/usr/lib/wsl` below `root`; every question is a few small file reads."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._pci = root / "sys/bus/pci/devices"
        self._version = root / "proc/version"
        self._wsl_library = root / "usr/lib/wsl/lib/libnvidia-ml.so.1"

    def is_wsl(self) -> bool:
        return self._wsl_library.parent.is_dir() or "microsoft" in _read(self._version).lower()

    def has_wsl_library(self) -> bool:
        """Whether Windows handed its NVIDIA library to WSL (the loader may still not look there)."""
        return self._wsl_library.exists()

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
