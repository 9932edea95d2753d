"""Samples of all NVIDIA GPUs, and the state of NVML when there are none. Runs on the thread that owns NVML."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from quarterdeck.hardware import nvml, reasons
from quarterdeck.hardware.backoff import Backoff
from quarterdeck.hardware.processes import Held
from quarterdeck.hardware.surroundings import Surroundings, sysfs_address
from quarterdeck.hardware.units import add, celsius, memory, percent, watts, without_values
from quarterdeck.schemas.hardware import GpuSample, NvmlState, NvmlStatus

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Device:
    """One GPU: its handle, what it is, what it does not support, and how it was lost if it was."""

    handle: Any
    identity: GpuSample
    unsupported: dict[str, str] = field(default_factory=dict)
    lost: nvml.Refused | None = None
    divided: bool = False


class Gpus:
    """Reads all NVIDIA GPUs; never raises for what the driver does, but says it in `status`."""

    def __init__(
        self, *, surroundings: Surroundings | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._surroundings = surroundings or Surroundings()
        self._backoff = Backoff(clock)
        self._devices: list[_Device] = []
        self._driver: str | None = None
        self._connected = False
        self.status = reasons.explain(NvmlState.STARTING, self._surroundings)
        self.held: list[Held] = []
        self.listed = False
        self.notes: list[str] = []

    def read(self) -> list[GpuSample]:
        """A sample of each GPU; connects first, and again after a failure once its waiting time is over.

        Afterwards `held` are the processes that hold memory, `listed` is true when every card told them with their
        memory, and `notes` are sentences about the cards.
        """
        self.held, self.listed, self.notes = [], False, []
        try:
            if self._must_connect():
                self._connect()
            if self._connected:
                samples = [self._sample(device) for device in self._devices]
                self._judge()
                refused = any(device.lost for device in self._devices)
                self.listed = not refused and all("processes" not in sample.unavailable for sample in samples)
                return samples
        except nvml.Refused as refused:
            self._disconnect(refused)
        except Exception:  # noqa: BLE001 - logged; a defect here must not end the graphs of the host
            _log.exception("reading the GPUs failed")
            self.close()
            self._fail(NvmlState.FAILED)
        return [self._without_values(device) for device in self._devices]

    def close(self) -> None:
        """Give NVML back; the library stays loaded."""
        if not self._connected:
            return
        self._connected = False
        try:
            nvml.call("nvmlShutdown")
        except nvml.Refused as refused:
            _log.info("NVML did not shut down cleanly: %s", refused)

    def _must_connect(self) -> bool:
        wanted = not self._connected or any(device.lost for device in self._devices)
        return wanted and self._backoff.due()

    def _connect(self) -> None:
        if not self._connected and self._surroundings.all_asleep():
            self.status = reasons.asleep()
            return
        self.close()
        nvml.call("nvmlInit")
        self._connected = True
        self._driver = self._driver_version()
        self._devices = [self._open(index) for index in range(nvml.call("nvmlDeviceGetCount"))]
        if not self._devices:
            self.close()
            self._fail(NvmlState.NO_GPU)

    def _driver_version(self) -> str | None:
        try:
            return str(nvml.call("nvmlSystemGetDriverVersion"))
        except nvml.Refused as refused:
            if refused.disconnected:
                raise
            return None

    def _open(self, index: int) -> _Device:
        known = self._devices[index].identity if index < len(self._devices) else None
        identity = known or GpuSample(index=index, uuid=f"gpu-{index}", name=f"NVIDIA GPU {index}")
        try:
            device = _Device(nvml.call("nvmlDeviceGetHandleByIndex", index), identity)
        except nvml.Refused as refused:
            if refused.disconnected:
                raise
            return _Device(None, identity, lost=refused)
        name, uuid, pci = (self._ask(device, queries)[0] for queries in (nvml.NAME, nvml.UUID, nvml.PCI))
        device.identity = GpuSample(
            index=index,
            uuid=uuid or identity.uuid,
            name=name or identity.name,
            bus_id=sysfs_address(str(pci.busId)) if pci else identity.bus_id,
            memory_total=identity.memory_total,
            power_limit=identity.power_limit,
        )
        mode, _ = self._ask(device, nvml.MIG_MODE)
        device.divided = bool(mode and mode[0])
        return device

    def _sample(self, device: _Device) -> GpuSample:
        identity = device.identity
        if identity.bus_id and self._surroundings.is_asleep(identity.bus_id):
            return without_values(identity, reasons.ASLEEP)
        values: dict[str, Any] = {}
        why: dict[str, str] = {}
        answer, why["utilization"] = self._ask(device, nvml.UTILIZATION)
        values["utilization"] = percent(answer.gpu) if answer else None
        answer, why["memory_used"] = self._ask(device, nvml.MEMORY)
        values["memory_used"], values["memory_total"] = memory(answer.used, answer.total) if answer else (None, None)
        if answer and not answer.total:
            why["memory_used"] = reasons.SHARED_MEMORY
        why["memory_total"] = why["memory_used"]
        for name, queries, convert in _NUMBERS:
            answer, why[name] = self._ask(device, queries)
            values[name] = None if answer is None else convert(answer)
        held, why["processes"] = self._holders(device)
        if device.lost:
            return self._without_values(device)
        self.held.extend(held)
        lasting = {name: values[name] for name in ("memory_total", "power_limit") if values[name] is not None}
        device.identity = identity.model_copy(update=lasting)
        missing = {name: why[name] or reasons.IMPLAUSIBLE for name, value in values.items() if value is None}
        if device.divided and "utilization" in missing:
            missing["utilization"] = reasons.DIVIDED
        if why["processes"]:
            missing["processes"] = why["processes"]
        return identity.model_copy(update={**values, "unavailable": missing})

    def _holders(self, device: _Device) -> tuple[list[Held], str]:
        """The processes that hold memory of this GPU, and why they or their memory are not known, or not all."""
        if self._surroundings.is_wsl():
            return [], reasons.WSL_PROCESSES
        handles = self._instances(device) if device.divided else [device.handle]
        found: dict[int, int | None] = {}
        reason = ""
        for handle in handles:
            compute, why = self._ask(device, nvml.COMPUTE_PROCESSES, handle)
            graphics, _ = self._ask(device, nvml.GRAPHICS_PROCESSES, handle)
            reason = reason or why
            for pid, size in nvml.held_by_pid(compute or [], graphics or []).items():
                found[pid] = add(found.get(pid, 0), size)
        if not reason and None in found.values():
            reason = reasons.NOT_PER_PROCESS
        return [Held(device.identity.index, pid, size) for pid, size in found.items()], reason

    def _instances(self, device: _Device) -> list[Any]:
        """The MIG instances of a divided card; a note says which there are."""
        most, _ = self._ask(device, nvml.MIG_MOST)
        asked = [self._ask(device, nvml.mig_instance(place))[0] for place in range(most or 0)]
        instances = [handle for handle in asked if handle is not None]
        memories = [self._ask(device, nvml.MEMORY, handle)[0] for handle in instances]
        self.notes.append(reasons.divided(device.identity.name, [memory.total for memory in memories if memory]))
        return instances

    def _ask(self, device: _Device, queries: tuple[nvml.Query, ...], handle: Any = None) -> tuple[Any, str]:
        """The first answer that one of `queries` gives, else None and the reason. Raises Refused when NVML is gone.

        The question is about the whole device, or about the MIG instance of it with that `handle`.
        """
        reason = ""
        for query in queries:
            if device.lost:
                return None, device.lost.reason
            if query.key in device.unsupported:
                reason = device.unsupported[query.key]
                continue
            try:
                return nvml.call(query.function, handle or device.handle, *query.arguments), ""
            except nvml.Refused as refused:
                if refused.disconnected:
                    raise
                reason = refused.reason
                if refused.lost:
                    device.lost = refused
                elif refused.permanent:
                    device.unsupported[query.key] = reason
        return None, reason

    def _judge(self) -> None:
        """Set the status after a round of samples; only a round without a lost GPU ends the waiting."""
        lost = next((device for device in self._devices if device.lost), None)
        if lost is None or lost.lost is None:
            self._backoff.reset()
            self.status = NvmlStatus(state=NvmlState.OK, driver_version=self._driver)
            return
        if self._backoff.due():
            self._backoff.failed()
        if self.status.state is not lost.lost.state:
            _log.warning("GPU %s gives no values: %s", lost.identity.index, lost.lost)
        self.status = reasons.explain(
            lost.lost.state,
            self._surroundings,
            subject=lost.identity.name,
            detail="" if lost.lost.reason == reasons.LOST else lost.lost.reason,
            driver_version=self._driver,
        )

    def _disconnect(self, refused: nvml.Refused) -> None:
        self.close()
        if refused.lost:
            for device in self._devices:
                device.lost = device.lost or refused
        self._fail(refused.state, refused.reason if refused.state is NvmlState.FAILED else "")

    def _fail(self, state: NvmlState, detail: str = "") -> None:
        if state is not self.status.state:
            _log.info("NVML is off: %s %s", state, detail)
        lost = state is NvmlState.GPU_LOST
        self._driver = self._driver if lost else None
        self._devices = self._devices if lost else []
        self.status = reasons.explain(state, self._surroundings, detail=detail, driver_version=self._driver)
        self._backoff.failed()

    def _without_values(self, device: _Device) -> GpuSample:
        return without_values(device.identity, device.lost.reason if device.lost else self.status.reason)


_NUMBERS: tuple[tuple[str, tuple[nvml.Query, ...], Callable[[int], float | None]], ...] = (
    ("temperature", nvml.TEMPERATURE, celsius),
    ("power", nvml.POWER, watts),
    ("power_limit", nvml.POWER_LIMIT, watts),
)
