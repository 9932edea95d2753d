"""AMD GPUs, read from the files of the amdgpu driver. A card that sleeps is not woken."""

from __future__ import annotations

import os
import time
from functools import cached_property
from pathlib import Path

from quarterdeck.hardware import reasons
from quarterdeck.hardware.drm import DrmClients
from quarterdeck.hardware.gpu_thread import Reading
from quarterdeck.hardware.processes import Held
from quarterdeck.hardware.units import celsius, memory, percent, watts, without_values
from quarterdeck.schemas.hardware import GpuSample, GpuVendor, NvmlState, NvmlStatus

_VENDOR = "0x1002"
_ASLEEP = "suspended"
_NAMES = ("usr/share/libdrm/amdgpu.ids", "opt/amdgpu/share/libdrm/amdgpu.ids")
# The driver tells its two kinds of tables of measurements apart by this byte; these are of processors with graphics.
_FORMAT_BYTE = 2
_INTEGRATED_FORMATS = frozenset({2, 3})
_GIB = 1024**3
_MILLI, _MICRO = 1000, 1000

NO_KFD = (
    "ROCm programs cannot use the AMD graphics card: /dev/kfd is missing. "
    "The amdgpu driver of this system was built or started without compute support."
)
NO_KFD_PERMISSION = (
    "ROCm programs of this user cannot use the AMD graphics card: /dev/kfd may not be opened. "
    "Add the user to the groups “render” and “video”, then log in again."
)


class Amd:
    """Reads `/sys`, `/proc`, `/dev` and `/usr/share` below `root`. Used on one thread."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._clients = DrmClients(root)
        self._identities: dict[Path, GpuSample] = {}

    def read(self) -> Reading:
        """A sample of each card, numbered from 0, and the processes that hold memory of it."""
        cards = self._cards()
        gpus = [self._sample(index, card) for index, card in enumerate(cards)]
        awake = {gpu.bus_id: gpu.index for gpu in gpus if gpu.bus_id and reasons.ASLEEP not in gpu.unavailable.values()}
        held: list[Held] = []
        if awake:
            held = [Held(awake[each.bus_id], each.pid, each.vram) for each in self._clients.read(awake.keys())]
            if self._clients.others_hidden:
                gpus = [_with_reason(gpu, "processes", reasons.OTHER_USERS) for gpu in gpus]
        return Reading(time.monotonic(), _NO_STATUS, gpus, held, bool(awake), self._notes if cards else ())

    def _cards(self) -> list[Path]:
        """The folders of AMD cards (not of their connectors), in the order of the kernel."""
        folder = self._root / "sys/class/drm"
        try:
            names = [each.name for each in folder.iterdir() if each.name.startswith("card") and each.name[4:].isdigit()]
        except OSError:
            return []
        devices = [folder / name / "device" for name in sorted(names, key=lambda name: int(name[4:]))]
        return [device for device in devices if _text(device / "vendor") == _VENDOR]

    def _sample(self, index: int, card: Path) -> GpuSample:
        identity = self._identities.get(card)
        if identity is None or identity.index != index:
            identity = self._identities[card] = self._identify(index, card)
        if _text(card / "power/runtime_status") == _ASLEEP:
            return without_values(identity, reasons.ASLEEP)
        used, total = _number(card / "mem_info_vram_used"), _number(card / "mem_info_vram_total")
        values: dict[str, float | int | None] = {"memory_used": None, "memory_total": None}
        missing: dict[str, str] = {}
        if self._borrows(card, total):
            missing = dict.fromkeys(("memory_used", "memory_total"), _borrowed(card, total))
        elif used is not None and total:
            values["memory_used"], values["memory_total"] = memory(used, total)
        sensors = next(iter(sorted(card.glob("hwmon/hwmon*"))), card / "hwmon")
        heat = _number(sensors / "temp1_input")
        power = _first(sensors / "power1_average", sensors / "power1_input")
        limit = _number(sensors / "power1_cap")
        busy = _number(card / "gpu_busy_percent")
        values["utilization"] = None if busy is None else percent(busy)
        values["temperature"] = None if heat is None else celsius(round(heat / _MILLI))
        values["power"] = None if power is None else watts(round(power / _MICRO))
        values["power_limit"] = None if not limit else watts(round(limit / _MICRO))
        unknown = {name: reasons.AMD_NO_VALUE for name, value in values.items() if value is None}
        return identity.model_copy(update={**values, "unavailable": {**unknown, **missing}})

    def _identify(self, index: int, card: Path) -> GpuSample:
        uevent = dict(line.partition("=")[::2] for line in _text(card / "uevent").splitlines())
        bus_id = uevent.get("PCI_SLOT_NAME", "").lower() or None
        number = _text(card / "unique_id")
        return GpuSample(
            index=index,
            uuid=f"amd-{number or bus_id or card.parent.name}",
            name=self._name(card),
            vendor=GpuVendor.AMD,
            bus_id=bus_id,
        )

    def _name(self, card: Path) -> str:
        """What the card calls itself, else what AMD's list calls it, else its number."""
        product = _text(card / "product_name")
        if product:
            return product if "AMD" in product else f"AMD {product}"
        device = _text(card / "device").removeprefix("0x").upper()
        revision = _text(card / "revision").removeprefix("0x").upper()
        known = self._names.get((device, revision.zfill(2)))
        return known or f"AMD GPU {device.lower() or card.parent.name}"

    @cached_property
    def _names(self) -> dict[tuple[str, str], str]:
        """AMD's list of names: `device, revision, name` in each line."""
        names: dict[tuple[str, str], str] = {}
        for path in _NAMES:
            for line in _text(self._root / path).splitlines():
                parts = [part.strip() for part in line.split(",", 2)]
                if len(parts) == 3 and not line.startswith("#"):
                    names.setdefault((parts[0].upper(), parts[1].upper().zfill(2)), parts[2])
        return names

    @cached_property
    def _notes(self) -> tuple[str, ...]:
        device = self._root / "dev/kfd"
        if not device.exists():
            return (NO_KFD,)
        return () if os.access(device, os.R_OK | os.W_OK) else (NO_KFD_PERMISSION,)

    def _borrows(self, card: Path, total: int | None) -> bool:
        """Whether this is the graphics part of a processor that lives mainly on the memory of the computer."""
        try:
            with (card / "gpu_metrics").open("rb") as table:
                header = table.read(_FORMAT_BYTE + 1)
        except OSError:
            return False
        integrated = len(header) > _FORMAT_BYTE and header[_FORMAT_BYTE] in _INTEGRATED_FORMATS
        return integrated and (_number(card / "mem_info_gtt_total") or 0) > (total or 0)


_NO_STATUS = NvmlStatus(state=NvmlState.OK)


def _borrowed(card: Path, total: int | None) -> str:
    borrowed = _number(card / "mem_info_gtt_total") or 0
    own = f"{(total or 0) / _GIB:.1f} GiB are set aside for it, and it may use {borrowed / _GIB:.1f} GiB more."
    return f"{reasons.SHARED_MEMORY} {own}"


def _with_reason(gpu: GpuSample, name: str, reason: str) -> GpuSample:
    return gpu.model_copy(update={"unavailable": {**gpu.unavailable, name: reason}})


def _first(*paths: Path) -> int | None:
    return next((value for path in paths if (value := _number(path)) is not None), None)


def _number(path: Path) -> int | None:
    try:
        return int(_text(path))
    except ValueError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
