"""The Ollama backend against a server that speaks as Ollama does."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import fake_ollama as fakes
import pytest
from fake_ollama import HELD_SIZE, FakeModel, FakeOllama, fake_ollama
from fake_openai import FakeOpenAI
from hypothesis import given
from hypothesis import strategies as st
from ollama_bench import OllamaBench, ollama_bench, until

from quarterdeck.backends import ollama_watch
from quarterdeck.backends.addresses import port_of
from quarterdeck.backends.base import EngineFailed
from quarterdeck.backends.ollama_api import count, full_tag
from quarterdeck.backends.ollama_options import is_variant, variant
from quarterdeck.backends.ollama_watch import crash_report
from quarterdeck.backends.process import free_port
from quarterdeck.errors import AppError, ConfigError
from quarterdeck.processes import is_alive
from quarterdeck.schemas.backends import BackendState, OwnerKind, PullProgress

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
async def server() -> AsyncIterator[FakeOllama]:
    async with fake_ollama() as running:
        yield running


@pytest.fixture
async def bench(server: FakeOllama, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OllamaBench]:
    monkeypatch.setattr(ollama_watch, "LOOK_SECONDS", 0.02)
    async with ollama_bench(tmp_path, ollama_url=server.url) as made:
        yield made


def program(folder: Path) -> str:
    """A stand-in for the ollama program."""
    path = folder / "ollama"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{fakes.__file__}" "$@"\n')
    path.chmod(0o755)
    return str(path)


class TestLoading:
    async def test_a_load_is_a_warm_call_that_keeps_the_model(self, bench: OllamaBench, server: FakeOllama) -> None:
        instance = await bench.load()
        assert server.requests[-1] == (
            "/api/generate", {"model": "smollm2:latest", "keep_alive": -1, "stream": False},
        )  # fmt: skip
        assert (instance.base_url, instance.served_id, instance.record) == (server.url, "smollm2:latest", None)
        assert bench.stages == ["reading the model"]
        view = bench.backend.view([instance])
        assert (view.state, view.owner.kind, view.version) == (BackendState.RUNNING, OwnerKind.OTHER, "0.9.3")
        assert view.actions == []

    async def test_an_embedding_model_is_loaded_by_embedding(self, bench: OllamaBench, server: FakeOllama) -> None:
        server.models["nomic:v1"] = FakeModel("d" * 64, ["embedding"])
        await bench.load("nomic:v1")
        assert server.requests[-1] == ("/api/embed", {"model": "nomic:v1", "input": [], "keep_alive": -1})
        assert server.running["nomic:v1"] == HELD_SIZE

    async def test_options_are_carried_by_a_variant_that_ends_with_the_load(
        self, bench: OllamaBench, server: FakeOllama
    ) -> None:
        instance = await bench.load(config={"n_ctx": 4096, "num_gpu": 0})
        assert is_variant(instance.served_id)
        assert server.models[instance.served_id].parameters == {"num_ctx": 4096, "num_gpu": 0}
        assert [found.name for found in await bench.backend.found_models()] == ["smollm2:latest"]
        await bench.backend.unload(instance)
        assert list(server.models) == ["smollm2:latest"]

    async def test_generation_parameters_are_no_load_options(self, bench: OllamaBench) -> None:
        with pytest.raises(ConfigError) as error:
            bench.backend.check_config({"temperature": 0.2})
        assert error.value.code == "unknown_option"

    async def test_an_unknown_model_is_told_with_how_to_get_it(self, bench: OllamaBench) -> None:
        with pytest.raises(AppError) as error:
            await bench.load("llama9")
        assert (error.value.code, error.value.status) == ("model_missing", 404)
        assert "ollama pull llama9:latest" in error.value.hint

    async def test_what_ollama_says_about_a_crash_is_the_failure(self, bench: OllamaBench, server: FakeOllama) -> None:
        server.load_error = (500, "llama runner process has terminated: signal: segmentation fault (core dumped)")
        with pytest.raises(EngineFailed) as failed:
            await bench.load(config={"num_ctx": 512})
        assert failed.value.exit_report is not None
        assert failed.value.exit_report.signal == "SIGSEGV"
        assert failed.value.log == [server.load_error[1]]
        assert list(server.models) == ["smollm2:latest"]

    async def test_a_server_that_is_lost_in_the_load_is_told(self, bench: OllamaBench, server: FakeOllama) -> None:
        server.dies_in_load = True
        with pytest.raises(AppError) as error:
            await bench.load()
        assert error.value.code == "server_unreachable"

    async def test_a_load_that_takes_too_long_is_given_up(self, bench: OllamaBench, server: FakeOllama) -> None:
        server.holds_load = asyncio.Event()
        with pytest.raises(EngineFailed) as failed:
            await bench.load(timeout=1)
        assert failed.value.timed_out == 1
        assert server.running == {}

    async def test_cancelling_ends_the_request_and_unloads(self, bench: OllamaBench, server: FakeOllama) -> None:
        server.holds_load = asyncio.Event()
        loading = asyncio.ensure_future(bench.load())
        await until(lambda: server.running)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
        assert server.client_left.is_set()
        assert server.running == {}
        assert server.requests[-1][1]["keep_alive"] == 0

    async def test_nothing_listens_and_the_address_is_elsewhere(self, bench: OllamaBench) -> None:
        with pytest.raises(AppError) as error:
            await bench.load(url=NOBODY)
        assert error.value.code == "server_unreachable"
        assert NOBODY in error.value.sentence

    async def test_an_address_that_is_none_is_told(self, bench: OllamaBench) -> None:
        bench.settings = bench.settings.model_copy(update={"ollama_url": "not an address"})
        assert "not an address" in (bench.backend.view([]).last_error or "")
        assert await bench.backend.residents() == []
        with pytest.raises(AppError) as error:
            await bench.load()
        assert error.value.code == "bad_address"


class TestUnloading:
    async def test_it_waits_until_the_server_lists_it_no_more(self, bench: OllamaBench, server: FakeOllama) -> None:
        instance = await bench.load()
        server.lists_longer = 2
        await bench.backend.unload(instance)
        assert server.running == {}
        assert (await instance.exited).asked_for

    @pytest.mark.parametrize("refused", [{"/api/generate"}, {"/api/generate", "/api/chat"}])
    async def test_other_ways_are_tried(self, bench: OllamaBench, server: FakeOllama, refused: set[str]) -> None:
        instance = await bench.load()
        server.refuses_unload_by = refused
        await bench.backend.unload(instance)
        assert server.running == {}

    async def test_a_server_that_keeps_the_model_is_told(self, bench: OllamaBench, server: FakeOllama) -> None:
        instance = await bench.load()
        server.ignores_unload = True
        bench.settings = bench.settings.model_copy(update={"release_timeout": 0.3})
        with pytest.raises(AppError) as error:
            await bench.backend.unload(instance)
        assert error.value.code == "not_released"
        assert not instance.exited.done()
        server.ignores_unload = False
        await bench.backend.unload(instance)
        assert server.running == {}

    async def test_a_server_that_is_gone_holds_nothing(self, bench: OllamaBench, server: FakeOllama) -> None:
        instance = await bench.load()
        await server.stop()
        await bench.backend.unload(instance)
        assert instance.exited.done()


class TestWatching:
    async def test_a_model_that_ollama_unloads_is_noticed(self, bench: OllamaBench, server: FakeOllama) -> None:
        instance = await bench.load()
        server.running.clear()
        report = await asyncio.wait_for(instance.exited, 20)
        assert (report.outside, report.asked_for) == ("Ollama unloaded it.", False)

    async def test_a_restart_by_somebody_else_is_noticed(self, bench: OllamaBench, server: FakeOllama) -> None:
        instance = await bench.load()
        await server.stop()
        await server.start()
        report = await asyncio.wait_for(instance.exited, 20)
        assert report.outside in ("Ollama unloaded it.", "Ollama stopped answering.")

    async def test_a_server_that_ends_is_noticed(self, bench: OllamaBench, server: FakeOllama) -> None:
        instance = await bench.load()
        await server.stop()
        report = await asyncio.wait_for(instance.exited, 20)
        assert report.outside == "Ollama stopped answering."
        assert bench.backend.view([]).state is BackendState.STOPPED

    async def test_nothing_is_asked_when_nothing_is_held(self, bench: OllamaBench) -> None:
        instance = await bench.load()
        await bench.backend.unload(instance)
        await until(lambda: not any(task.get_name() == "watch Ollama" for task in asyncio.all_tasks()))


class TestResidents:
    async def test_what_others_loaded_is_listed_and_released(self, bench: OllamaBench, server: FakeOllama) -> None:
        server.running["smollm2:latest"] = HELD_SIZE
        [resident] = await bench.backend.residents()
        assert (resident.served_id, resident.url, resident.vram_bytes) == ("smollm2:latest", server.url, HELD_SIZE)
        server.lists_longer = 1
        assert await bench.backend.release(resident)
        assert server.running == {}

    async def test_all_configured_servers_of_this_machine_count(self, bench: OllamaBench, server: FakeOllama) -> None:
        async with fake_ollama() as second:
            server.running["a:1"], second.running["b:1"] = 1, 2
            more = [second.url, NOBODY, "http://192.0.2.7:11434", ""]
            bench.settings = bench.settings.model_copy(update={"ollama_urls": more})
            assert {each.served_id for each in await bench.backend.residents()} == {"a:1", "b:1"}

    async def test_releasing_a_model_of_ours_ends_its_instance(self, bench: OllamaBench) -> None:
        instance = await bench.load()
        [resident] = await bench.backend.residents()
        assert await bench.backend.release(resident)
        assert (await instance.exited).asked_for

    async def test_a_model_that_spills_out_of_the_gpu_has_a_defect(
        self, bench: OllamaBench, server: FakeOllama
    ) -> None:
        instance = await bench.load(free_bytes=8 << 30)
        assert await bench.backend.defect(instance) is None
        server.running["smollm2:latest"] = HELD_SIZE // 4
        assert "25 %" in (await bench.backend.defect(instance) or "")
        server.running["smollm2:latest"] = 0
        assert "processor alone" in (await bench.backend.defect(instance) or "")

    async def test_without_a_gpu_the_processor_is_no_defect(self, bench: OllamaBench, server: FakeOllama) -> None:
        instance = await bench.load()
        server.running["smollm2:latest"] = 0
        assert await bench.backend.defect(instance) is None


class TestOwnServer:
    @pytest.fixture
    async def own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OllamaBench]:
        monkeypatch.setattr(ollama_watch, "LOOK_SECONDS", 0.02)
        url = f"http://127.0.0.1:{free_port()}"
        async with ollama_bench(tmp_path, ollama_url=url, ollama_command=program(tmp_path)) as made:
            yield made

    async def test_it_is_started_when_nothing_listens_and_ends_with_us(self, own: OllamaBench) -> None:
        instance = await own.load()
        assert own.stages == ["starting Ollama", "reading the model"]
        view = own.backend.view([instance])
        assert (view.state, view.owner.kind) == (BackendState.RUNNING, OwnerKind.QUARTERDECK)
        trace = own.remembered[-1]
        assert trace is not None
        assert is_alive(trace["pid"], trace["create_time"])
        await until(lambda: "Listening on" in own.log_text())
        await own.backend.close()
        assert not is_alive(trace["pid"], trace["create_time"])
        assert own.remembered[-1] is None

    async def test_its_crash_is_the_end_of_the_model(self, own: OllamaBench) -> None:
        instance = await own.load()
        pid = own.backend.view([]).pid
        assert pid is not None
        os.kill(pid, signal.SIGSEGV)
        report = await asyncio.wait_for(instance.exited, 20)
        assert (report.signal, report.outside, report.asked_for) == ("SIGSEGV", None, False)
        assert own.backend.view([]).state is BackendState.FAILED
        assert (await own.load()).base_url == own.settings.ollama_url

    async def test_stopping_it_is_no_crash(self, own: OllamaBench) -> None:
        instance = await own.load()
        await own.backend.stop()
        assert (await instance.exited).asked_for
        assert own.backend.view([]).state is BackendState.STOPPED
        with pytest.raises(AppError) as error:
            await own.backend.stop()
        assert error.value.code == "not_ours"

    async def test_a_later_run_takes_it_over_and_stops_it(self, own: OllamaBench) -> None:
        await own.backend.start()
        trace = own.remembered[-1]
        assert trace is not None
        later = own.another()
        assert await later.adopt(trace)
        assert later.view([]).pid == trace["pid"]
        await later.stop()
        assert not is_alive(trace["pid"], trace["create_time"])
        await later.close()

    async def test_one_that_no_longer_answers_is_not_taken_over(
        self, own: OllamaBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await own.backend.start()
        trace = own.remembered[-1]
        assert trace is not None
        os.kill(trace["pid"], signal.SIGKILL)
        await until(lambda: not is_alive(trace["pid"], trace["create_time"]))
        later = own.another()
        assert not await later.adopt(trace)
        assert own.remembered[-1] is None
        await later.close()

    async def test_a_missing_program_is_told_with_what_to_install(self, own: OllamaBench) -> None:
        own.settings = own.settings.model_copy(update={"ollama_command": "no-such-ollama"})
        with pytest.raises(AppError) as error:
            await own.load()
        assert error.value.code == "engine_missing"
        assert "ollama.com" in error.value.hint

    async def test_a_program_that_ends_at_once_fails_with_what_it_said(self, own: OllamaBench) -> None:
        command = own.folder / "broken"
        command.write_text("#!/bin/sh\necho Error: listen tcp: bind: address already in use; exit 1\n")
        command.chmod(0o755)
        own.settings = own.settings.model_copy(update={"ollama_command": str(command)})
        with pytest.raises(EngineFailed) as failed:
            await own.load()
        assert "address already in use" in failed.value.log[-1]
        assert failed.value.exit_report is not None
        assert failed.value.exit_report.exit_code == 1

    async def test_another_program_on_its_port_is_named(self, own: OllamaBench) -> None:
        server = FakeOpenAI()
        await server.start(port=port_of(own.settings.ollama_url))
        try:
            with pytest.raises(AppError) as error:
                await own.backend.start()
        finally:
            await server.stop()
        assert error.value.code == "port_in_use"
        assert str(os.getpid()) in error.value.sentence

    async def test_it_is_not_started_for_an_address_elsewhere(self, own: OllamaBench) -> None:
        own.settings = own.settings.model_copy(update={"loopback_alias": "127.0.0.3"})
        with pytest.raises(AppError) as error:
            await own.load()
        assert error.value.code == "server_unreachable"
        assert "127.0.0.3" in error.value.sentence


class TestLibrary:
    async def test_models_are_described_without_loading_one(self, bench: OllamaBench, server: FakeOllama) -> None:
        server.models["nomic:v1"] = FakeModel("d" * 64, ["embedding"])
        server.models["raw:v1"] = FakeModel("e" * 64, template="{{ .Prompt }}")
        chat, embeds, raw = await bench.backend.found_models()
        assert (chat.name, chat.context_length, chat.parameter_count) == ("smollm2:latest", 8192, 134_515_008)
        assert (chat.architecture, chat.quantization, chat.format) == ("llama", "Q4_1", "gguf")
        assert chat.digest == server.models["smollm2:latest"].digest
        assert [chat.capabilities, embeds.capabilities, raw.capabilities] == [["chat"], ["embeddings"], ["completion"]]
        assert server.running == {}
        asked = len(server.requests)
        await bench.backend.found_models()
        assert len(server.requests) == asked

    async def test_a_pull_tells_how_far_it_is(self, bench: OllamaBench, server: FakeOllama) -> None:
        server.pull_steps = [
            {"status": "pulling manifest"},
            {"status": "pulling 2af3b81862c6", "digest": "sha256:2af3", "total": 1000, "completed": 250},
            {"status": "success"},
        ]
        steps = [step async for step in bench.backend.library.pull("tiny")]
        assert [step.done_bytes for step in steps if step.total_bytes] == [250]
        assert steps[-1] == PullProgress(stage="success", finished=True)
        assert "tiny:latest" in server.models

    async def test_a_pull_can_be_stopped(self, bench: OllamaBench, server: FakeOllama) -> None:
        server.pull_steps, server.holds_pull = [{"status": "pulling manifest"}], asyncio.Event()
        pulling = bench.backend.library.pull("tiny")
        assert (await anext(pulling)).stage == "pulling manifest"
        await pulling.aclose()
        await asyncio.wait_for(server.client_left.wait(), 20)

    async def test_a_pull_that_fails_says_why(self, bench: OllamaBench, server: FakeOllama) -> None:
        server.pull_steps = [{"status": "pulling manifest"}, {"error": "pull model manifest: file does not exist"}]
        with pytest.raises(AppError) as error:
            _ = [step async for step in bench.backend.library.pull("tiny")]
        assert "file does not exist" in error.value.sentence

    async def test_a_variant_with_a_larger_context_is_made(self, bench: OllamaBench, server: FakeOllama) -> None:
        library = bench.backend.library
        await library.create("smollm2-32k", source="smollm2", parameters={"num_ctx": 32768})
        assert "num_ctx" in (await library.show("smollm2-32k")).parameters
        with pytest.raises(AppError) as error:
            await library.create("other", source="nope", parameters={})
        assert error.value.code == "model_missing"
        assert "other:latest" not in server.models

    async def test_copies_are_made_and_deleted(self, bench: OllamaBench, server: FakeOllama) -> None:
        library = bench.backend.library
        await library.copy("smollm2", "twin")
        assert "twin:latest" in server.models
        await library.delete("twin")
        assert "twin:latest" not in server.models
        for call in (library.copy("nope", "twin"), library.delete("nope"), library.show("nope")):
            with pytest.raises(AppError) as error:
                await call
            assert error.value.code == "model_missing"


@pytest.mark.parametrize(
    ("written", "tag"),
    [
        ("smollm2", "smollm2:latest"),
        ("qwen3:8b", "qwen3:8b"),
        ("hf.co/someone/model:Q4_K_M", "hf.co/someone/model:Q4_K_M"),
        ("127.0.0.1:5000/library/x", "127.0.0.1:5000/library/x:latest"),
    ],
)
def test_a_name_without_tag_means_latest(written: str, tag: str) -> None:
    assert full_tag(written) == tag


@given(st.from_regex(r"([a-z]{1,9}/)?[a-z0-9.-]{1,70}(:[a-zA-Z0-9._-]{1,70})?", fullmatch=True), st.integers(1, 10**6))
def test_a_variant_has_a_legal_name_of_its_own(name: str, context: int) -> None:
    made = variant(name, {"num_ctx": context})
    assert is_variant(made)
    assert full_tag(made) == made
    assert max(map(len, made.partition("/")[2].split(":"))) <= 80
    assert made != variant(name, {"num_ctx": context + 1})
    assert variant(name, {}) == full_tag(name)


def test_sizes_in_short_form_are_read() -> None:
    assert [count(text) for text in ("134.52M", "8.0B", "1T", "12", "", "many", None)] == [
        134_520_000, 8_000_000_000, 10**12, 12, None, None, None,
    ]  # fmt: skip


def test_signals_are_read_from_what_ollama_says() -> None:
    assert crash_report('msg="llama runner terminated" error="signal: killed"').signal == "SIGKILL"
    assert crash_report("llama runner process has terminated: exit status 2").exit_code == 1
