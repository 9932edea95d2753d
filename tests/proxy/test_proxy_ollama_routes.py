"""Ollama's interface besides chat, in front of a server that speaks as Ollama does; asked by its own client."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import ollama
import pytest
from fake_ollama import FakeOllama, fake_ollama
from ollama_front import ANYBODY, Front, model, ollama_front

from quarterdeck.errors import AppError
from quarterdeck.proxy.health import OLLAMA_LINE
from quarterdeck.proxy.ollama_state import OLLAMA_VERSION

TINY: dict[str, Any] = {
    "size_bytes": 98_363_034, "format": "gguf", "family": "llama", "architecture": "llama",
    "parameter_count": 134_515_008, "quantization": "Q4_1", "context_length": 8192,
    "capabilities": ["chat", "tools", "embeddings"],
}  # fmt: skip
STEPS = [
    {"status": "pulling manifest"},
    {"status": "pulling aaaa", "digest": "sha256:aaaa", "total": 100, "completed": 40},
    {"status": "success"},
]
KEY = dataclasses.replace(ANYBODY, name="phone", models=frozenset({"tiny"}))
ADMIN = dataclasses.replace(ANYBODY, name="desk", admin=True)


@pytest.fixture
async def server() -> AsyncIterator[FakeOllama]:
    async with fake_ollama() as running:
        yield running


@pytest.fixture
async def front(server: FakeOllama) -> AsyncIterator[Front]:
    async with ollama_front(server.url) as running:
        await running.add(model("tiny", **TINY), model("hush", hidden="deprecated"))
        await running.look()
        running.looks = 0
        yield running


@pytest.fixture
async def client(front: Front) -> AsyncIterator[ollama.AsyncClient]:
    async with ollama.AsyncClient(host=front.url) as made:
        yield made


@pytest.fixture
async def http(front: Front) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=front.url, trust_env=False) as made:
        yield made


async def names(client: ollama.AsyncClient) -> set[str | None]:
    return {each.model for each in (await client.list()).models}


async def refusal(call: Any) -> tuple[int, str]:
    with pytest.raises(ollama.ResponseError) as caught:
        await call
    return caught.value.status_code, caught.value.error


class TestLists:
    async def test_models_of_every_engine_are_listed_as_ollamas(self, client: ollama.AsyncClient) -> None:
        listed = {each.model: each for each in (await client.list()).models}
        assert set(listed) == {"tiny:latest", "smollm2:latest"}
        tiny = listed["tiny:latest"]
        assert tiny.details is not None
        assert (tiny.details.parameter_size, tiny.details.quantization_level) == ("134.52M", "Q4_1")
        assert (tiny.details.families, tiny.size) == (["llama"], 98_363_034)
        assert tiny.modified_at == datetime(2026, 11, 21, 2, 23, 44, 986584, tzinfo=UTC)
        assert tiny.digest is not None
        assert len(bytes.fromhex(tiny.digest)) == 32

    async def test_the_digest_tells_models_apart_and_stays(self, client: ollama.AsyncClient) -> None:
        first = {each.model: each.digest for each in (await client.list()).models}
        assert first == {each.model: each.digest for each in (await client.list()).models}
        assert len(set(first.values())) == len(first)

    async def test_lists_ask_no_server_and_need_none(
        self, server: FakeOllama, client: ollama.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        await server.stop()
        asked = len(server.requests)
        assert "smollm2:latest" in await names(client)
        assert (await client.ps()).models == []
        assert (await http.get("/v1/models")).status_code == 200
        assert (await http.get("/api/version")).json() == {"version": OLLAMA_VERSION}
        assert len(server.requests) == asked

    async def test_what_is_in_memory_is_listed_until_it_goes(self, front: Front, client: ollama.AsyncClient) -> None:
        front.settings = front.settings.model_copy(update={"idle_timeout": 300.0})
        front.load("tiny", config={"n_ctx": 4096}, idle=100)
        (tiny,) = (await client.ps()).models
        assert (tiny.model, tiny.name, tiny.context_length) == ("tiny:latest", "tiny:latest", 4096)
        assert tiny.expires_at is not None
        left = (tiny.expires_at - datetime.now(UTC)).total_seconds()
        assert 190 < left <= 200

    async def test_what_is_used_has_its_whole_time_left(self, front: Front, client: ollama.AsyncClient) -> None:
        front.settings = front.settings.model_copy(update={"idle_timeout": 300.0})
        front.load("tiny", idle=299).instance.active_requests = 1
        (tiny,) = (await client.ps()).models
        assert tiny.expires_at is not None
        assert tiny.expires_at - datetime.now(UTC) > timedelta(seconds=290)

    async def test_what_stays_ends_when_ollama_says_never(self, front: Front, client: ollama.AsyncClient) -> None:
        front.settings = front.settings.model_copy(update={"idle_timeout": 0.0})
        front.load("tiny")
        (tiny,) = (await client.ps()).models
        assert tiny.expires_at is not None
        assert tiny.expires_at.year > 2300

    async def test_a_sleeping_model_is_not_in_memory(self, front: Front, client: ollama.AsyncClient) -> None:
        front.load("tiny").instance.asleep = True
        assert (await client.ps()).models == []


class TestShow:
    async def test_a_model_of_another_engine(self, front: Front, client: ollama.AsyncClient) -> None:
        await front.add(model("tiny", load_config='{"n_ctx": 2048}', **TINY))
        shown = await client.show("tiny")
        assert shown.capabilities == ["completion", "tools", "embedding"]
        assert shown.modelinfo is not None
        assert shown.modelinfo["general.architecture"] == "llama"
        assert shown.modelinfo["llama.context_length"] == 8192
        assert shown.parameters is not None
        assert shown.parameters.split() == ["num_ctx", "2048"]

    async def test_ollama_itself_tells_of_its_models(self, client: ollama.AsyncClient) -> None:
        shown = await client.show("smollm2")
        assert shown.modelfile is not None
        assert "FROM /models/blobs/sha256-" in shown.modelfile
        assert shown.template
        assert shown.capabilities == ["completion"]

    async def test_what_a_person_said_of_its_capabilities_counts(
        self, server: FakeOllama, front: Front, client: ollama.AsyncClient
    ) -> None:
        await front.add(model("mine", "ollama", url=server.url, served_name="smollm2:latest", capabilities=["vision"]))
        shown = await client.show("mine")
        assert shown.capabilities == ["vision"]
        assert shown.template

    async def test_a_server_that_is_down_is_not_missed(self, server: FakeOllama, client: ollama.AsyncClient) -> None:
        await server.stop()
        shown = await client.show("smollm2")
        assert shown.modelinfo is not None
        assert shown.modelinfo["llama.context_length"] == 8192

    async def test_an_unknown_model(self, client: ollama.AsyncClient) -> None:
        assert await refusal(client.show("nope")) == (404, "model 'nope' not found")

    @pytest.mark.parametrize(
        ("body", "words"),
        [("", "missing request body"), ("{}", "model is required"), ('{"model": 7}', "model is required"),
         ("[1]", "JSON object"), ("{", "not valid JSON"), ("[" * 100_000, "not valid JSON")],
    )  # fmt: skip
    async def test_what_is_no_question_is_refused(self, http: httpx.AsyncClient, body: str, words: str) -> None:
        answer = await http.post("/api/show", content=body)
        assert answer.status_code == 400
        assert words in answer.json()["error"]

    async def test_the_older_name_of_the_field(self, http: httpx.AsyncClient) -> None:
        assert (await http.post("/api/show", json={"name": "tiny"})).status_code == 200


class TestManaging:
    async def test_a_download_tells_its_progress_and_is_listed_at_its_end(
        self, server: FakeOllama, client: ollama.AsyncClient
    ) -> None:
        server.pull_steps = list(STEPS)
        steps = [step async for step in await client.pull("phi", stream=True)]
        assert [step.status for step in steps] == [step["status"] for step in STEPS]
        assert (steps[1].completed, steps[1].total, steps[1].digest) == (40, 100, "sha256:aaaa")
        assert "phi:latest" in await names(client)

    async def test_a_download_that_fails_says_so(self, server: FakeOllama, client: ollama.AsyncClient) -> None:
        server.pull_steps = [*STEPS[:1], {"error": "pull model manifest: file does not exist"}]

        async def pull() -> list[Any]:
            return [step async for step in await client.pull("phi", stream=True)]

        assert (await refusal(pull()))[1] == "pull model manifest: file does not exist"

    async def test_a_client_that_leaves_ends_its_download(self, server: FakeOllama, http: httpx.AsyncClient) -> None:
        server.pull_steps, server.holds_pull = list(STEPS), asyncio.Event()
        async with http.stream("POST", "/api/pull", json={"model": "phi"}) as answer:
            async for _line in answer.aiter_lines():
                break
        await asyncio.wait_for(server.client_left.wait(), 10)

    async def test_a_server_that_dies_in_a_download_ends_it_with_an_error(
        self, server: FakeOllama, client: ollama.AsyncClient
    ) -> None:
        server.pull_steps, server.holds_pull = list(STEPS), asyncio.Event()
        steps = []

        async def pull() -> None:
            async for step in await client.pull("phi", stream=True):
                steps.append(step.status)
                await server.stop()

        assert "connection broke" in (await refusal(pull()))[1]
        assert steps == ["pulling manifest"]

    async def test_copies_and_deletions_show_at_once(self, client: ollama.AsyncClient) -> None:
        assert (await client.copy("smollm2", "twin")).status == "success"
        assert "twin:latest" in await names(client)
        assert (await client.delete("twin")).status == "success"
        assert "twin:latest" not in await names(client)

    async def test_a_variant_is_made(self, server: FakeOllama, client: ollama.AsyncClient) -> None:
        made = await client.create("big", from_="smollm2", parameters={"num_ctx": 4096}, stream=False)
        assert made.status == "success"
        assert server.models["big:latest"].parameters == {"num_ctx": 4096}
        assert "big:latest" in await names(client)

    async def test_our_name_of_a_model_becomes_the_servers(
        self, server: FakeOllama, front: Front, client: ollama.AsyncClient
    ) -> None:
        await front.add(model("mine", "ollama", url=server.url, served_name="smollm2:latest"))
        await client.copy("mine", "twin")
        assert server.requests[-2:][0] == ("/api/copy", {"source": "smollm2:latest", "destination": "twin"})
        await front.add(model("mine", "ollama", url=server.url, served_name="twin:latest"))
        await client.delete("mine")
        assert "twin:latest" not in server.models
        assert "smollm2:latest" in server.models

    async def test_a_model_at_another_server_is_managed_there(self, front: Front, client: ollama.AsyncClient) -> None:
        async with fake_ollama() as other:
            await front.add(model("theirs", "ollama", url=other.url, served_name="smollm2:latest"))
            await client.delete("theirs")
            assert other.models == {}

    async def test_models_of_other_engines_are_none_of_ollamas(
        self, server: FakeOllama, client: ollama.AsyncClient
    ) -> None:
        before = len(server.requests)
        for call in (client.delete("tiny"), client.copy("tiny", "x"), client.push("tiny"),
                     client.create("x", from_="tiny")):  # fmt: skip
            status, words = await refusal(call)
            assert status == 409
            assert "not a model of Ollama" in words
        assert len(server.requests) == before

    async def test_but_one_of_the_same_name_may_be_fetched(
        self, server: FakeOllama, client: ollama.AsyncClient
    ) -> None:
        server.pull_steps = list(STEPS)
        assert [step.status async for step in await client.pull("tiny", stream=True)][-1] == "success"
        assert "tiny:latest" in server.models

    async def test_the_servers_own_words_are_passed_back(self, front: Front, client: ollama.AsyncClient) -> None:
        assert await refusal(client.delete("nope")) == (404, "model 'nope:latest' not found")
        assert front.looks == 0

    async def test_a_server_that_is_down_is_named(self, server: FakeOllama, client: ollama.AsyncClient) -> None:
        await server.stop()
        for call in (client.pull("phi"), client.copy("smollm2", "x"), client.delete("smollm2")):
            status, words = await refusal(call)
            assert status == 503
            assert f"Ollama does not answer at {server.url}: nothing listens there." in words

    async def test_an_address_that_is_none_is_an_error(self, front: Front, client: ollama.AsyncClient) -> None:
        front.settings = front.settings.model_copy(update={"ollama_url": "not an address"})
        assert (await refusal(client.pull("phi")))[0] == 400

    async def test_a_long_body_is_refused_before_it_is_held(self, front: Front, http: httpx.AsyncClient) -> None:
        front.settings = front.settings.model_copy(update={"body_limit": 1})
        answer = await http.post("/api/create", content=b"x" * (1024 * 1024 + 1))
        assert answer.status_code == 413
        assert answer.json()["error"]

    async def test_methods_are_those_of_ollama(self, http: httpx.AsyncClient) -> None:
        for method, path in (("GET", "/api/pull"), ("POST", "/api/delete"), ("PUT", "/api/tags"), ("GET", "/api/show")):
            assert (await http.request(method, path)).status_code == 405


class TestKeys:
    async def test_a_key_sees_its_models_only(
        self, front: Front, client: ollama.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        front.load("tiny")
        front.load("smollm2:latest")
        front.principal = KEY
        assert await names(client) == {"tiny:latest"}
        assert [each.model for each in (await client.ps()).models] == ["tiny:latest"]
        assert await refusal(client.show("smollm2")) == (404, "model 'smollm2' not found")
        assert [item["id"] for item in (await http.get("/v1/models")).json()["data"]] == ["tiny"]
        assert (await http.get("/v1/models/smollm2")).status_code == 403

    async def test_only_an_admin_key_manages(
        self, server: FakeOllama, front: Front, client: ollama.AsyncClient, http: httpx.AsyncClient
    ) -> None:
        front.principal = KEY
        for call in (client.pull("phi"), client.copy("smollm2", "x"), client.delete("smollm2"), client.push("smollm2")):
            assert (await refusal(call))[0] == 403
        assert (await http.post(f"/api/blobs/sha256:{'0' * 64}", content=b"x")).status_code == 403
        assert "smollm2:latest" in server.models
        front.principal = ADMIN
        await client.delete("smollm2")
        assert "smollm2:latest" not in server.models

    async def test_who_is_not_known_gets_ollamas_error(
        self, front: Front, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def nobody(_request: object) -> None:
            raise AppError("unauthorized", "This address needs an API key.", status=401)

        monkeypatch.setattr(front.ollama, "_principal", nobody)
        for method, path in (("GET", "/api/tags"), ("GET", "/api/ps"), ("POST", "/api/show"), ("POST", "/api/pull"),
                             ("DELETE", "/api/delete"), ("POST", "/api/blobs/x")):  # fmt: skip
            answer = await http.request(method, path)
            assert answer.status_code == 401
            assert answer.json()["error"] == "This address needs an API key."
        assert (await http.get("/api/version")).status_code == 200


class TestAlive:
    async def test_ollamas_clients_find_their_server(self, http: httpx.AsyncClient) -> None:
        assert (await http.get("/")).text == OLLAMA_LINE
        assert (await http.head("/")).status_code == 200

    async def test_a_browser_is_told_who_answers(self, http: httpx.AsyncClient) -> None:
        answer = await http.get("/", headers={"accept": "text/html,application/xhtml+xml"})
        assert answer.text.startswith("Quarterdeck is running")

    @pytest.mark.parametrize("path", ["/", "/health", "/v1/health", "/version", "/api/version"])
    async def test_every_health_path_answers(self, http: httpx.AsyncClient, path: str) -> None:
        assert (await http.get(path)).status_code == 200
        assert (await http.head(path)).status_code == 200

    async def test_health_says_since_when(self, http: httpx.AsyncClient) -> None:
        health = (await http.get("/v1/health")).json()
        assert health["status"] == "ok"
        assert health["uptime_seconds"] >= 0


class TestModelItems:
    async def test_an_item_says_what_is_known(self, http: httpx.AsyncClient) -> None:
        item = (await http.get("/v1/models/tiny")).json()
        assert item["compatibility_status"] == "unknown"
        assert (item["loaded"], item["backend"], item["context_length"]) == (False, "embedded", 8192)
        assert item["capabilities"] == ["chat", "tools", "embeddings"]
        assert (item["modalities"], item["quantization"], item["size_bytes"]) == (["text"], "Q4_1", 98_363_034)

    async def test_a_model_that_sees(self, front: Front, http: httpx.AsyncClient) -> None:
        await front.add(model("eye", capabilities=["chat", "vision", "audio"]))
        assert (await http.get("/v1/models/eye")).json()["modalities"] == ["text", "image", "audio"]

    async def test_an_unknown_model_is_openais_error(self, http: httpx.AsyncClient) -> None:
        answer = await http.get("/v1/models/nope")
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "model_not_found"

    async def test_the_other_clients_read_the_same_list(self, front: Front) -> None:
        import anthropic
        import openai

        async with openai.AsyncOpenAI(base_url=f"{front.url}/v1", api_key="EMPTY", max_retries=0) as theirs:
            assert [item.id async for item in theirs.models.list()] == ["tiny", "smollm2:latest"]
        async with anthropic.AsyncAnthropic(base_url=front.url, api_key="EMPTY", max_retries=0) as others:
            listed = [item async for item in others.models.list()]
        assert (listed[0].id, listed[0].type, listed[0].display_name) == ("tiny", "model", "tiny")
        assert listed[0].created_at.year == 2026
