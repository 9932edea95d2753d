"""The embedded engine as it really is: llama.cpp's server with the starter model."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from quarterdeck.backends.base import EngineFailed, EngineRecord, Instance, Target
from quarterdeck.backends.embedded import EmbeddedBackend
from quarterdeck.backends.logs import LogBook
from quarterdeck.backends.process import free_port
from quarterdeck.errors import ConfigError
from quarterdeck.processes import is_alive
from quarterdeck.schemas.backends import BackendState

pytestmark = pytest.mark.engine

Stages = list[tuple[str, float | None]]


@pytest.fixture
async def backend() -> AsyncIterator[EmbeddedBackend]:
    made = EmbeddedBackend(LogBook("embedded"), stop_patience=lambda: 3.0)
    instances: list[Instance] = []
    load = made.load

    async def remembered(*arguments: Any, **named: Any) -> Instance:
        instances.append(await load(*arguments, **named))
        return instances[-1]

    made.load = remembered  # type: ignore[method-assign]
    yield made
    for instance in instances:
        await made.unload(instance)


async def load(
    backend: EmbeddedBackend, file: Path, config: Mapping[str, Any] | None = None, *, timeout: float = 60
) -> tuple[Instance, Stages, list[EngineRecord]]:
    stages: Stages = []
    records: list[EngineRecord] = []

    async def started(record: EngineRecord) -> None:
        records.append(record)

    target = Target("tiny", file, file.stat().st_size, backend.check_config({"n_ctx": 512, **(config or {})}))
    instance = await backend.load(
        target, timeout=timeout, progress=lambda stage, part: stages.append((stage, part)), started=started
    )
    return instance, stages, records


async def test_a_loaded_model_answers_and_ends_when_unloaded(backend: EmbeddedBackend, starter_file: Path) -> None:
    instance, stages, [record] = await load(backend, starter_file)
    async with httpx.AsyncClient(base_url=instance.base_url, trust_env=False, timeout=60) as http:
        answer = await http.post("/v1/completions", json={"prompt": "One, two,", "max_tokens": 3})
        assert answer.json()["choices"][0]["text"].strip()
        assert (await http.post("/v1/embeddings", json={"input": "hello"})).json()["data"][0]["embedding"]
    assert record == instance.record
    assert list(dict.fromkeys(stage for stage, _ in stages)) == ["starting the engine", "reading the model"]
    assert all(part is None or 0 <= part <= 1 for _, part in stages)
    view = backend.view([instance])
    assert (view.state, view.pid, view.models) == (BackendState.RUNNING, record.pid, ["tiny"])
    assert any("llama" in line.text for line in backend.log.tail(1000))
    await backend.unload(instance)
    assert (await instance.exited).asked_for
    assert not is_alive(record.pid, record.create_time)
    assert backend.view([]).state is BackendState.STOPPED


async def test_a_crash_is_told_in_the_view(backend: EmbeddedBackend, starter_file: Path) -> None:
    instance, _, [record] = await load(backend, starter_file)
    os.kill(record.pid, signal.SIGSEGV)
    report = await instance.exited
    assert (report.signal, report.asked_for) == ("SIGSEGV", False)
    assert backend.view([]).state is BackendState.FAILED
    assert backend.view([]).last_error


async def test_a_file_that_the_engine_refuses_fails_with_its_log(backend: EmbeddedBackend, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\0" * 64)
    with pytest.raises(EngineFailed) as caught:
        await load(backend, broken)
    assert caught.value.exit_report is not None
    assert caught.value.exit_report.exit_code or caught.value.exit_report.signal
    assert any("fail" in line for line in caught.value.log)
    assert backend.view([]).state is BackendState.FAILED


@pytest.mark.parametrize("extra", [{"no_such_thing": 1}, {"n_keep": "many"}])
async def test_bad_extra_args_end_in_a_line_that_names_them(
    backend: EmbeddedBackend, starter_file: Path, extra: dict[str, Any]
) -> None:
    with pytest.raises((EngineFailed, ConfigError)) as caught:
        await load(backend, starter_file, {"extra_args": extra})
    name = next(iter(extra))
    told = caught.value.log[-1] if isinstance(caught.value, EngineFailed) else caught.value.sentence
    assert name in told


async def test_a_load_that_is_cancelled_leaves_no_engine(backend: EmbeddedBackend, starter_file: Path) -> None:
    known: asyncio.Future[EngineRecord] = asyncio.get_running_loop().create_future()

    async def started(record: EngineRecord) -> None:
        known.set_result(record)

    target = Target("tiny", starter_file, None, {"n_ctx": 512})
    task = asyncio.ensure_future(backend.load(target, timeout=60, progress=lambda _stage, _part: None, started=started))
    record = await known
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not is_alive(record.pid, record.create_time)
    assert backend.view([]).state is BackendState.STOPPED


async def test_a_load_that_takes_too_long_is_ended(backend: EmbeddedBackend, starter_file: Path) -> None:
    with pytest.raises(EngineFailed) as caught:
        await load(backend, starter_file, timeout=0.0)
    assert (caught.value.timed_out, caught.value.exit_report) == (0.0, None)


PARENT = """
    import json, os, subprocess, sys
    argv = json.loads(sys.argv[1]) + ["--parent", str(os.getpid())]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True)
    print(child.pid, flush=True)
    child.wait()
"""


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("when", ["at once", "loaded"])
def test_the_engine_dies_with_its_parent(starter_file: Path, when: str) -> None:
    port = free_port()
    worker = [sys.executable, "-m", "quarterdeck.backends.embedded_worker", "--model", str(starter_file),
              "--port", str(port), "--alias", "tiny", "--config", '{"n_ctx": 512}']  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), json.dumps(worker)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        engine = int(parent.stdout.readline())
        created = engine_create_time(engine)
        try:
            if when == "loaded":
                wait_for(lambda: answers(port))
        finally:
            parent.kill()
    wait_for(lambda: not is_alive(engine, created))


def engine_create_time(pid: int) -> float:
    import psutil

    return float(psutil.Process(pid).create_time())
