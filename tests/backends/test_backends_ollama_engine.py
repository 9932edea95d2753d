"""The Ollama backend with the real Ollama and the starter model."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import ollama_bench as ollama_bench_module
import psutil
import pytest
from ollama_bench import OllamaBench, ollama_bench, until
from real_engines import OLLAMA, needs

from quarterdeck.backends import ollama_watch
from quarterdeck.backends.base import EngineFailed
from quarterdeck.backends.process import free_port
from quarterdeck.processes import is_alive
from quarterdeck.schemas.backends import BackendState

pytestmark = [pytest.mark.engine, needs(OLLAMA, "loading models with the real Ollama")]


FIRST_RUN = """
import asyncio, json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from ollama_bench import OllamaBench

async def main():
    bench = OllamaBench(Path(sys.argv[1]), ollama_url=sys.argv[2], ollama_command=sys.argv[3])
    await bench.backend.start()
    print(json.dumps(bench.remembered[-1]), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "models"))
    return tmp_path


@pytest.fixture
async def bench(store: Path, starter_file: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OllamaBench]:
    """A backend that has started Ollama itself, with the starter model in its store."""
    monkeypatch.setattr(ollama_watch, "LOOK_SECONDS", 0.1)
    url = f"http://127.0.0.1:{free_port()}"
    async with ollama_bench(store, ollama_url=url, ollama_command=str(OLLAMA), release_timeout=20) as made:
        await made.backend.start()
        await asyncio.to_thread(add_starter, url, starter_file, store)
        yield made


def add_starter(url: str, file: Path, folder: Path) -> None:
    modelfile = folder / "Modelfile"
    modelfile.write_text(f"FROM {file}\nPARAMETER num_ctx 512\n")
    host = url.removeprefix("http://")
    subprocess.run(
        [str(OLLAMA), "create", "smollm2", "-f", str(modelfile)],
        env={**os.environ, "OLLAMA_HOST": host}, check=True, capture_output=True, timeout=60,
    )  # fmt: skip


@contextmanager
def somebody_elses(url: str) -> Iterator[subprocess.Popen[bytes]]:
    """An Ollama that somebody else started at the address."""
    environment = {**os.environ, "OLLAMA_HOST": url.removeprefix("http://")}
    process = subprocess.Popen(
        [str(OLLAMA), "serve"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        for child in psutil.Process(process.pid).children():
            child.kill()
        process.kill()
        process.wait()


def chat(base_url: str, model: str) -> str:
    body = {"model": model, "max_tokens": 2, "messages": [{"role": "user", "content": "hi"}]}
    with httpx.Client(trust_env=False, timeout=60) as http:
        answer = http.post(f"{base_url}/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


async def test_a_model_is_found_loaded_answers_and_is_gone_when_unloaded(bench: OllamaBench) -> None:
    [found] = await bench.backend.found_models()
    assert (found.name, found.architecture, found.context_length) == ("smollm2:latest", "llama", 8192)
    assert (found.quantization, found.capabilities, found.parameter_count) == ("Q4_1", ["chat"], 134_515_008)
    instance = await bench.load()
    assert len(instance.pids) == 1
    runner = psutil.Process(instance.pids[0])
    assert any("sha256-" in word for word in runner.cmdline())
    assert await asyncio.to_thread(chat, instance.base_url, instance.served_id)
    assert [each.served_id for each in await bench.backend.residents()] == ["smollm2:latest"]
    view = bench.backend.view([instance])
    assert (view.state, view.instances[0].pid) == (BackendState.RUNNING, instance.pids[0])
    await bench.backend.unload(instance)
    assert await bench.backend.residents() == []
    assert not runner.is_running()
    await until(lambda: "llama runner started" in bench.log_text())


async def test_the_context_asked_for_holds_for_requests_that_cannot_name_it(bench: OllamaBench) -> None:
    instance = await bench.load(config={"num_ctx": 1024, "num_thread": 1})
    runner = instance.pids
    assert await asyncio.to_thread(chat, instance.base_url, instance.served_id)
    words = psutil.Process(runner[0]).cmdline()
    assert int(words[words.index("--ctx-size") + 1]) % 1024 == 0
    await bench.backend.unload(instance)
    assert [each.name for each in await bench.backend.found_models()] == ["smollm2:latest"]


async def test_kill_9_of_the_idle_server_leaves_nothing(bench: OllamaBench) -> None:
    instance = await bench.load()
    trace = bench.remembered[-1]
    assert trace is not None
    runner = psutil.Process(instance.pids[0])
    os.kill(trace["pid"], signal.SIGKILL)
    report = await asyncio.wait_for(instance.exited, 20)
    assert (report.signal, report.outside) == ("SIGKILL", None)
    await until(lambda: not runner.is_running())
    again = await bench.load()
    assert await asyncio.to_thread(chat, again.base_url, again.served_id)


async def test_kill_9_of_the_server_while_it_loads_fails_the_load(bench: OllamaBench) -> None:
    trace = bench.remembered[-1]
    assert trace is not None
    loading = asyncio.ensure_future(bench.load())
    await until(lambda: psutil.Process(trace["pid"]).children())
    os.kill(trace["pid"], signal.SIGKILL)
    with pytest.raises(EngineFailed) as failed:
        await loading
    assert failed.value.exit_report is not None
    assert failed.value.exit_report.signal == "SIGKILL"
    assert any("starting llama server" in line for line in failed.value.log)


async def test_kill_9_of_the_runner_is_a_crash_of_the_model_only(bench: OllamaBench) -> None:
    instance = await bench.load()
    os.kill(instance.pids[0], signal.SIGKILL)
    report = await asyncio.wait_for(instance.exited, 20)
    assert (report.outside, report.asked_for) == (None, False)
    again = await bench.load()
    assert await asyncio.to_thread(chat, again.base_url, again.served_id)


async def test_cancelling_a_load_leaves_nothing_in_memory(bench: OllamaBench) -> None:
    trace = bench.remembered[-1]
    assert trace is not None
    server = psutil.Process(trace["pid"])
    loading = asyncio.ensure_future(bench.load())
    await until(server.children)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    await until(lambda: not server.children())
    assert await bench.backend.residents() == []


async def test_a_model_file_that_ollama_cannot_load_fails_with_its_log(bench: OllamaBench, store: Path) -> None:
    [blob] = [path for path in (store / "models" / "blobs").iterdir() if path.stat().st_size > 50_000_000]
    os.truncate(blob, 40_000_000)
    with pytest.raises(EngineFailed) as failed:
        await bench.load()
    assert failed.value.exit_report is not None
    assert any("tensor" in line or "file" in line for line in failed.value.log)


async def test_a_later_run_takes_the_server_over_with_its_model(bench: OllamaBench) -> None:
    first = await bench.load()
    trace = bench.remembered[-1]
    assert trace is not None
    later = bench.another()
    assert await later.adopt(trace)
    [resident] = await later.residents()
    assert await later.release(resident)
    assert await later.residents() == []
    await later.close()
    assert not is_alive(trace["pid"], trace["create_time"])
    assert (await asyncio.wait_for(first.exited, 20)).asked_for is False


async def test_after_our_own_kill_9_the_server_lives_on_and_is_taken_over(store: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    support = str(Path(ollama_bench_module.__file__).parent)
    first_run = subprocess.Popen(
        [sys.executable, "-c", FIRST_RUN, str(store), url, str(OLLAMA), support], stdout=subprocess.PIPE, text=True
    )
    assert first_run.stdout is not None
    trace = json.loads(await asyncio.to_thread(first_run.stdout.readline))
    first_run.kill()
    first_run.wait()
    first_run.stdout.close()
    # Each request makes it write to its log: one whose output nobody reads would die of it.
    for _ in range(3):
        await until_answers(url)
    assert is_alive(trace["pid"], trace["create_time"])
    async with ollama_bench(store, ollama_url=url) as bench:
        assert await bench.backend.adopt(trace)
        assert await bench.backend.found_models() == []
        await until(lambda: "/api/tags" in bench.log_text())
        assert bench.backend.view([]).pid == trace["pid"]
    assert not is_alive(trace["pid"], trace["create_time"])


async def test_what_a_dead_server_left_is_ended_by_the_next_run(bench: OllamaBench, store: Path) -> None:
    """As after our own kill -9, when the server dies too before the next start: its runner is an orphan."""
    environment = {**os.environ, "OLLAMA_HOST": f"127.0.0.1:{free_port()}"}
    server = subprocess.Popen(
        [str(OLLAMA), "serve"], env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://{environment['OLLAMA_HOST']}"
    trace = {"pid": server.pid, "create_time": psutil.Process(server.pid).create_time(), "url": url, "command": ""}
    async with ollama_bench(store, ollama_url=url) as other:
        await until_answers(url)
        instance = await other.load()
        runner = psutil.Process(instance.pids[0])
        server.kill()
        server.wait()
        assert runner.is_running()
        assert not await bench.another().adopt(trace)
        await until(lambda: not runner.is_running() or runner.status() == psutil.STATUS_ZOMBIE)


async def test_a_restart_by_somebody_else_shows_as_unloaded(bench: OllamaBench, store: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with ollama_bench(store, ollama_url=url) as guest:
        with somebody_elses(url):
            await until_answers(url)
            instance = await guest.load()
            assert instance.pids
        with somebody_elses(url):
            report = await asyncio.wait_for(instance.exited, 20)
            assert report.outside in ("Ollama stopped answering.", "Ollama unloaded it.")
            await until_answers(url)
            assert (await guest.load()).pids
    assert bench.backend.view([]).state is BackendState.RUNNING


async def test_unloading_by_somebody_else_is_noticed(bench: OllamaBench) -> None:
    instance = await bench.load()
    async with httpx.AsyncClient(trust_env=False) as http:
        await http.post(f"{instance.base_url}/api/generate", json={"model": "smollm2", "keep_alive": 0})
    assert (await asyncio.wait_for(instance.exited, 20)).outside == "Ollama unloaded it."


async def test_a_larger_context_is_made_shown_copied_and_deleted(bench: OllamaBench) -> None:
    library = bench.backend.library
    await library.create("smollm2-8k", source="smollm2", parameters={"num_ctx": 8192})
    assert "8192" in (await library.show("smollm2-8k")).parameters
    await library.copy("smollm2-8k", "twin")
    await library.delete("smollm2-8k")
    assert {each.name for each in await bench.backend.found_models()} == {"smollm2:latest", "twin:latest"}


async def until_answers(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as http, asyncio.timeout(30):
        while True:
            try:
                await http.get(f"{url}/api/version")
            except httpx.TransportError:
                await asyncio.sleep(0.05)
            else:
                return
