"""The one gate to NVML and the only module that imports pynvml. Every call may hang; use it from one thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pynvml

from quarterdeck.hardware import reasons
from quarterdeck.schemas.hardware import NvmlState

_STATES: dict[int, NvmlState] = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: NvmlState.LIBRARY_NOT_FOUND,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: NvmlState.DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: NvmlState.VERSION_MISMATCH,
    pynvml.NVML_ERROR_NO_PERMISSION: NvmlState.NO_PERMISSION,
    pynvml.NVML_ERROR_NOT_FOUND: NvmlState.NO_GPU,
    pynvml.NVML_ERROR_GPU_NOT_FOUND: NvmlState.NO_GPU,
    pynvml.NVML_ERROR_GPU_IS_LOST: NvmlState.GPU_LOST,
    pynvml.NVML_ERROR_RESET_REQUIRED: NvmlState.GPU_LOST,
}
_LOST: dict[int, str] = {
    pynvml.NVML_ERROR_GPU_IS_LOST: reasons.LOST,
    pynvml.NVML_ERROR_RESET_REQUIRED: reasons.NEEDS_RESET,
}
_DISCONNECTED = {
    pynvml.NVML_ERROR_UNINITIALIZED,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH,
}
# A card or driver that lacks a function will still lack it a second later.
_PERMANENT: dict[int, str] = {
    pynvml.NVML_ERROR_NOT_SUPPORTED: "This graphics card does not report it.",
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: "The installed NVIDIA driver is too old to report it.",
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH: "The installed NVIDIA driver is too old to report it.",
    pynvml.NVML_ERROR_DEPRECATED: "The installed NVIDIA driver no longer reports it.",
    pynvml.NVML_ERROR_INVALID_ARGUMENT: "This graphics card does not report it.",
}
_PASSING: dict[int, str] = {
    pynvml.NVML_ERROR_NO_PERMISSION: "This user may not read it.",
    pynvml.NVML_ERROR_NOT_FOUND: "The graphics card has no such sensor.",
    pynvml.NVML_ERROR_NO_DATA: "The graphics card has no value for it at the moment.",
    pynvml.NVML_ERROR_NOT_READY: "The graphics card is not ready yet.",
    pynvml.NVML_ERROR_INSUFFICIENT_POWER: "The power cables of the graphics card are not connected properly.",
    pynvml.NVML_ERROR_TIMEOUT: "The graphics card took too long to answer.",
}


class Refused(Exception):  # noqa: N818 - it is an answer, not a defect
    """NVML answered a call with an error code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.state = _STATES.get(code, NvmlState.FAILED)
        self.disconnected = code in _DISCONNECTED
        self.lost = code in _LOST
        self.permanent = code in _PERMANENT
        known = _LOST.get(code) or _PERMANENT.get(code) or _PASSING.get(code)
        self.reason = known or f"The NVIDIA driver answered: {text.rstrip('.')}."


def call(function: str, *arguments: Any) -> Any:
    """Call a function of pynvml by name; raises Refused for every error code."""
    try:
        return getattr(pynvml, function)(*arguments)
    except pynvml.NVMLError as error:
        raise Refused(int(getattr(error, "value", pynvml.NVML_ERROR_UNKNOWN)), str(error)) from None
    except UnicodeDecodeError:
        raise Refused(pynvml.NVML_ERROR_UNKNOWN, "a text that cannot be read") from None


class Query(NamedTuple):
    """One way to get a value; the key is what is remembered when the card does not support it."""

    key: str
    function: str
    arguments: tuple[int, ...] = ()


UTILIZATION = (Query("utilization", "nvmlDeviceGetUtilizationRates"),)
MEMORY = (
    Query("memory_v2", "nvmlDeviceGetMemoryInfo", (pynvml.nvmlMemory_v2,)),
    Query("memory", "nvmlDeviceGetMemoryInfo"),
)
TEMPERATURE = (
    Query("temperature_v", "nvmlDeviceGetTemperatureV", (pynvml.NVML_TEMPERATURE_GPU,)),
    Query("temperature", "nvmlDeviceGetTemperature", (pynvml.NVML_TEMPERATURE_GPU,)),
)
POWER = (Query("power", "nvmlDeviceGetPowerUsage"),)
POWER_LIMIT = (
    Query("enforced_limit", "nvmlDeviceGetEnforcedPowerLimit"),
    Query("management_limit", "nvmlDeviceGetPowerManagementLimit"),
)
NAME = (Query("name", "nvmlDeviceGetName"),)
UUID = (Query("uuid", "nvmlDeviceGetUUID"),)
PCI = (Query("pci", "nvmlDeviceGetPciInfo"),)
COMPUTE_PROCESSES = (
    Query("compute_v3", "nvmlDeviceGetComputeRunningProcesses_v3"),
    Query("compute_v2", "nvmlDeviceGetComputeRunningProcesses_v2"),
)
GRAPHICS_PROCESSES = (
    Query("graphics_v3", "nvmlDeviceGetGraphicsRunningProcesses_v3"),
    Query("graphics_v2", "nvmlDeviceGetGraphicsRunningProcesses_v2"),
)
MIG_MODE = (Query("mig_mode", "nvmlDeviceGetMigMode"),)
MIG_MOST = (Query("mig_most", "nvmlDeviceGetMaxMigDeviceCount"),)


def mig_instance(place: int) -> tuple[Query, ...]:
    """The query for the MIG instance at a place, which may be empty."""
    return (Query(f"mig_{place}", "nvmlDeviceGetMigDeviceHandleByIndex", (place,)),)


def held_by_pid(compute: Sequence[Any], graphics: Sequence[Any]) -> dict[int, int | None]:
    """Bytes by pid from the two lists of NVML; a process in both holds its memory once. None where it does not tell."""
    found: dict[int, int | None] = {}
    for entry in (*compute, *graphics):
        before, size = found.get(entry.pid), entry.usedGpuMemory
        found[entry.pid] = size if before is None else max(before, size or 0)
    return found
