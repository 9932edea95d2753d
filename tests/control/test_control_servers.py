"""`/api/servers`, `/api/ollama` and `/api/gpu`: servers of others, Ollama's models, and programs on the GPU."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from fake_ollama import FakeOllama, fake_ollama
from recorded_server import RecordedServer, models, reply, serve
from scripted_core import ScriptedCore, scripted_core

from quarterdeck.client.api import ApiClient
from quarterdeck.errors import AppError
from quarterdeck.schemas.backends import PullProgress

Call = Callable[..., Awaitable[httpx.Response]]


def error_of(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert body["detail"]
    assert isinstance(body["hint"], str)
    return answer.status_code, body["code"]


@pytest.fixture(scope="module")
def shared_core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedCore]:
    with scripted_core(tmp_path_factory.mktemp("core"), every_engine=True) as core:
        yield core


@pytest.fixture
def call(shared_core: ScriptedCore) -> Call:
    """Ask the core while the servers of the test go on."""
    return caller(shared_core)


def caller(core: ScriptedCore) -> Call:
    async def ask(method: str, path: str, **options: Any) -> httpx.Response:
        return await asyncio.to_thread(core.http.request, method, path, **options)

    return ask


@pytest.fixture
async def server() -> AsyncIterator[RecordedServer]:
    async with serve({"/v1/models": models("phi-4", "gemma-3"), "/health": models()}) as running:
        yield running


class TestServers:
    async def test_one_is_added_shown_and_removed(self, call: Call, server: RecordedServer) -> None:
        body = {"url": f"{server.url}/v1", "name": "study", "api_key": "sk-study-secret"}
        added = await call("POST", "/api/servers", json=body)
        assert added.status_code == 201
        view = added.json()
        assert (view["name"], view["state"], view["models"]) == ("study", "running", ["phi-4", "gemma-3"])
        assert "remove" in view["actions"]
        assert "Bearer sk-study-secret" in server.keys
        listed = (await call("GET", "/api/backends")).json()
        assert [each["address"] for each in listed if each["name"] == "study"] == [server.url]
        assert "sk-study-secret" not in (await call("GET", "/api/backends")).text
        assert error_of(await call("POST", "/api/servers", json=body)) == (409, "server_known")
        assert (await call("DELETE", "/api/servers/study")).status_code == 204
        assert error_of(await call("DELETE", "/api/servers/study"))[0] == 404

    async def test_its_models_are_found_by_a_scan(self, call: Call, server: RecordedServer) -> None:
        await call("POST", "/api/servers", json={"url": server.url, "name": "attic"})
        found = (await call("POST", "/api/scan")).json()
        assert {"phi-4", "gemma-3"} <= {*found["added"], *found["changed"]}
        assert server.url in [each["url"] for each in found["servers"]]
        model = (await call("GET", "/api/models/phi-4")).json()
        assert (model["url"], model["backend"], model["layer"]) == (server.url, "openai-compatible", "discovered")
        await call("DELETE", "/api/servers/attic")
        again = (await call("POST", "/api/scan", json={"folders": []})).json()
        assert again["added"] == []

    async def test_guests_are_not_started_stopped_or_read(self, call: Call, server: RecordedServer) -> None:
        await call("POST", "/api/servers", json={"url": server.url, "name": "guest"})
        for action in ("start", "stop", "restart"):
            answer = await call("POST", f"/api/backends/guest/{action}")
            assert answer.status_code in (403, 409)
            assert error_of(answer)[1] == "not_ours"
        assert error_of(await call("POST", "/api/backends/guest/reload")) == (409, "cannot_reload")
        assert error_of(await call("GET", "/api/backends/guest/logs")) == (404, "no_log")
        await call("DELETE", "/api/servers/guest")

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({}, (400, "bad_request")),
            ({"url": "no address"}, (400, "bad_address")),
            ({"url": "http://127.0.0.1:9", "kind": "warp"}, (400, "bad_request")),
            ({"url": "http://127.0.0.1:9", "color": "red"}, (400, "bad_request")),
            ({"url": "http://127.0.0.1:9", "owner": {"kind": "systemd", "name": "a b"}}, (400, "bad_owner")),
        ],
    )
    async def test_what_cannot_be_added_is_refused(
        self, call: Call, body: dict[str, Any], expected: tuple[int, str]
    ) -> None:
        assert error_of(await call("POST", "/api/servers", json=body)) == expected

    async def test_quarterdeck_itself_is_no_server(self, call: Call, shared_core: ScriptedCore) -> None:
        assert error_of(await call("POST", "/api/servers", json={"url": shared_core.public_url})) == (
            400, "own_address",
        )  # fmt: skip

    async def test_an_address_is_looked_at_and_not_kept(self, call: Call, server: RecordedServer) -> None:
        seen = (await call("POST", "/api/verify", json={"url": f"{server.url}/v1", "key": "sk-once"})).json()
        assert (seen["ok"], seen["url"], seen["models"]) == (True, server.url, ["phi-4", "gemma-3"])
        assert "lists 2 models" in seen["sentence"]
        assert "Bearer sk-once" in server.keys
        nothing = (await call("POST", "/api/verify", json={"url": "http://127.0.0.1:9"})).json()
        assert (nothing["ok"], nothing["models"]) == (False, [])
        assert "127.0.0.1:9" in nothing["sentence"]
        assert error_of(await call("POST", "/api/verify", json={"url": "no address"})) == (400, "bad_address")
        assert server.url not in [each["address"] for each in (await call("GET", "/api/backends")).json()]

    async def test_a_server_that_wants_a_key_is_not_well(self, call: Call) -> None:
        refusal = {"error": {"message": "Incorrect API key provided"}}
        async with serve({"/v1/models": reply(refusal, 401), "/health": models()}) as closed:
            seen = (await call("POST", "/api/verify", json={"url": closed.url})).json()
        assert (seen["ok"], "API key" in seen["sentence"]) == (False, True)

    async def test_presets_tell_what_to_fill_in(self, call: Call) -> None:
        presets = (await call("GET", "/api/servers/presets")).json()
        assert {"openai", "azure", "gemini"} <= {preset["name"] for preset in presets}
        assert all(preset["title"] and preset["kind"] for preset in presets)


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with fake_ollama() as running:
        yield running


@pytest.fixture
async def with_ollama(tmp_path: Path, ollama: FakeOllama) -> AsyncIterator[ScriptedCore]:
    starting = scripted_core(tmp_path, every_engine=True, ollama_url=ollama.url)
    core = await asyncio.to_thread(starting.__enter__)
    yield core
    await asyncio.to_thread(starting.__exit__, None, None, None)


@pytest.fixture
async def client(with_ollama: ScriptedCore) -> AsyncIterator[ApiClient]:
    made = ApiClient(with_ollama.url, with_ollama.thread.token)
    yield made
    await made.aclose()


class TestOllama:
    async def test_a_download_tells_how_far_it_is_and_the_model_is_there(
        self, client: ApiClient, ollama: FakeOllama
    ) -> None:
        ollama.pull_steps = [
            {"status": "pulling manifest"},
            {"status": "pulling 5c7", "total": 100, "completed": 40},
            {"status": "success"},
        ]
        steps = [step async for step in client.pull("qwen3:0.6b")]
        assert steps[1] == PullProgress(stage="pulling 5c7", done_bytes=40, total_bytes=100)
        assert steps[-1].finished
        assert (await client.model("qwen3:0.6b")).backend == "ollama"

    async def test_leaving_cancels_the_download(self, client: ApiClient, ollama: FakeOllama) -> None:
        ollama.pull_steps = [{"status": "pulling 5c7", "total": 100, "completed": at} for at in range(50)]
        ollama.holds_pull = asyncio.Event()
        steps = client.pull("huge")
        assert (await anext(steps)).done_bytes == 0
        await steps.aclose()  # type: ignore[attr-defined]
        await asyncio.wait_for(ollama.client_left.wait(), 20)
        assert "huge:latest" not in ollama.models

    async def test_a_download_that_fails_at_once_is_an_error(
        self, with_ollama: ScriptedCore, ollama: FakeOllama
    ) -> None:
        ollama.pull_steps = [{"error": "pull model manifest: file does not exist"}]
        answer = await caller(with_ollama)("POST", "/api/ollama/pull", json={"model": "nobody"})
        assert answer.status_code >= 400
        assert error_of(answer)[1]
        assert "file does not exist" in answer.json()["detail"]

    async def test_a_download_that_fails_later_says_so_in_its_last_line(
        self, client: ApiClient, ollama: FakeOllama
    ) -> None:
        ollama.pull_steps = [{"status": "pulling manifest"}, {"error": "no space left on device"}]
        seen = []
        with pytest.raises(AppError) as failed:
            async for step in client.pull("big"):
                seen.append(step.stage)
        assert seen == ["pulling manifest"]
        assert "no space left on device" in failed.value.sentence

    async def test_a_variant_is_made_and_deleted(self, with_ollama: ScriptedCore, ollama: FakeOllama) -> None:
        call = caller(with_ollama)
        made = await call("POST", "/api/ollama/create", json={"model": "smol-8k", "source": "smollm2", "num_ctx": 8192})
        assert made.status_code == 200
        assert ollama.models["smol-8k:latest"].parameters == {"num_ctx": 8192}
        copied = await call("POST", "/api/ollama/create", json={"model": "smol-copy", "source": "smollm2"})
        assert copied.status_code == 200
        listed = {each["served_name"] for each in (await call("GET", "/api/models")).json()}
        assert {"smol-8k:latest", "smol-copy:latest"} <= listed
        assert (await call("POST", "/api/ollama/delete", json={"model": "smol-copy"})).status_code == 200
        assert "smol-copy:latest" not in ollama.models

    @pytest.mark.parametrize(
        ("path", "body", "expected"),
        [
            ("create", {"model": "x", "source": "nobody"}, (404, "model_missing")),
            ("create", {"model": "x", "source": "nobody", "num_ctx": 512}, (404, "model_missing")),
            ("create", {"model": "x", "source": "smollm2", "num_ctx": 0}, (400, "bad_request")),
            ("create", {"model": "x"}, (400, "bad_request")),
            ("delete", {"model": "nobody"}, (404, "model_missing")),
            ("delete", {"model": ""}, (400, "bad_request")),
            ("pull", {}, (400, "bad_request")),
            ("pull", {"model": " "}, (400, "bad_request")),
        ],
    )
    async def test_what_is_refused(
        self, with_ollama: ScriptedCore, ollama: FakeOllama, path: str, body: dict[str, Any], expected: tuple[int, str]
    ) -> None:
        assert error_of(await caller(with_ollama)("POST", f"/api/ollama/{path}", json=body)) == expected
        assert set(ollama.models) == {"smollm2:latest"}

    async def test_an_ollama_that_does_not_answer(self, call: Call) -> None:
        for path, body in (("pull", {"model": "x"}), ("delete", {"model": "x"})):
            answer = await call("POST", f"/api/ollama/{path}", json=body)
            assert answer.status_code in (424, 502, 503)
            assert "Ollama" in answer.json()["detail"]
            assert error_of(answer)[1]


SLEEP = "import time; print('ready', flush=True); time.sleep(600)"


@pytest.fixture
def program() -> Iterator[psutil.Process]:
    with subprocess.Popen([sys.executable, "-c", SLEEP], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        yield psutil.Process(process.pid)
        process.kill()


class TestGpuProcesses:
    async def test_a_program_is_ended(self, call: Call, program: psutil.Process) -> None:
        path, body = f"/api/gpu/processes/{program.pid}/stop", {"create_time": program.create_time()}
        assert error_of(await call("POST", path, json={"create_time": program.create_time() - 60})) == (
            404, "process_gone",
        )  # fmt: skip
        assert (await call("POST", path, json=body)).status_code == 200
        assert program.status() == psutil.STATUS_ZOMBIE
        assert error_of(await call("POST", path, json={})) == (400, "bad_request")

    @pytest.mark.parametrize("relation", ["itself", "descendant"])
    async def test_the_engine_of_a_model_is_not_ended(
        self, call: Call, shared_core: ScriptedCore, program: psutil.Process, relation: str
    ) -> None:
        engine = program.pid if relation == "itself" else psutil.Process().pid
        book = shared_core.core._sampler.book
        book.owners = {engine: ("qwen3-8b", "vllm")}
        try:
            body = {"create_time": program.create_time()}
            answer = await call("POST", f"/api/gpu/processes/{program.pid}/stop", json=body)
        finally:
            book.owners = {}
        assert error_of(answer) == (409, "process_of_model")
        assert "“qwen3-8b”" in answer.json()["detail"]
        assert program.is_running()

    async def test_a_loaded_model_owns_its_engine(self, call: Call, shared_core: ScriptedCore) -> None:
        name = await asyncio.to_thread(shared_core.add)
        await asyncio.to_thread(shared_core.load, name)
        pid = shared_core.backend.instances[name].pids[0]
        assert shared_core.core._sampler.book.owner_of(pid) == (name, "embedded")
        await call("POST", "/api/orchestrate/unload")
        assert shared_core.core._sampler.book.owner_of(pid) is None
