"""The typed client against a real core: every call, and errors with their three parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from fake_engine import FakeEngine, fake_engine
from scripted_core import ScriptedCore, scripted_core

from quarterdeck.client.api import ApiClient
from quarterdeck.errors import AppError
from quarterdeck.schemas.events import Topic
from quarterdeck.schemas.models import ConfigPatch, ModelCreate, Outcome, Status


@pytest.fixture(scope="module")
def engine() -> Iterator[FakeEngine]:
    with fake_engine() as running:
        yield running


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory, engine: FakeEngine) -> Iterator[ScriptedCore]:
    with scripted_core(tmp_path_factory.mktemp("core"), engine_url=engine.url) as running:
        yield running


@pytest.fixture
async def client(core: ScriptedCore) -> AsyncIterator[ApiClient]:
    made = ApiClient(core.url, core.thread.token)
    yield made
    await made.aclose()


async def refused(work: Any) -> AppError:
    with pytest.raises(AppError) as caught:
        await work
    return caught.value


@pytest.mark.parametrize("name", ["plain", "acme/with slash", "50% ?&#"])
async def test_the_life_of_a_model(core: ScriptedCore, client: ApiClient, name: str) -> None:
    added = await client.add_model(ModelCreate(model_name=name, path=str(core.model_file())))
    assert added == await client.model(name)
    assert added in await client.models()
    patched = await client.patch_config(name, ConfigPatch(compatibility_notes="note"))
    assert (patched.notes, patched.status) == ("note", Status.UNKNOWN)
    result = await client.load(name, load_config='{"n_ctx": 256}')
    assert (result.model_name, result.compatibility_status) == (name, Status.COMPATIBLE)
    assert [attempt.outcome for attempt in await client.attempts(name)] == [Outcome.LOADED]
    assert (await client.status()).loaded_models == [name]
    await client.unload(name)
    await client.remove_model(name)
    error = await refused(client.model(name))
    assert (error.code, error.status) == ("unknown_model", 404)
    assert error.hint


async def test_errors_keep_their_details(core: ScriptedCore, client: ApiClient) -> None:
    name = core.add()
    core.set_status(name, "incompatible", "seen to crash")
    error = await refused(client.load(name))
    assert (error.code, error.status, error.details["compatibility_notes"]) == ("incompatible", 409, "seen to crash")
    assert (await client.load(name, force=True)).compatibility_status is Status.DEGRADED
    error = await refused(client.patch_config(name, ConfigPatch(load_config="{")))
    assert (error.code, error.details["line"]) == ("bad_json", 1)
    assert (await refused(client.cancel())).code == "not_loading"


async def test_backends_logs_settings_and_hardware(core: ScriptedCore, client: ApiClient) -> None:
    name = core.add()
    await client.load(name)
    [backend] = await client.backends()
    assert backend.models == [name]
    assert (await client.backend_action("embedded", "stop")).models == []
    assert (await client.logs("embedded", tail=1))[0].text == f"serving {name}"
    assert (await client.hardware())[-1].host.memory_total
    changed = await client.change_settings({"theme": "dark"})
    assert changed == await client.settings()
    assert next(view.value for view in changed if view.name == "theme") == "dark"


async def test_a_chat_streams_its_chunks(core: ScriptedCore, client: ApiClient) -> None:
    name = core.add()
    chunks = [chunk async for chunk in client.chat(name, [{"role": "user", "content": "Hello"}], max_tokens=12)]
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
    assert text == "I'm hére"
    async with asyncio.timeout(20):
        while not (found := [each for each in await client.requests() if each.model == name]):
            await asyncio.sleep(0.01)
    assert found[0].completion_tokens == 12


async def test_errors_of_a_chat_are_raised(core: ScriptedCore, client: ApiClient, engine: FakeEngine) -> None:
    async def chat(name: str) -> None:
        async for _ in client.chat(name, []):
            pass

    assert (await refused(chat("nobody"))).code == "model_not_found"
    name = core.add()
    await client.load(name)
    engine.mode = "dies"
    try:
        assert (await refused(chat(name))).code == "engine_lost"
    finally:
        engine.reset()


async def test_events_arrive_and_are_resumed(core: ScriptedCore, client: ApiClient) -> None:
    name = core.add()
    seen: list[int] = []

    async def first(topics: list[Topic], last_id: int | None) -> None:
        async for event in client.events(topics, last_id=last_id):
            if event.topic is Topic.STREAM and last_id is None:
                core.set_status(name, "degraded")
            if event.topic is Topic.MODEL and event.data["name"] == name:
                seen.append(event.id)
                return

    await asyncio.wait_for(first([Topic.MODEL], None), 20)
    core.set_status(name, "unknown")
    await asyncio.wait_for(first([Topic.MODEL], seen[0]), 20)
    assert seen[1] > seen[0]


async def test_a_wrong_token_is_refused(core: ScriptedCore) -> None:
    stranger = ApiClient(core.url, "wrong")
    try:
        error = await refused(stranger.models())
    finally:
        await stranger.aclose()
    assert (error.code, error.status) == ("unauthorized", 401)
