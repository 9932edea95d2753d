"""What is worth knowing of the machine when an engine has failed."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime

from quarterdeck import __version__
from quarterdeck.hardware.sampler import Sampler
from quarterdeck.schemas.backends import BackendView
from quarterdeck.schemas.models import Circumstances


class Witness:
    """Tells from the last sample, taken at most one interval ago: asking a driver that hangs would wait with it."""

    def __init__(
        self, sampler: Sampler, loaded: Callable[[], Collection[str]], engines: Callable[[], list[BackendView]]
    ) -> None:
        self._sampler = sampler
        self._loaded = loaded
        self._engines = engines

    def __call__(self) -> Circumstances:
        sample = self._sampler.latest()
        versions = {view.name: view.version for view in self._engines() if view.version}
        if sample.nvml.driver_version:
            versions["NVIDIA driver"] = sample.nvml.driver_version
        return Circumstances(
            at=datetime.now(UTC),
            gpu_state=sample.nvml.reason or sample.nvml.state.value,
            nvml=sample.nvml.state,
            gpus=sample.gpus,
            holders=sample.processes,
            host_used_bytes=sample.host.memory_used,
            host_total_bytes=sample.host.memory_total,
            loaded=list(self._loaded()),
            versions={"quarterdeck": __version__, **versions},
        )
