"""llama-server as a child of ours, as a router, and as somebody else's server; with a stand-in, and as it really is."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from real_engines import LLAMA_SERVER, needs

from quarterdeck.backends import attached, llama_router
from quarterdeck.backends.base import EngineFailed, EngineRecord, Instance, Resident, Target
from quarterdeck.backends.llama_server import LlamaServerBackend, blame
from quarterdeck.backends.llama_server_options import OPTIONS, Dialect, spelled
from quarterdeck.backends.logs import LogBook
from quarterdeck.errors import AppError, ConfigError
from quarterdeck.processes import is_alive
from quarterdeck.schemas.backends import BackendState
from quarterdeck.settings import Settings

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")

FAKE = Path(__file__).parents[1] / "support" / "fake_llama_server.py"
OLD_HELP = Path(__file__).parent / "recorded" / "llama-server-help-2025.txt"
NEW_FLAGS = sorted({flag for option in OPTIONS for flag in (option.flag, option.off) if flag} | {
    "--models-dir", "--models-preset", "--models-max", "--no-models-autoload", "--no-ui", "--model"})  # fmt: skip
OLD, NEW = Dialect.read(OLD_HELP.read_text(encoding="utf-8")), Dialect(frozenset(NEW_FLAGS))
Stages = list[tuple[str, float | None]]


class Bench:
    """A backend with the stand-in for `llama-server`, and everything it has started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.help = folder / "help.txt"
        self.help.write_text("--flash-attn [on|off|auto]\n" + "\n".join(NEW_FLAGS), encoding="utf-8")
        program = folder / "llama-server"
        lines = f'#!/bin/sh\nFAKE_LLAMA_HELP="{self.help}" exec "{sys.executable}" "{FAKE}" "$@"\n'
        program.write_text(lines, encoding="utf-8")
        program.chmod(0o755)
        self.settings = Settings(llama_server_command=str(program), stop_timeout=0.5)
        self.urls: list[str] = []
        self.backends: list[LlamaServerBackend] = []
        self.backend = self.another()
        self.records: list[EngineRecord] = []
        self.instances: list[tuple[LlamaServerBackend, Instance]] = []

    def another(self) -> LlamaServerBackend:
        made = LlamaServerBackend(LogBook("llama-server"), settings=lambda: self.settings, known_urls=lambda: self.urls)
        self.backends.append(made)
        return made

    def model(self, name: str = "tiny", **how: object) -> Path:
        models = self.folder / "models"
        models.mkdir(exist_ok=True)
        (models / "how.json").write_text(json.dumps(how), encoding="utf-8")
        (models / f"{name}.gguf").write_bytes(b"GGUF")
        return models / f"{name}.gguf"

    def go(self) -> None:
        (self.folder / "models" / "go").touch()

    async def load(
        self, path: Path | None = None, config: dict[str, Any] | None = None, *,
        backend: LlamaServerBackend | None = None, url: str | None = None, served: str = "",
        stages: Stages | None = None, timeout: float = 30,
    ) -> Instance:  # fmt: skip
        backend = backend or self.backend

        async def started(record: EngineRecord) -> None:
            self.records.append(record)

        size = path.stat().st_size if path else None
        target = Target("m", path, size, backend.check_config(config or {}), served_id=served, url=url)
        progress = (lambda stage, part: stages.append((stage, part))) if stages is not None else lambda *_: None
        instance = await backend.load(target, timeout=timeout, progress=progress, started=started)
        self.instances.append((backend, instance))
        return instance

    def seen(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "models" / "seen.json").read_text(encoding="utf-8")))


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    yield made
    for backend, instance in made.instances:
        if instance.record is not None:
            await backend.unload(instance)
    for backend in made.backends:
        await backend.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def get(url: str) -> Any:
    async with httpx.AsyncClient(trust_env=False) as http:
        return (await http.get(url)).json()


async def refusal(work: Awaitable[object]) -> AppError:
    with pytest.raises(AppError) as caught:
        await work
    return caught.value


# -- arguments


@pytest.mark.parametrize(
    ("config", "modern", "older"),
    [
        ({"n_ctx": 4096, "n_parallel": 2}, "--ctx-size 4096 --parallel 2", "--ctx-size 4096 --parallel 2"),
        ({"n_gpu_layers": -1}, "", ""),
        ({"n_gpu_layers": 20}, "--n-gpu-layers 20", "--n-gpu-layers 20"),
        ({"flash_attention": "on"}, "--flash-attn on", "--flash-attn"),
        ({"flash_attention": "auto"}, "--flash-attn auto", ""),
        ({"flash_attention": "off"}, "--flash-attn off", ""),
        ({"load_mode": "auto"}, "", ""),
        ({"load_mode": "none"}, "--load-mode none", "--no-mmap"),
        ({"load_mode": "mmap_mlock"}, "--load-mode mmap+mlock", "--mlock"),
        ({"warmup": True}, "--warmup", ""),
        ({"warmup": False}, "--no-warmup", "--no-warmup"),
        ({"tensor_split": [3, 1.5]}, "--tensor-split 3,1.5", "--tensor-split 3,1.5"),
        ({"cache_type_k": "q8_0"}, "--cache-type-k q8_0", "--cache-type-k q8_0"),
        ({"embeddings": False}, "", ""),
        ({"draft_model": "/d.gguf", "draft_max": 8}, "--model-draft /d.gguf --draft-max 8",
         "--model-draft /d.gguf --draft-max 8"),
        ({"extra_args": ["--slots"]}, "--slots", "--slots"),
    ],
)  # fmt: skip
def test_options_are_spelled_as_the_version_wants_them(config: dict[str, Any], modern: str, older: str) -> None:
    assert spelled(config, NEW) == modern.split()
    assert spelled(config, OLD) == older.split()


def test_an_option_that_the_version_does_not_have_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        spelled({"kv_unified": True}, OLD)
    assert (caught.value.code, caught.value.option) == ("unknown_to_engine", "kv_unified")
    assert "--kv-unified" in caught.value.sentence


def test_without_a_help_text_the_newest_version_is_assumed() -> None:
    assert spelled({"flash_attention": "on", "kv_unified": True}, Dialect.read("")) == [
        "--kv-unified", "--flash-attn", "on"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"ctx": 1}, "Did you mean"),
        ({"extra_args": {"n_keep": 1}}, "one text each"),
        ({"extra_args": ["-m", "other.gguf"]}, "Quarterdeck sets it itself."),
        ({"n_ctx": 1, "extra_args": ["--ctx-size", "2"]}, "Keep one of them."),
        ({"models_dir": "/x"}, "Add “router”: true."),
    ],
)
def test_a_config_that_cannot_work_is_refused(bench: Bench, config: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        bench.backend.check_config(config)
    assert told in caught.value.hint


def test_the_error_is_told_and_not_what_follows_it() -> None:
    lines = ["loading", "0.00.1 E llama_model_load: error loading model: no such tensor", "main: exiting"]
    assert blame(lines) == lines[1]
    assert blame(["one", "two"]) == "two"
    assert blame([]) is None


# -- our own child


async def test_a_loaded_model_answers_and_ends_when_unloaded(bench: Bench) -> None:
    path = bench.model()
    stages: Stages = []
    instance = await bench.load(path, {"n_ctx": 512, "env": {"LLAMA_X": "1"}}, stages=stages)
    assert instance.served_id == "m"
    seen = bench.seen()
    port = instance.base_url.rpartition(":")[2]
    assert seen["argv"] == [
        "--model", str(path), "--alias", "m", "--host", "127.0.0.1", "--port", port, "--no-ui", "--ctx-size", "512"
    ]  # fmt: skip
    assert seen["env"]["LLAMA_X"] == "1"
    assert stages[0] == ("starting the engine", None)
    view = bench.backend.view([instance])
    assert (view.state, view.version) == (BackendState.RUNNING, "b8931-9725a313b")
    await bench.backend.unload(instance)
    assert (await instance.exited).asked_for
    assert not is_alive(bench.records[0].pid, bench.records[0].create_time)


async def test_the_steps_of_a_load_are_told(bench: Bench) -> None:
    stages: Stages = []
    load = asyncio.ensure_future(bench.load(bench.model(waits=True), stages=stages))
    await until(lambda: ("reading the model", 0.99) in stages)
    bench.go()
    await load


async def test_two_models_run_side_by_side(bench: Bench) -> None:
    path = bench.model()
    first, second = await asyncio.gather(bench.load(path), bench.load(path))
    await bench.backend.unload(first)
    assert not second.exited.done()


async def test_a_load_that_fails_tells_the_error(bench: Bench) -> None:
    with pytest.raises(EngineFailed) as caught:
        await bench.load(bench.model(fails=1))
    assert caught.value.exit_report is not None
    assert caught.value.exit_report.exit_code == 1
    assert "tensor 'x' not found" in str(bench.backend.view([]).last_error)


async def test_a_crash_is_told(bench: Bench) -> None:
    instance = await bench.load(bench.model())
    os.kill(bench.records[0].pid, signal.SIGSEGV)
    assert (await instance.exited).signal == "SIGSEGV"
    assert bench.backend.view([]).state is BackendState.FAILED


async def test_without_the_program_it_says_what_to_install(bench: Bench) -> None:
    bench.settings = bench.settings.model_copy(update={"llama_server_command": "no-such-server"})
    error = await refusal(bench.load(bench.model()))
    assert error.code == "engine_missing"
    assert "llama.cpp" in error.hint


# -- a router of ours


async def test_a_router_of_ours_loads_the_model(bench: Bench) -> None:
    path = bench.model()
    instance = await bench.load(path, {"router": True, "n_ctx": 512})
    assert instance.served_id == "tiny"
    assert bench.seen()["argv"][:5] == ["--models-dir", str(path.parent), "--models-max", "1", "--no-models-autoload"]
    assert await get(instance.base_url + "/calls") == ["/models/load tiny"]
    await bench.backend.unload(instance)
    assert not is_alive(bench.records[0].pid, bench.records[0].create_time)


async def test_a_model_that_our_router_cannot_load_fails(bench: Bench) -> None:
    with pytest.raises(EngineFailed) as caught:
        await bench.load(bench.model(fails=139), {"router": True})
    assert caught.value.exit_report is not None
    assert caught.value.exit_report.exit_code == 139
    assert not is_alive(bench.records[0].pid, bench.records[0].create_time)


async def test_a_version_that_is_no_router_is_told(bench: Bench) -> None:
    bench.help.write_text(OLD_HELP.read_text(encoding="utf-8"), encoding="utf-8")
    error = await refusal(bench.load(bench.model(), {"router": True}))
    assert error.code == "unknown_to_engine"
    assert bench.records == []


# -- somebody else's server


@pytest.fixture
async def router(bench: Bench) -> Instance:
    """A router that another program runs, with the models `tiny` and `other`; nothing is loaded."""
    bench.model("other")
    instance = await bench.load(bench.model("tiny"), {"router": True}, backend=bench.another())
    await llama_router.Router(bench.backend._remote, instance.base_url).unload("tiny")
    return instance


async def test_a_model_of_a_router_is_loaded_and_unloaded_there(bench: Bench, router: Instance) -> None:
    bench.urls = [router.base_url + "/v1"]
    assert await bench.backend.residents() == []
    instance = await bench.load(url=router.base_url, served="other")
    assert (instance.record, instance.served_id) == (None, "other")
    assert bench.backend.gives_back("m", router.base_url)
    assert await bench.backend.residents() == [Resident("other", router.base_url)]
    assert bench.backend.view([instance]).actions == []
    await bench.backend.unload(instance)
    assert (await instance.exited).asked_for
    assert await bench.backend.residents() == []
    assert not router.exited.done()


async def test_a_model_that_is_loaded_there_is_not_loaded_twice(bench: Bench, router: Instance) -> None:
    await bench.load(url=router.base_url, served="tiny")
    before = await get(router.base_url + "/calls")
    await bench.load(url=router.base_url, served="tiny", backend=bench.another())
    assert await get(router.base_url + "/calls") == before


async def test_what_others_loaded_on_a_router_can_be_released(bench: Bench, router: Instance) -> None:
    bench.urls = [router.base_url]
    await bench.load(url=router.base_url, served="tiny", backend=bench.another())
    [resident] = await bench.backend.residents()
    assert await bench.backend.release(resident)
    assert await bench.backend.residents() == []
    assert await bench.backend.release(resident)


async def test_a_router_that_lacks_the_model_names_what_it_has(bench: Bench, router: Instance) -> None:
    error = await refusal(bench.load(url=router.base_url, served="mine"))
    assert error.code == "model_not_served"
    assert "“other”, “tiny”" in error.sentence


async def test_a_load_on_a_router_that_is_cancelled_is_taken_back(bench: Bench) -> None:
    bench.model("tiny", waits=True)
    started = asyncio.ensure_future(
        bench.load(bench.folder / "models" / "tiny.gguf", {"router": True}, backend=bench.another())
    )
    await until(lambda: (bench.folder / "models" / "seen.json").exists())
    bench.go()
    router = await started
    await llama_router.Router(bench.backend._remote, router.base_url).unload("tiny")
    (bench.folder / "models" / "go").unlink()
    load = asyncio.ensure_future(bench.load(url=router.base_url, served="tiny"))
    async with asyncio.timeout(20):
        while (await get(router.base_url + "/calls"))[-1] != "/models/load tiny":
            await asyncio.sleep(0.01)
    load.cancel()
    with pytest.raises(asyncio.CancelledError):
        await load
    assert (await get(router.base_url + "/calls"))[-1] == "/models/unload tiny"


async def test_a_router_that_keeps_the_model_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_router, "UNLOAD_SECONDS", 0.1)
    router = await bench.load(bench.model(keeps=True), {"router": True}, backend=bench.another())
    instance = await bench.load(url=router.base_url, served="tiny")
    assert (await refusal(bench.backend.unload(instance))).code == "not_released"
    assert not instance.exited.done()


async def test_a_model_that_a_router_gave_up_by_itself_is_noticed(
    bench: Bench, router: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attached, "WATCH_SECONDS", 0.01)
    instance = await bench.load(url=router.base_url, served="tiny")
    await llama_router.Router(bench.backend._remote, router.base_url).unload("tiny")
    async with asyncio.timeout(20):
        report = await instance.exited
    assert report.outside == f"The server at {router.base_url} no longer has the model."


async def test_a_plain_server_is_attached_to_and_never_stopped(bench: Bench) -> None:
    theirs = await bench.load(bench.model(), served="their-model", backend=bench.another())
    bench.urls = [theirs.base_url]
    assert await bench.backend.residents() == [Resident("their-model", theirs.base_url)]
    assert not await bench.backend.release(Resident("their-model", theirs.base_url))
    instance = await bench.load(url=theirs.base_url, served="their-model")
    assert not bench.backend.gives_back("m", theirs.base_url)
    assert (await refusal(bench.backend.unload(instance))).code == "not_ours"
    assert not theirs.exited.done()


# -- as it really is


@pytest.mark.engine
@needs(LLAMA_SERVER, "loading a real model with llama-server")
async def test_the_real_server_loads_answers_and_ends(bench: Bench, starter_file: Path) -> None:
    bench.settings = bench.settings.model_copy(update={"llama_server_command": str(LLAMA_SERVER)})
    stages: Stages = []
    instance = await bench.load(
        starter_file, {"n_ctx": 512, "flash_attention": "auto", "warmup": True, "load_mode": "none"}, stages=stages
    )
    async with httpx.AsyncClient(base_url=instance.base_url, trust_env=False, timeout=60) as http:
        answer = await http.post("/v1/completions", json={"prompt": "One, two,", "max_tokens": 3})
        assert answer.json()["choices"][0]["text"].strip()
        assert [entry["id"] for entry in (await http.get("/v1/models")).json()["data"]] == ["m"]
    assert "reading the model" in {stage for stage, _ in stages}
    await bench.backend.unload(instance)
    assert (await instance.exited).asked_for
    assert not is_alive(bench.records[0].pid, bench.records[0].create_time)


@pytest.mark.engine
@needs(LLAMA_SERVER, "a file that llama-server refuses")
async def test_the_real_server_tells_what_is_wrong_with_a_file(bench: Bench, tmp_path: Path) -> None:
    bench.settings = bench.settings.model_copy(update={"llama_server_command": str(LLAMA_SERVER)})
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\0" * 64)
    with pytest.raises(EngineFailed):
        await bench.load(broken)
    assert "fail" in str(bench.backend.view([]).last_error)


@pytest.mark.engine
@needs(LLAMA_SERVER, "killing llama-server")
async def test_the_real_server_killed_is_noticed(bench: Bench, starter_file: Path) -> None:
    bench.settings = bench.settings.model_copy(update={"llama_server_command": str(LLAMA_SERVER)})
    instance = await bench.load(starter_file, {"n_ctx": 512})
    os.kill(bench.records[0].pid, signal.SIGKILL)
    assert (await instance.exited).signal == "SIGKILL"
