"""What sampling at 1 Hz costs: `python tests/benchmarks/bench_sampler.py [seconds]`.

Measures the processor time of a process that only samples: inactive, active without NVML, and active with NVML
(the real library if there is one, else the fake one with two GPUs, which reads its script once per value).
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "fakes"))

from nvml_library import SCRIPT_VARIABLE, NoCompilerError, build_fake_nvml, fake_environment  # noqa: E402


def measure(seconds: float, *, nvml: bool, active: bool) -> None:
    """Run in a process of its own; prints one row."""
    from quarterdeck.hardware.sampler import Sampler

    sampler = Sampler(nvml_enabled=nvml, interval=1.0)
    sampler.start()
    sampler.wait_ready(10)
    sampler.set_active(active)
    time.sleep(0.1)
    samples, began, used = len(sampler.history()), time.perf_counter(), time.process_time()
    time.sleep(seconds)
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    latest, taken = sampler.latest(), len(sampler.history()) - samples
    sampler.stop()
    per_sample = f"{1000 * cpu / taken:8.2f} ms/sample" if taken else " " * 18
    label = ("active" if active else "inactive") + (", NVML" if nvml else ", no NVML")
    sys.stdout.write(
        f"{label:20} {100 * cpu / wall:6.3f} % of a core {per_sample}   {taken} samples, {len(latest.gpus)} GPUs, "
        f"{latest.nvml.state}\n"
    )


def environment(folder: Path) -> dict[str, str]:
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        try:
            return fake_environment(build_fake_nvml(folder)) | {SCRIPT_VARIABLE: ""}
        except NoCompilerError as error:
            sys.stderr.write(f"NVML is measured without a library: {error}\n")
    return dict(os.environ)


def main() -> None:
    seconds = sys.argv[1] if len(sys.argv) > 1 else "20"
    with tempfile.TemporaryDirectory() as folder:
        variables = environment(Path(folder))
        for nvml, active in ((False, False), (False, True), (True, False), (True, True)):
            command = [sys.executable, __file__, seconds, str(int(nvml)), str(int(active))]
            subprocess.run(command, env=variables, check=True)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        measure(float(sys.argv[1]), nvml=sys.argv[2] == "1", active=sys.argv[3] == "1")
    else:
        main()
