"""vLLM as it really is, on the CPU: SmolLM2 loaded, asked, unloaded and killed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from real_engines import VLLM, VLLM_MODEL, needs

from quarterdeck.backends.base import EngineFailed, EngineRecord, Instance, Target
from quarterdeck.backends.logs import LogBook
from quarterdeck.backends.process import free_port
from quarterdeck.backends.vllm import VllmBackend
from quarterdeck.backends.vllm_options import OPTIONS, OURS
from quarterdeck.backends.vllm_state import read_state
from quarterdeck.backends.vllm_tools import FAMILIES
from quarterdeck.schemas.backends import BackendState
from quarterdeck.settings import Settings

pytestmark = [
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.timeout(400),
    needs(VLLM, "loading a real model with vLLM"),
    needs(VLLM_MODEL, "loading a real model with vLLM"),
]

CONFIG: dict[str, Any] = {
    "max_model_len": 1024,
    "enforce_eager": True,
    "env": {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"},
}
STEPS = ["starting the engine", "preparing the model", "reading the model", "placing the model",
         "setting up the KV cache", "opening the server"]  # fmt: skip


class Real:
    """A backend with the real program; remembers what it has started and what it was told."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(vllm_command=str(VLLM), vllm_port=free_port(), stop_timeout=3.0)
        self.backend = VllmBackend(LogBook("vllm"), settings=lambda: self.settings, data=folder)
        self.stages: list[tuple[str, float | None]] = []
        self.records: list[EngineRecord] = []

    async def load(self, config: dict[str, Any] | None = None) -> Instance:
        async def started(record: EngineRecord) -> None:
            self.records.append(record)

        target = Target("smollm2", VLLM_MODEL, None, self.backend.check_config({**CONFIG, **(config or {})}))
        return await self.backend.load(
            target, timeout=300, progress=lambda stage, part: self.stages.append((stage, part)), started=started
        )

    def family(self) -> list[psutil.Process]:
        leader = psutil.Process(self.records[-1].pid)
        return [leader, *leader.children(recursive=True)]

    def reached(self, stage: str) -> bool:
        return any(each == stage for each, _ in self.stages)


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[Real]:
    made = Real(tmp_path)
    yield made
    await made.backend.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.02)


def shared_memory(family: list[psutil.Process]) -> list[Path]:
    """The shared memory of these processes; as a file it stays until somebody removes it."""
    found = {Path(each.path) for process in family for each in process.memory_maps() if "/dev/shm/" in each.path}
    return [file for file in found if file.exists()]


def gone(family: list[psutil.Process]) -> bool:
    return not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in family)


async def test_a_model_is_loaded_answers_and_leaves_nothing(real: Real) -> None:
    instance = await real.load()
    assert [stage for stage in dict.fromkeys(stage for stage, _ in real.stages) if stage in STEPS[1:4]] == STEPS[1:4]
    async with httpx.AsyncClient(base_url=instance.base_url, trust_env=False, timeout=120) as http:
        message = {"role": "user", "content": "Say hello."}
        body = {"model": "smollm2", "messages": [message], "max_tokens": 4}
        answer = (await http.post("/v1/chat/completions", json=body)).json()
        assert answer["choices"][0]["message"]["content"]
    state = read_state(real.backend.state_file)
    assert state is not None
    assert (state.port, state.served_model_id) == (real.settings.vllm_port, "smollm2")
    view = real.backend.view([instance])
    assert view.state is BackendState.RUNNING
    assert re.match(r"\d+\.\d+", str(view.version))
    # The template of this model knows no tools.
    assert await real.backend.defect(instance) is None
    family = real.family()
    assert len(family) >= 3
    shared = shared_memory(family)
    assert shared
    await real.backend.unload(instance)
    assert (await instance.exited).asked_for
    await until(lambda: gone(family))
    assert not real.backend.state_file.exists()
    assert not [file for file in shared if file.exists()]


async def test_killed_while_idle_it_takes_its_workers_with_it(real: Real) -> None:
    instance = await real.load()
    family = real.family()
    shared = shared_memory(family)
    os.kill(real.records[0].pid, signal.SIGKILL)
    report = await instance.exited
    assert (report.signal, report.asked_for) == ("SIGKILL", False)
    await until(lambda: gone(family))
    assert not [file for file in shared if file.exists()]
    assert real.backend.view([]).state is BackendState.FAILED


async def test_a_worker_killed_while_idle_is_noticed(real: Real) -> None:
    instance = await real.load()
    family = real.family()
    os.kill(family[-1].pid, signal.SIGKILL)
    async with asyncio.timeout(60):
        report = await instance.exited
    assert not report.asked_for
    await until(lambda: gone(family))


async def test_killed_while_loading_it_fails_and_leaves_nothing(real: Real) -> None:
    load = asyncio.ensure_future(real.load())
    await until(lambda: real.reached("preparing the model") or load.done())
    family = real.family()
    os.kill(real.records[0].pid, signal.SIGKILL)
    with pytest.raises(EngineFailed) as caught:
        await load
    assert caught.value.exit_report is not None
    assert caught.value.exit_report.signal == "SIGKILL"
    await until(lambda: gone(family))


async def test_a_load_that_is_cancelled_leaves_nothing(real: Real) -> None:
    load = asyncio.ensure_future(real.load())
    await until(lambda: real.reached("preparing the model") or load.done())
    family = real.family()
    load.cancel()
    with pytest.raises(asyncio.CancelledError):
        await load
    await until(lambda: gone(family))


async def test_a_context_that_does_not_fit_is_told_with_its_cause(real: Real) -> None:
    with pytest.raises(EngineFailed) as caught:
        await real.load({"max_model_len": 500_000, "hf_overrides": {"max_position_embeddings": 500_000}})
    assert caught.value.exit_report is not None
    assert caught.value.exit_report.exit_code == 1
    assert any("Engine core initialization failed" in line for line in caught.value.log)
    assert "KV cache" in str(real.backend.view([]).last_error)


def test_every_option_is_one_that_vllm_has() -> None:
    """All but those that only older versions have, and all parsers of the model families."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "COLUMNS": "200"}
    help_text = subprocess.run(
        [str(VLLM), "serve", "--help=all"], capture_output=True, text=True, env=environment, timeout=200, check=True
    ).stdout
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", help_text))
    older = {"--swap-space", "--task"}
    wanted = {flag for option in OPTIONS for flag in (option.flag, option.off) if flag} | set(OURS)
    assert wanted - flags <= older
    parsers = set(re.search(r"--tool-call-parser \{([^}]+)\}", help_text).group(1).split(","))  # type: ignore[union-attr]
    assert {family.tool_parser for family in FAMILIES if family.tool_parser} <= parsers
