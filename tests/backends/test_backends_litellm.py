"""The LiteLLM backend: a gateway attached to, one of ours, its configuration, and the real one."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import fake_openai as fakes
import httpx
import pytest
from fake_openai import FakeOpenAI, fake_openai
from real_engines import LITELLM, needs

from quarterdeck.backends.base import EngineFailed, EngineRecord, Instance, Target
from quarterdeck.backends.litellm import LiteLLMBackend
from quarterdeck.backends.logs import LogBook
from quarterdeck.backends.process import free_port
from quarterdeck.errors import AppError
from quarterdeck.schemas.backends import BackendState, OwnerKind
from quarterdeck.settings import Settings

KEY = "sk-0123456789abcdef0123456789abcdef"


class Bench:
    """A backend and its settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key: str | None = None
        self.settings = Settings(litellm_url=f"http://127.0.0.1:{free_port()}", stop_timeout=5.0)
        self.backend = LiteLLMBackend(LogBook("litellm"), settings=lambda: self.settings, key_for=lambda _url: self.key)

    def set(self, **changes: str) -> None:
        self.settings = self.settings.model_copy(update=changes)

    def configure(self, *models: str) -> None:
        """Write a configuration with these models and use it."""
        file = self.folder / "config.yaml"
        entry = (
            "  - model_name: {}\n    litellm_params: {{model: openai/x, api_base: http://127.0.0.1:9/v1, api_key: x}}\n"
        )
        file.write_text("model_list:\n" + "".join(map(entry.format, models)))
        self.set(litellm_config=str(file))

    async def load(self, served_id: str) -> Instance:
        async def started(_record: EngineRecord) -> None:
            raise AssertionError("the gateway is not the process of one model")

        target = Target("mine", None, None, {}, served_id=served_id)
        return await self.backend.load(target, timeout=100, progress=lambda _stage, _part: None, started=started)


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.delenv("LITELLM_MASTER_KEY", raising=False)
    made = Bench(tmp_path)
    yield made
    await made.backend.close()


@pytest.fixture
async def gateway(bench: Bench) -> AsyncIterator[FakeOpenAI]:
    async with fake_openai(product="litellm") as server:
        bench.set(litellm_url=server.url)
        yield server


@pytest.fixture
def own(bench: Bench) -> Bench:
    """With a stand-in for the litellm program."""
    program = bench.folder / "litellm"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{fakes.__file__}" --product litellm "$@"\n')
    program.chmod(0o755)
    bench.set(litellm_command=str(program))
    bench.configure("a", "b")
    return bench


class TestAttached:
    async def test_a_model_it_lists_can_be_used(self, bench: Bench, gateway: FakeOpenAI) -> None:
        instance = await bench.load("a")
        assert (instance.base_url, instance.served_id, instance.record) == (gateway.url, "a", None)
        view = bench.backend.view([instance])
        assert (view.state, view.owner.kind, view.actions) == (BackendState.RUNNING, OwnerKind.OTHER, [])
        await bench.backend.unload(instance)
        assert (await instance.exited).asked_for
        with pytest.raises(AppError) as error:
            await bench.load("z")
        assert error.value.code == "model_missing"
        for call in (bench.backend.stop(), bench.backend.reload()):
            with pytest.raises(AppError) as error:
                await call
            assert error.value.code == "not_ours"

    async def test_its_models_are_described_and_its_health_is_never_asked(
        self, bench: Bench, gateway: FakeOpenAI
    ) -> None:
        first, second = await bench.backend.found_models()
        assert (first.name, first.context_length, first.capabilities) == ("a", 8192, ["chat", "vision"])
        assert (second.name, second.context_length, second.capabilities) == ("b", None, ["chat"])
        await bench.load("a")
        assert "/health" not in gateway.paths()
        assert await bench.backend.residents() == []

    async def test_the_master_key_is_sent(
        self, bench: Bench, gateway: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gateway.key = KEY
        with pytest.raises(AppError) as error:
            await bench.load("a")
        assert error.value.code == "needs_key"
        assert await bench.backend.found_models() == []
        monkeypatch.setenv("LITELLM_MASTER_KEY", KEY)
        assert (await bench.load("a")).headers == {"Authorization": f"Bearer {KEY}"}
        bench.key = "sk-other"
        with pytest.raises(AppError):
            await bench.load("a")

    async def test_nothing_listens_and_nothing_can_be_started(self, bench: Bench) -> None:
        with pytest.raises(AppError) as error:
            await bench.load("a")
        assert error.value.code == "server_unreachable"
        assert bench.backend.view([]).actions == []


class TestOwnGateway:
    async def test_it_is_started_with_its_configuration_and_stopped(self, own: Bench) -> None:
        instance = await own.load("b")
        view = own.backend.view([instance])
        assert (view.state, view.owner.kind) == (BackendState.RUNNING, OwnerKind.QUARTERDECK)
        assert own.settings.litellm_config in (view.command or "")
        await own.backend.stop()
        assert (await instance.exited).asked_for
        assert own.backend.view([]).actions == ["start"]

    async def test_it_is_restarted_only_when_its_configuration_changed(self, own: Bench) -> None:
        stays, goes = await own.load("a"), await own.load("b")
        pid = own.backend.view([]).pid
        assert not await own.backend.reload()
        assert own.backend.view([]).pid == pid
        own.configure("a", "c")
        assert await own.backend.reload()
        assert own.backend.view([]).pid != pid
        assert not stays.exited.done()
        assert "no longer" in ((await goes.exited).outside or "")
        await own.load("c")

    async def test_its_crash_ends_its_models(self, own: Bench) -> None:
        instance = await own.load("a")
        pid = own.backend.view([]).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        report = await asyncio.wait_for(instance.exited, 20)
        assert (report.signal, report.asked_for) == ("SIGKILL", False)
        assert (await own.load("a")).base_url == own.settings.litellm_url

    async def test_a_missing_configuration_is_told(self, own: Bench) -> None:
        own.set(litellm_config=str(own.folder / "none.yaml"))
        with pytest.raises(AppError) as error:
            await own.load("a")
        assert error.value.code == "file_missing"

    async def test_a_missing_program_is_told(self, own: Bench) -> None:
        own.set(litellm_command="no-such-litellm")
        with pytest.raises(AppError) as error:
            await own.backend.start()
        assert error.value.code == "engine_missing"


@pytest.mark.engine
@pytest.mark.slow
@needs(LITELLM, "starting and reloading the real LiteLLM gateway")
class TestReal:
    @pytest.mark.timeout(300)
    async def test_it_starts_lists_its_models_and_reloads(self, bench: Bench) -> None:
        bench.set(litellm_command=str(LITELLM))
        bench.key = KEY
        bench.configure("tiny", "other")
        instance = await bench.load("tiny")
        assert [found.name for found in await bench.backend.found_models()] == ["tiny", "other"]
        async with httpx.AsyncClient(trust_env=False, headers=dict(instance.headers), timeout=30) as http:
            answer = await http.get(f"{instance.base_url}/v1/models")
        assert answer.status_code == 200
        bench.configure("tiny", "third")
        assert await bench.backend.reload()
        assert [found.name for found in await bench.backend.found_models()] == ["tiny", "third"]
        assert not instance.exited.done()
        bench.key = "sk-wrong-but-long-enough-0123456789"
        with pytest.raises(AppError) as error:
            await bench.load("tiny")
        assert error.value.code == "needs_key"

    @pytest.mark.timeout(300)
    async def test_a_configuration_it_cannot_read_fails_with_its_log(self, bench: Bench) -> None:
        bench.set(litellm_command=str(LITELLM))
        bench.configure()
        Path(bench.settings.litellm_config).write_text("model_list:\n  - model_name: a\n   bad: [\n")
        with pytest.raises(EngineFailed) as failed:
            await bench.load("a")
        assert any("yaml" in line.lower() for line in failed.value.log)
