"""Real engines on odd ports, each told apart by what it answers, while it starts, runs and has ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import aiohttp
import psutil
import pytest
from real_engines import LITELLM, OLLAMA, VLLM, VLLM_MODEL, needs

from quarterdeck.backends.base import Target
from quarterdeck.backends.embedded import EmbeddedBackend
from quarterdeck.backends.listeners import listeners, listens
from quarterdeck.backends.logs import LogBook
from quarterdeck.backends.probe import probe
from quarterdeck.backends.process import free_port
from quarterdeck.registry.starter import starter_file
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.discovery import FoundServer, ServerState

pytestmark = pytest.mark.engine

KEY = "sk-0123456789abcdef0123456789abcdef"
Start = Callable[[Sequence[str], dict[str, str]], "subprocess.Popen[bytes]"]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a program in a group of its own, which ends with the test."""
    running: list[subprocess.Popen[bytes]] = []

    def make(argv: Sequence[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
        with (tmp_path / "engine.log").open("wb") as log:
            running.append(
                subprocess.Popen(
                    argv, env={**os.environ, **env}, stdout=log, stderr=log, cwd=tmp_path, start_new_session=True
                )
            )
        return running[-1]

    yield make
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


async def until_up(
    http: aiohttp.ClientSession, url: str, process: subprocess.Popen[bytes], seconds: float, key: str | None = None
) -> tuple[FoundServer, set[ServerState]]:
    """Probe until the server is up; with the states that were seen before."""
    seen: set[ServerState] = set()
    async with asyncio.timeout(seconds):
        while True:
            found = await probe(http, url, key)
            if found.state is ServerState.UP:
                return found, seen
            seen.add(found.state)
            assert process.poll() is None, "the engine ended"
            await asyncio.sleep(0.05)


@needs(OLLAMA, "telling Ollama apart")
async def test_ollama(http: aiohttp.ClientSession, start: Start, tmp_path: Path) -> None:
    port = free_port()
    env = {"OLLAMA_HOST": f"127.0.0.1:{port}", "OLLAMA_MODELS": str(tmp_path / "models")}
    process = start([str(OLLAMA), "serve"], env)

    found, seen = await until_up(http, f"http://127.0.0.1:{port}", process, 60)

    assert (found.product, found.kind) == ("ollama", BackendKind.OLLAMA)
    assert found.version
    assert (found.models, found.detail) == ([], "It has no models yet.")
    assert seen <= {ServerState.DOWN, ServerState.UNKNOWN}
    listener = listeners([port])[port]
    assert listens(process.pid, psutil.Process(process.pid).create_time(), port)
    assert listener.command is not None
    assert "serve" in listener.command
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert (await probe(http, f"http://127.0.0.1:{port}")).state is ServerState.DOWN


async def test_llama_cpp(http: aiohttp.ClientSession) -> None:
    file = starter_file()
    assert file is not None
    backend = EmbeddedBackend(LogBook("embedded"), stop_patience=lambda: 3.0)
    states: list[asyncio.Task[FoundServer]] = []
    ports: list[int] = []

    async def started(record: object) -> None:
        ports.append(record.port)  # type: ignore[attr-defined]

    def progress(_stage: str, _part: float | None) -> None:
        if ports and len(states) < 20:
            states.append(asyncio.ensure_future(probe(http, f"http://127.0.0.1:{ports[0]}")))

    target = Target("tiny", file, file.stat().st_size, backend.check_config({"n_ctx": 512}))
    instance = await backend.load(target, timeout=60, progress=progress, started=started)
    try:
        found = await probe(http, instance.base_url)
        before = {(await state).state for state in states}
    finally:
        await backend.unload(instance)

    assert (found.product, found.kind, found.state) == ("llama.cpp", BackendKind.LLAMA_SERVER, ServerState.UP)
    assert len(found.models) == 1
    assert (found.models[0].context_length, found.models[0].has_chat_template) == (8192, True)
    assert before <= {ServerState.DOWN, ServerState.STARTING, ServerState.UP, ServerState.UNKNOWN}
    assert (await probe(http, instance.base_url)).state is ServerState.DOWN


@pytest.mark.slow
@needs(LITELLM, "telling LiteLLM apart")
async def test_litellm(http: aiohttp.ClientSession, start: Start, tmp_path: Path) -> None:
    asked: list[str] = []

    async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readline()).decode())
        writer.close()

    behind = await asyncio.start_server(upstream, "127.0.0.1", 0)
    api_base = f"http://127.0.0.1:{behind.sockets[0].getsockname()[1]}/v1"
    (tmp_path / "config.yaml").write_text(
        "model_list:\n  - model_name: local\n    litellm_params:\n"
        f"      {{model: openai/x, api_base: '{api_base}', api_key: none}}\n",
        encoding="utf-8",
    )
    port = free_port()
    process = start(
        [str(LITELLM), "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"],
        {"LITELLM_MASTER_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    )
    url = f"http://127.0.0.1:{port}"

    async with behind:
        found, _ = await until_up(http, url, process, 90, KEY)
        without, wrong = await probe(http, url), await probe(http, url, "sk-wrong")

    assert (found.product, found.kind) == ("litellm", BackendKind.LITELLM)
    assert [model.name for model in found.models] == ["local"]
    assert (without.product, without.state) == ("litellm", ServerState.UNKNOWN)
    assert (wrong.product, wrong.state) == ("litellm", ServerState.UNKNOWN)
    # LiteLLM itself asks for their model lists when it starts.
    assert not [line for line in asked if not line.startswith("GET /v1/models ")], "no model was asked to chat"


@pytest.mark.slow
@pytest.mark.timeout(330)
@needs(VLLM, "telling vLLM apart")
async def test_vllm(http: aiohttp.ClientSession, start: Start) -> None:
    port = free_port()
    process = start(
        [str(VLLM), "serve", str(VLLM_MODEL), "--served-model-name", "smollm2", "--host", "127.0.0.1", "--port",
         str(port), "--max-model-len", "512", "--enforce-eager", "--api-key", KEY],
        {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_CPU_KVCACHE_SPACE": "1",
         "VLLM_HOST_IP": "127.0.0.1"},
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"

    found, _ = await until_up(http, url, process, 300, KEY)
    without = await probe(http, url)
    command = (await asyncio.to_thread(listeners, [port]))[port].command

    assert (found.product, found.kind, found.models[0].name) == ("vllm", BackendKind.VLLM, "smollm2")
    assert found.models[0].context_length == 512
    assert found.version
    assert (without.product, without.state) == ("vllm", ServerState.UNKNOWN), "a key guards only some of its paths"
    assert command is not None
    assert KEY not in command
