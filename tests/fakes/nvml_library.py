"""Builds the fake libnvidia-ml.so.1 and writes its script.

The script is a text file of `key=value` lines, read again at each call, so that a running program can be changed:

    gpus=2                       number of GPUs
    driver=570.86.15             driver version
    wave=20                      seconds in which the values swing once; 0 keeps them still
    gpu.0.utilization=37         also name, uuid, bus_id, memory_total, memory_used (bytes), temperature, power and
                                 power_limit (milliwatts); with a wave this is the middle of the swing
    gpu.0.processes=4242:5368709120:C,self:na:G   pid:bytes:kinds of each process on a GPU; `self` and `parent` are pids
                                 too, `na` is a memory that the driver does not tell, the kinds are C, G or CG
    gpu.0.mig=2                  the GPU is divided into so many instances; gpu.0.mig.0.memory_total and .processes are
                                 those of the first
    fail.nvmlInitWithFlags=18    return code of a function
    fail.0.nvmlDeviceGetPowerUsage=3   the same for one GPU
    fail.0=15                    return code of every function about one GPU
    delay.nvmlInitWithFlags=5000 milliseconds a function takes
    calls=/tmp/calls.txt         file to which the name of each called function is appended

Show a moving desktop by hand: `python tests/fakes/nvml_library.py /tmp/nvml` builds it and prints the variables to
set; without a script there are two GPUs whose values move.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

SCRIPT_VARIABLE = "QUARTERDECK_FAKE_NVML"
LIBRARY = "libnvidia-ml.so.1"
SOURCE = Path(__file__).with_name("nvml.c")


class NoCompilerError(Exception):
    """There is no C compiler, so that the fake library cannot be built."""


def build_fake_nvml(folder: Path) -> Path:
    """Compile the fake library into `folder` and return its path. Raises NoCompilerError."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or sys.platform != "linux":
        raise NoCompilerError("the fake NVML library needs Linux and a C compiler (cc)")
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / LIBRARY
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", f"-Wl,-soname,{LIBRARY}"]
    built = subprocess.run([*command, "-o", library, SOURCE, "-lm"], capture_output=True, text=True, check=False)
    if built.returncode != 0:
        raise RuntimeError(f"the fake NVML library does not compile:\n{built.stderr}")
    return library


class FakeNvml:
    """A script for the fake library, and the environment of a process that shall load it."""

    def __init__(self, library: Path, script: Path) -> None:
        self.library = library
        self.script = script
        self.calls_file = script.with_suffix(".calls")
        self.write()

    def write(self, values: Mapping[str, object] | None = None) -> None:
        """Replace the whole script, at once for a program that reads it meanwhile."""
        lines = {"calls": self.calls_file, **(values or {})}
        draft = self.script.with_suffix(".new")
        draft.write_text("".join(f"{key}={value}\n" for key, value in lines.items()), encoding="utf-8")
        draft.replace(self.script)

    def environment(self) -> dict[str, str]:
        """This process's environment with the fake library in front of any real one."""
        return fake_environment(self.library) | {SCRIPT_VARIABLE: str(self.script)}

    def calls(self) -> list[str]:
        """The functions called since `forget_calls`, in order."""
        return self.calls_file.read_text(encoding="utf-8").split() if self.calls_file.exists() else []

    def forget_calls(self) -> None:
        self.calls_file.unlink(missing_ok=True)


def fake_environment(library: Path) -> dict[str, str]:
    """This process's environment such that the fake library is found first; two moving GPUs."""
    paths = [str(library.parent), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(paths)}


if __name__ == "__main__":
    built_library = build_fake_nvml(Path(sys.argv[1] if len(sys.argv) > 1 else ".").absolute())
    sys.stdout.write(f"export LD_LIBRARY_PATH={built_library.parent}\n")
