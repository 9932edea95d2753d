"""GPU and host samples. A value that cannot be had is null, and `unavailable` says why."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field


class NvmlState(StrEnum):
    """Whether NVML answers, and if not, which kind of "off" it is."""

    STARTING = "starting"
    OK = "ok"
    DISABLED = "disabled"
    LIBRARY_NOT_FOUND = "library_not_found"
    DRIVER_NOT_LOADED = "driver_not_loaded"
    VERSION_MISMATCH = "version_mismatch"
    NO_PERMISSION = "no_permission"
    NO_GPU = "no_gpu"
    GPU_LOST = "gpu_lost"
    NOT_RESPONDING = "not_responding"
    FAILED = "failed"


class NvmlStatus(BaseModel):
    """The state of NVML with a sentence for people and what to do about it."""

    state: NvmlState
    reason: str = ""
    hint: str = ""
    driver_version: str | None = None


class GpuVendor(StrEnum):
    """Who made a GPU, and so how it is read: NVML or the files of the amdgpu driver."""

    NVIDIA = "nvidia"
    AMD = "amd"


class GpuSample(BaseModel):
    """One GPU at one moment: percent, bytes, degrees Celsius, watts.

    `unavailable` maps a field name to the reason for which that field is null; its `processes` says why the programs
    that hold memory of this GPU, or how much each of them holds, are not known or not all of them are.
    """

    index: int
    uuid: str
    name: str
    vendor: GpuVendor = GpuVendor.NVIDIA
    bus_id: str | None = None
    utilization: float | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    temperature: float | None = None
    power: float | None = None
    power_limit: float | None = None
    unavailable: dict[str, str] = Field(default_factory=dict)


class GpuProcess(BaseModel):
    """A process that holds GPU memory. Bytes, seconds; null means that the driver does not tell.

    `name` is what a person knows it by (`vllm`, not `python3`), empty when nothing can be learned about it. `model` and
    `backend` are set when it belongs to a model that Quarterdeck knows, itself or as a descendant of its engine. An
    `orphan` is an engine that holds memory though whoever started it is gone. `create_time` tells it from a later
    process with the same pid.
    """

    gpu: int
    pid: int
    name: str
    command: str | None = None
    user: str | None = None
    age_s: float | None = None
    create_time: float | None = None
    memory_bytes: int | None = None
    model: str | None = None
    backend: str | None = None
    orphan: bool = False
    own_user: bool = True


class HostSample(BaseModel):
    """The machine itself: percent of all cores, bytes of memory."""

    cpu_percent: float
    cpu_count: int
    memory_used: int
    memory_total: int
    load_average: float | None = None


class HardwareSample(BaseModel):
    """What the graphs show for one moment. `surroundings` are sentences about WSL, MIG and the like."""

    at: datetime
    nvml: NvmlStatus
    host: HostSample
    gpus: list[GpuSample] = Field(default_factory=list)
    processes: list[GpuProcess] = Field(default_factory=list)
    surroundings: list[str] = Field(default_factory=list)
