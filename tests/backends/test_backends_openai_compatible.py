"""Servers that speak OpenAI's interface: attached to, started by a command, and those that can do more."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

import fake_openai as fakes
import pytest
from fake_openai import fake_openai
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.backends import autostart, keys
from quarterdeck.backends.base import EngineFailed, EngineRecord, Instance, Target
from quarterdeck.backends.logs import LogBook
from quarterdeck.backends.openai_compatible import PRESETS, OpenAICompatibleBackend
from quarterdeck.backends.process import free_port
from quarterdeck.errors import AppError, ConfigError
from quarterdeck.processes import is_alive
from quarterdeck.schemas.backends import BackendState
from quarterdeck.settings import Settings


class Bench:
    """A backend, its settings and keys by base address."""

    def __init__(self) -> None:
        self.settings = Settings(stop_timeout=2.0)
        self.keys: dict[str, str] = {}
        self.records: list[EngineRecord] = []
        self.backend = OpenAICompatibleBackend(
            LogBook("openai"), settings=lambda: self.settings, key_for=lambda url: self.keys.get(url)
        )

    def set(self, **changes: Any) -> None:
        self.settings = self.settings.model_copy(update=changes)

    async def load(
        self, url: str, served_id: str = "a", *, name: str = "mine", config: Mapping[str, Any] | None = None
    ) -> Instance:
        checked = self.backend.check_config(config or {})
        target = Target(name, None, None, checked, served_id=served_id, url=url)
        return await self.backend.load(target, timeout=30, progress=lambda _stage, _part: None, started=self._started)

    async def _started(self, record: EngineRecord) -> None:
        self.records.append(record)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.backend.close()


def start_command(port: int, *more: str) -> list[str]:
    return [sys.executable, fakes.__file__, "--port", str(port), *more]


class TestAttaching:
    @pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/", "/v1/chat/completions"])
    async def test_the_address_may_be_written_in_many_ways(self, bench: Bench, tail: str) -> None:
        async with fake_openai() as server:
            instance = await bench.load(server.url + tail)
            assert (instance.base_url, instance.api_path, instance.served_id) == (server.url, "/v1", "a")
            assert (instance.record, instance.headers) == (None, {})
            assert bench.backend.view([instance]).state is BackendState.RUNNING
            assert bench.backend.view([instance]).actions == []

    async def test_an_interface_elsewhere_than_below_v1_is_found(self, bench: Bench) -> None:
        async with fake_openai(api="/v1beta/openai", models=("models/gemini-x",)) as server:
            instance = await bench.load(f"{server.url}/v1beta/openai/", "gemini-x")
            assert (instance.base_url, instance.api_path) == (f"{server.url}/v1beta/openai", "")

    async def test_a_server_that_lists_no_models_is_taken_as_it_is(self, bench: Bench) -> None:
        async with fake_openai() as server:
            server.lists_models = False
            assert (await bench.load(server.url, "anything")).api_path == "/v1"

    async def test_a_model_it_does_not_offer_is_told_with_those_it_does(self, bench: Bench) -> None:
        async with fake_openai(models=("qwen3-8b", "llama")) as server:
            with pytest.raises(AppError) as error:
                await bench.load(server.url, "qwen3-14b")
        assert error.value.code == "model_missing"
        assert "qwen3-8b" in error.value.hint

    async def test_a_key_is_sent_where_there_is_one(self, bench: Bench) -> None:
        async with fake_openai() as server:
            server.key = "secret"
            with pytest.raises(AppError) as error:
                await bench.load(server.url)
            assert (error.value.code, "needs a key" in error.value.sentence) == ("needs_key", True)
            assert "Authorization" not in server.headers[-1]
            bench.keys[server.url] = "wrong"
            with pytest.raises(AppError) as error:
                await bench.load(server.url)
            assert (error.value.code, "does not accept" in error.value.sentence) == ("needs_key", True)
            bench.keys[server.url] = "secret"
            assert (await bench.load(server.url)).headers == {"Authorization": "Bearer secret"}

    async def test_nothing_listens(self, bench: Bench) -> None:
        with pytest.raises(AppError) as error:
            await bench.load("http://127.0.0.1:9")
        assert error.value.code == "server_unreachable"

    async def test_a_query_goes_with_every_request(self, bench: Bench) -> None:
        async with fake_openai() as server:
            instance = await bench.load(f"{server.url}/v1?api-version=preview")
            assert instance.query == {"api-version": "preview"}
            assert server.queries[0] == {"api-version": "preview"}

    async def test_unloading_lets_go_of_a_server_that_cannot_be_asked(self, bench: Bench) -> None:
        async with fake_openai() as server:
            instance = await bench.load(server.url)
            await bench.backend.unload(instance)
            assert (await instance.exited).asked_for
            assert {method for method, _, _ in server.requests} == {"GET"}

    async def test_options_of_another_server_are_refused(self, bench: Bench) -> None:
        async with fake_openai() as server:
            with pytest.raises(ConfigError):
                await bench.load(server.url, config={"n_ctx": 4096})


class TestManagedServers:
    async def test_lm_studio_loads_and_unloads(self, bench: Bench) -> None:
        async with fake_openai(product="lm_studio") as server:
            instance = await bench.load(server.url, config={"n_ctx": 4096})
            assert (
                "POST",
                "/api/v1/models/load",
                {"model": "a", "config": {"context_length": 4096}},
            ) in server.requests
            bench.set(server_urls=[f"{server.url}/v1", "http://192.0.2.1:1234", "nonsense nonsense"])
            [resident] = await bench.backend.residents()
            assert (resident.served_id, resident.url) == ("a", server.url)
            await bench.backend.unload(instance)
            assert server.loaded == []

    async def test_an_old_lm_studio_loads_by_itself(self, bench: Bench) -> None:
        async with fake_openai(product="lm_studio") as server:
            server.old = True
            instance = await bench.load(server.url)
            server.loaded.append("a")
            bench.set(server_urls=[server.url])
            [resident] = await bench.backend.residents()
            assert not await bench.backend.release(resident)
            await bench.backend.unload(instance)
            assert instance.exited.done()

    async def test_tabby_loads_and_releases(self, bench: Bench) -> None:
        async with fake_openai(product="tabby") as server:
            server.key = bench.keys[server.url] = "admin"
            await bench.load(server.url, "b", config={"max_seq_len": 8192})
            assert ("POST", "/v1/model/load", {"model_name": "b", "max_seq_len": 8192}) in server.requests
            assert server.headers[-1]["x-admin-key"] == "admin"
            bench.set(server_urls=[server.url])
            [resident] = await bench.backend.residents()
            assert await bench.backend.release(resident)
            assert await bench.backend.residents() == []

    async def test_models_are_found_without_loading_one(self, bench: Bench) -> None:
        async with fake_openai(product="lm_studio") as server:
            bench.set(server_urls=[server.url, "http://127.0.0.1:9"])
            assert [found.name for found in await bench.backend.found_models()] == ["a", "b"]
            assert server.loaded == []

    async def test_only_what_can_be_unloaded_is_part_of_the_budget(self, bench: Bench) -> None:
        async with fake_openai(product="lm_studio") as studio, fake_openai() as plain:
            bench.set(server_urls=[studio.url, plain.url])
            await bench.backend.found_models()
            assert bench.backend.gives_back("mine", f"{studio.url}/v1")
            assert not bench.backend.gives_back("mine", plain.url)
            bench.set(autostart_map='{"mine": {"command": ["serve"]}}')
            assert bench.backend.gives_back("mine", plain.url)
            assert not bench.backend.gives_back("other", None)

    async def test_a_key_belongs_to_the_address_as_it_was_written(self, bench: Bench) -> None:
        async with fake_openai() as server:
            server.key = bench.keys[server.url] = "secret"
            bench.set(loopback_alias="localhost")
            instance = await bench.load(server.url)
            assert instance.base_url == server.url.replace("127.0.0.1", "localhost")
            assert instance.headers == {"Authorization": "Bearer secret"}


class TestStartCommands:
    async def test_a_server_is_started_by_its_command_and_stopped(self, bench: Bench) -> None:
        port = free_port()
        bench.set(autostart_map=json.dumps({"mine": {"command": start_command(port)}}))
        instance = await bench.load(f"http://127.0.0.1:{port}/v1")
        [record] = bench.records
        assert instance.record == record
        assert bench.backend.view([instance]).pid == record.pid
        await bench.backend.unload(instance)
        assert not is_alive(record.pid, record.create_time)
        assert (await instance.exited).asked_for

    async def test_a_server_that_answers_already_is_not_started(self, bench: Bench) -> None:
        async with fake_openai() as server:
            bench.set(autostart_map=json.dumps({"mine": {"command": ["false"]}}))
            assert (await bench.load(server.url)).record is None

    async def test_its_crash_ends_the_model(self, bench: Bench) -> None:
        port = free_port()
        bench.set(autostart_map=json.dumps({"mine": {"command": start_command(port)}}))
        instance = await bench.load(f"http://127.0.0.1:{port}")
        os.kill(bench.records[0].pid, signal.SIGKILL)
        assert (await asyncio.wait_for(instance.exited, 20)).signal == "SIGKILL"

    async def test_one_without_the_model_is_stopped_again(self, bench: Bench) -> None:
        port = free_port()
        bench.set(autostart_map=json.dumps({"mine": {"command": start_command(port)}}))
        with pytest.raises(AppError) as error:
            await bench.load(f"http://127.0.0.1:{port}", "z")
        assert error.value.code == "model_missing"
        assert not is_alive(bench.records[0].pid, bench.records[0].create_time)

    async def test_a_command_that_fails_tells_what_it_said(self, bench: Bench) -> None:
        command = [sys.executable, "-c", "raise SystemExit('no weights here')"]
        bench.set(autostart_map=json.dumps({"mine": {"command": command}}))
        with pytest.raises(EngineFailed) as failed:
            await bench.load(f"http://127.0.0.1:{free_port()}")
        assert "no weights here" in failed.value.log[-1]

    async def test_a_missing_program_is_told(self, bench: Bench) -> None:
        bench.set(autostart_map=json.dumps({"mine": {"command": ["no-such-server"]}}))
        with pytest.raises(AppError) as error:
            await bench.load(f"http://127.0.0.1:{free_port()}")
        assert error.value.code == "engine_missing"

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("qwen:vllm,llama:ollama", "backend:service"),
            ("{", "valid JSON"),
            ("[]", "JSON object"),
            ('{"a": {"command": "vllm serve"}}', "list of texts"),
            ('{"a": {"command": []}}', "list of texts"),
            ('{"a": ["vllm"]}', "list of texts"),
        ],
    )
    def test_commands_that_cannot_be_used_are_told(self, text: str, reason: str) -> None:
        with pytest.raises(AppError) as error:
            autostart.commands(text)
        assert error.value.code == "bad_setting"
        assert reason in error.value.sentence

    @given(st.dictionaries(st.text(min_size=1), st.lists(st.text(min_size=1), min_size=1)))
    def test_commands_come_back_as_they_were_written(self, written: dict[str, list[str]]) -> None:
        text = json.dumps({name: {"command": command} for name, command in written.items()})
        assert autostart.commands(text) == written


def test_azure_takes_its_key_in_another_header() -> None:
    assert keys.headers("https://x.openai.azure.com/openai", "k") == {"api-key": "k"}
    assert keys.headers("https://api.openai.com", "k") == {"Authorization": "Bearer k"}
    assert keys.headers("https://api.openai.com", "") == {}


def test_presets_have_addresses_that_can_be_read() -> None:
    assert len({preset.name for preset in PRESETS}) == len(PRESETS)
    assert all(preset.url.startswith("http") and "https://" in preset.hint for preset in PRESETS)
