"""The fake NVML library, and a child process that reads it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "fakes")]

from hardware_process import Child, child_process  # noqa: E402
from nvml_library import FakeNvml, NoCompilerError, build_fake_nvml  # noqa: E402


@pytest.fixture(scope="session")
def fake_nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return build_fake_nvml(tmp_path_factory.mktemp("nvml"))
    except NoCompilerError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def module_nvml(fake_nvml_library: Path, tmp_path_factory: pytest.TempPathFactory) -> FakeNvml:
    return FakeNvml(fake_nvml_library, tmp_path_factory.mktemp("script") / "nvml.txt")


@pytest.fixture(scope="module")
def module_child(module_nvml: FakeNvml) -> Iterator[Child]:
    with child_process(module_nvml.environment()) as child:
        yield child


@pytest.fixture
def fake_nvml(module_nvml: FakeNvml) -> FakeNvml:
    """Two healthy GPUs with still values."""
    module_nvml.write()
    module_nvml.forget_calls()
    return module_nvml


@pytest.fixture
def child(module_child: Child) -> Child:
    return module_child
