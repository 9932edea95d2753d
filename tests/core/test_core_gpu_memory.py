"""A real engine under a core that reads a scripted GPU: whose memory it is, and that nobody ends the engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from nvml_library import FakeNvml, NoCompilerError, build_fake_nvml
from serve_process import STARTER, Serve, serving, wait_for

pytestmark = [pytest.mark.engine, pytest.mark.slow]

MIB = 1024**2


class Card:
    """One GPU with 8 GiB, whose holders the test says."""

    def __init__(self, nvml: FakeNvml) -> None:
        self.nvml = nvml
        self.hold({})

    def hold(self, held: dict[int, int]) -> None:
        """Bytes by pid."""
        self.nvml.write(
            {
                "gpus": 1,
                "gpu.0.memory_total": 8192 * MIB,
                "gpu.0.memory_used": 300 * MIB + sum(held.values()),
                "gpu.0.processes": ",".join(f"{pid}:{size}:C" for pid, size in held.items()),
            }
        )


@pytest.fixture
def card(tmp_path: Path) -> Card:
    try:
        library = build_fake_nvml(tmp_path / "nvml")
    except NoCompilerError as error:
        pytest.skip(f"{error}: the memory of models on a GPU is not tested")
    return Card(FakeNvml(library, tmp_path / "nvml.txt"))


@pytest.fixture
def serve(card: Card, tmp_path: Path, starter_file: object) -> Iterator[Serve]:
    environment = card.nvml.environment()
    paths = {name: environment[name] for name in ("LD_LIBRARY_PATH", "QUARTERDECK_FAKE_NVML")}
    with serving(tmp_path / "data", **paths) as running:
        running.patch(STARTER, load_config={"n_ctx": 512}).raise_for_status()
        yield running


def engine(serve: Serve) -> dict[str, Any]:
    [instance] = serve.http.get("/api/backends").json()[0]["instances"]
    return dict(instance)


def test_the_memory_of_an_engine_belongs_to_its_model_and_it_is_not_ended(serve: Serve, card: Card) -> None:
    serve.load()
    pid = engine(serve)["pid"]
    card.hold({pid: 900 * MIB})
    [held] = wait_for(lambda: serve.http.get("/api/status").json()["hardware"]["processes"], "the process")
    assert (held["pid"], held["model"], held["backend"], held["orphan"]) == (pid, STARTER, "embedded", False)
    wait_for(lambda: serve.model()["vram_bytes"] == 900 * MIB, "the memory of the model")
    assert engine(serve)["vram_bytes"] == 900 * MIB
    body = {"create_time": psutil.Process(pid).create_time()}
    refused = serve.http.post(f"/api/gpu/processes/{pid}/stop", json=body)
    assert (refused.status_code, refused.json()["code"]) == (409, "process_of_model")
    assert serve.model()["loaded"]
    assert serve.model()["alarm"] is None
