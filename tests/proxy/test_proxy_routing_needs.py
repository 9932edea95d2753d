"""What a request needs, which models are known to lack it, and which failures lead to another model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.errors import AppError
from quarterdeck.proxy.dialects.base import Asked
from quarterdeck.proxy.routing.capabilities import able, check, context_of, least_tokens, needs
from quarterdeck.proxy.routing.fallbacks import FallbackClass, classify
from quarterdeck.proxy.routing.health import Health
from quarterdeck.proxy.upstreams.errors import upstream_error
from quarterdeck.scheduling import refusals
from quarterdeck.schemas.models import ModelView
from quarterdeck.schemas.requests import ClientPolicy, Operation, ToolPolicy
from quarterdeck.settings import Settings

PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {}}}


def model(
    name: str = "m", *, backend: str = "ollama", config: Mapping[str, Any] | None = None, **facts: Any
) -> ModelView:
    where: dict[str, Any] = {"url": "http://127.0.0.1:1"} if backend == "ollama" else {"path": "/models/x.gguf"}
    return ModelView(
        **{
            "name": name, "backend": backend, "served_name": name, "layer": "discovered",
            "created_at": datetime(2026, 11, 21, tzinfo=UTC), "load_config": json.dumps(config or {}), **where, **facts,
        }
    )  # fmt: skip


def at_server(backend: str, **facts: Any) -> ModelView:
    return model(backend=backend, path=None, url="http://127.0.0.1:1", capabilities=["chat"], **facts)


def chat(*parts: Any, text: str = "Hello", **fields: Any) -> Asked:
    content = [{"type": "text", "text": text}, *parts] if parts else text
    return Asked(Operation.CHAT, {"model": "m", "messages": [{"role": "user", "content": content}], **fields}, False)


def ask(operation: Operation, **fields: Any) -> Asked:
    return Asked(operation, {"model": "m", **fields}, False)


def refused(view: ModelView, asked: Asked, *others: ModelView) -> AppError | None:
    try:
        check(view, needs(asked), asked, lambda: [view, *others])
    except AppError as error:
        return error
    return None


class TestNeeds:
    @pytest.mark.parametrize(
        ("asked", "words"),
        [
            (chat(), {"chat"}),
            (chat(PICTURE), {"chat", "vision"}),
            (chat(tools=[TOOL]), {"chat", "tools"}),
            (chat(tools=[]), {"chat"}),
            (chat(tools=[TOOL], tool_choice="none"), {"chat"}),
            (chat(PICTURE, functions=[{"name": "f"}]), {"chat", "tools", "vision"}),
            (ask(Operation.COMPLETION, prompt="x"), {"chat"}),
            (ask(Operation.EMBEDDINGS, input="x"), {"embeddings"}),
            (ask(Operation.RERANK, query="x"), {"rerank"}),
            (ask(Operation.SPEECH, input="x"), {"audio"}),
            (ask(Operation.TRANSCRIPTION), {"audio"}),
            (ask(Operation.IMAGES, prompt="x"), {"images"}),
        ],
    )
    def test_of_each_request(self, asked: Asked, words: set[str]) -> None:
        assert needs(asked) == words

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["role", "content", "type", "text"]), inner, max_size=3)
            ),
            max_leaves=12,
        )
    )
    def test_strange_messages_are_left_to_the_backend(self, messages: Any) -> None:
        asked = Asked(Operation.CHAT, {"model": "m", "messages": messages}, False)
        assert "chat" in needs(asked)
        assert least_tokens(asked) >= 0


class TestAbilities:
    @pytest.mark.parametrize(
        ("view", "need", "answer"),
        [
            (model(capabilities=["chat", "vision"]), "vision", True),
            (model(capabilities=["chat"]), "vision", False),
            (model(capabilities=["chat"]), "tools", False),
            (model(capabilities=[]), "vision", None),
            (model(capabilities=[]), "tools", None),
            (model(capabilities=["embeddings"]), "chat", False),
            (model(capabilities=["completion"]), "chat", None),
            (model(capabilities=["chat"]), "embeddings", None),
            (model(capabilities=["chat"]), "rerank", False),
            (model(capabilities=["embeddings"]), "rerank", None),
            (model(backend="embedded", capabilities=["chat"]), "vision", False),
            (model(backend="embedded", capabilities=["chat"], config={"mmproj": "/p.gguf"}), "vision", True),
            (model(backend="embedded", capabilities=["chat"]), "tools", None),
            (model(backend="embedded", capabilities=["chat"]), "embeddings", True),
            (model(backend="embedded", capabilities=["chat"], config={"embeddings": False}), "embeddings", False),
            (model(backend="llama-server", capabilities=["chat"]), "embeddings", False),
            (model(backend="llama-server", capabilities=["chat"], config={"embedding": True}), "embeddings", True),
            (model(backend="llama-server", capabilities=["chat"], config={"reranking": True}), "rerank", True),
            (model(backend="vllm", capabilities=["chat"], format="safetensors"), "vision", False),
            (model(backend="vllm", capabilities=["chat"]), "tools", False),
            (model(backend="vllm", capabilities=["chat"], config={"tool_call_parser": "hermes"}), "tools", True),
            (model(backend="vllm", capabilities=["chat"]), "embeddings", False),
            (model(backend="vllm", capabilities=["chat"], config={"convert": "embed"}), "embeddings", None),
            (model(backend="vllm", path=None, url="http://127.0.0.1:8000", capabilities=[]), "tools", None),
            (at_server("litellm"), "vision", None),
            (at_server("litellm"), "audio", None),
            (at_server("litellm", layers={"capabilities": "curated"}), "vision", None),
            (at_server("openai-compatible"), "vision", None),
            (at_server("openai-compatible", layers={"capabilities": "curated"}), "vision", False),
            (at_server("openai-compatible"), "embeddings", False),
        ],
    )
    def test_what_is_known(self, view: ModelView, need: str, answer: bool | None) -> None:
        assert able(view, need) is answer

    @pytest.mark.parametrize(
        ("view", "tokens"),
        [
            (model(backend="vllm", context_length=32768), 32768),
            (model(backend="vllm", context_length=32768, config={"max_model_len": 4096}), 4096),
            (model(backend="vllm", context_length=32768, config={"max_model_len": -1}), 32768),
            (model(backend="embedded", context_length=4096, config={"n_ctx": 0}), 4096),
            (model(backend="embedded", config={"n_ctx": 8192}), 8192),
            (model(backend="embedded"), None),
            (model(context_length=4096), None),
        ],
    )
    def test_the_context_that_counts(self, view: ModelView, tokens: int | None) -> None:
        assert context_of(view) == tokens


class TestCheck:
    def test_models_that_can_are_named_those_in_memory_first(self) -> None:
        blind = model("blind", capabilities=["chat"])
        others = (
            model("a-sees", capabilities=["chat", "vision"]),
            model("loaded-sees", capabilities=["chat", "vision"], loaded=True),
            model("unknown"),
            model("hidden-sees", capabilities=["chat", "vision"], hidden="It is deprecated."),
            model("bad-sees", capabilities=["chat", "vision"], status="incompatible"),
        )
        error = refused(blind, chat(PICTURE), *others)
        assert error is not None
        assert (error.code, error.status, error.sentence) == (
            "capability_mismatch",
            409,
            "“blind” cannot read pictures.",
        )
        assert error.details == {"missing": ["vision"], "models": ["loaded-sees", "a-sees"]}
        assert "loaded-sees, a-sees" in error.hint

    def test_the_stand_in_can_do_all_that_is_needed(self) -> None:
        sees, both = model("sees", capabilities=["vision"]), model("both", capabilities=["vision", "tools"])
        error = refused(model("blind", capabilities=["chat"]), chat(PICTURE, tools=[TOOL]), sees, both)
        assert error is not None
        assert error.details["models"] == ["both"]

    def test_what_is_not_known_is_left_to_the_backend(self) -> None:
        for asked in (chat(PICTURE, tools=[TOOL]), ask(Operation.EMBEDDINGS, input="x"), ask(Operation.RERANK)):
            assert refused(model(), asked) is None

    def test_pictures_with_a_text_of_their_own_are_let_through(self) -> None:
        blind = model(capabilities=["chat"])
        assert refused(blind, chat({**PICTURE, "alt_text": "A cat."})) is None
        assert refused(blind, chat({**PICTURE, "alt_text": "A cat."}, PICTURE)) is not None

    @pytest.mark.parametrize(
        ("policy", "choice", "is_refused"),
        [
            (None, None, False),
            (None, "auto", False),
            (None, "required", True),
            (None, {"type": "function", "function": {"name": "look"}}, True),
            (ToolPolicy.STRIP, "auto", False),
            (ToolPolicy.STRIP, "required", True),
            (ToolPolicy.KEEP, "required", False),
            (ToolPolicy.REFUSE, "auto", True),
            (ToolPolicy.REFUSE, "none", False),
        ],
    )
    def test_tools_as_the_policy_says(self, policy: ToolPolicy | None, choice: Any, is_refused: bool) -> None:
        view = model(capabilities=["chat"], client_policy=ClientPolicy(tools=policy))
        assert (refused(view, chat(tools=[TOOL], tool_choice=choice)) is not None) is is_refused

    def test_a_prompt_that_cannot_fit(self) -> None:
        small = model("small", backend="vllm", config={"max_model_len": 100})
        large = model("large", backend="vllm", context_length=4096)
        assert refused(small, chat(text="x" * 800), large) is None
        error = refused(small, chat(text="x" * 8008), large, model("other", backend="vllm", context_length=900))
        assert error is not None
        assert error.details == {"missing": ["context"], "models": ["large"]}
        assert "1001 tokens" in error.sentence
        assert classify(error) is FallbackClass.CONTEXT_WINDOW

    def test_a_prompt_of_tokens_is_counted_exactly(self) -> None:
        small = model("small", backend="vllm", capabilities=["embeddings"], context_length=100)
        assert refused(small, ask(Operation.EMBEDDINGS, input=[1] * 100)) is None
        assert refused(small, ask(Operation.EMBEDDINGS, input=[1] * 101)) is not None
        assert refused(small, ask(Operation.EMBEDDINGS, input=[[1] * 60, [2] * 60])) is None

    @given(st.lists(st.text(max_size=200), max_size=5))
    def test_the_length_is_never_thought_longer_than_one_token_for_a_sign(self, texts: list[str]) -> None:
        parts = [{"type": "text", "text": text} for text in texts]
        asked = Asked(Operation.CHAT, {"messages": [{"role": "user", "content": parts}]}, False)
        assert least_tokens(asked) <= sum(map(len, texts))


VLLM_TOO_LONG = (
    b'{"error":{"message":"This model\'s maximum context length is 1024 tokens. However, your prompt contains at least '
    b'1025 input tokens","type":"BadRequestError","param":"input_tokens","code":400}}'
)
LLAMA_TOO_LONG = (
    b'{"error":{"code":400,"message":"request (3031 tokens) exceeds the available context size (2048 tokens), try '
    b'increasing it","type":"exceed_context_size_error","n_prompt_tokens":3031,"n_ctx":2048}}'
)
AZURE_FILTER = (
    b'{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI\'s content management '
    b'policy.","type":null,"param":"prompt","code":"content_filter","status":400}}'
)


class TestClasses:
    @pytest.mark.parametrize(
        ("status", "body", "expected"),
        [
            (400, VLLM_TOO_LONG, FallbackClass.CONTEXT_WINDOW),
            (400, LLAMA_TOO_LONG, FallbackClass.CONTEXT_WINDOW),
            (500, b'{"error":"the input length exceeds the context length"}', FallbackClass.CONTEXT_WINDOW),
            (400, b'{"error":{"code":"context_length_exceeded","message":"Too long."}}', FallbackClass.CONTEXT_WINDOW),
            (400, AZURE_FILTER, FallbackClass.CONTENT),
            (400, b'{"error":{"message":"\\"auto\\" tool choice requires --enable-auto-tool-choice"}}', None),
            (400, b'{"error":{"message":"System role not supported"}}', None),
            (401, b"{}", FallbackClass.ERROR),
            (404, b'{"error":"model \'phi4\' not found"}', FallbackClass.ERROR),
            (404, b'{"detail":"Not Found"}', None),
            (408, b"", FallbackClass.ERROR),
            (413, b"too large", None),
            (422, b'{"detail":[]}', None),
            (429, b"slow down: context length", FallbackClass.ERROR),
            (500, b"<html>moderation queue</html>", FallbackClass.ERROR),
            (501, b"no embeddings", None),
            (502, b"", FallbackClass.ERROR),
            (503, b'{"error":"loading model"}', FallbackClass.ERROR),
            (504, b"\xff\xfe", FallbackClass.ERROR),
        ],
    )
    def test_of_answers(self, status: int, body: bytes, expected: FallbackClass | None) -> None:
        assert classify(upstream_error(status, body)) is expected

    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            (refusals.incompatible("m", ""), FallbackClass.ERROR),
            (refusals.cooling_down("m", 3), FallbackClass.ERROR),
            (refusals.queue_full(3, 3), FallbackClass.ERROR),
            (refusals.not_loaded("m"), FallbackClass.ERROR),
            (refusals.cancelled("m", "cancelled by the user"), FallbackClass.ERROR),
            (AppError("does_not_fit", "It needs 9 GiB.", status=507), FallbackClass.ERROR),
            (AppError("load_failed", "It failed.", status=424), FallbackClass.ERROR),
            (AppError("closing", "Quarterdeck was closed.", status=503), None),
            (AppError("rate_limited", "Too many requests.", status=429), None),
            (AppError("client_left", "The client went away.", status=499), None),
            (AppError("unknown_model", "There is no model named “m”.", status=404), None),
            (AppError("capability_mismatch", "No.", status=409, details={"missing": ["vision"]}), None),
            (AppError("invalid_request", "The body must be a JSON object."), None),
        ],
    )
    def test_of_our_own_errors(self, error: AppError, expected: FallbackClass | None) -> None:
        assert classify(error) is expected

    @given(st.integers(min_value=400, max_value=599), st.binary(max_size=300))
    def test_a_request_that_is_wrong_is_never_sent_again_without_reason(self, status: int, body: bytes) -> None:
        if classify(upstream_error(status, body)) is FallbackClass.ERROR:
            # A refusal of our own key may be another at another backend.
            assert status >= 500 or status in (401, 403, 404, 408, 424, 425, 429)


class TestHealth:
    def health(self, **values: Any) -> tuple[Health, list[float]]:
        settings = Settings(failure_threshold=3, avoid_seconds=60).model_copy(update=values)
        clock = [1000.0]
        return Health(lambda: settings, clock=lambda: clock[0]), clock

    def test_failures_in_a_row(self) -> None:
        health, clock = self.health()
        for _ in range(2):
            health.failed("m")
            health.failed("m")
            assert not health.is_avoided("m")
            health.answered("m")
        for _ in range(3):
            health.failed("m")
        assert health.is_avoided("m")
        assert not health.is_avoided("other")
        assert health.seconds_left("m") == 60
        clock[0] += 60
        assert not health.is_avoided("m")
        health.failed("m")
        assert health.is_avoided("m")
        health.answered("m")
        assert health.seconds_left("m") == 0

    def test_a_backend_where_nobody_listens_is_avoided_at_once(self) -> None:
        health, _ = self.health()
        health.failed("m", gone=True)
        assert health.is_avoided("m")

    def test_nothing_is_avoided_for_no_time(self) -> None:
        health, _ = self.health(avoid_seconds=0.0)
        health.failed("m", gone=True)
        assert not health.is_avoided("m")
