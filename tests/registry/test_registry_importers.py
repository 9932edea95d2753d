"""Reading registries and gateways of other programs, and what is said of texts that are none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from import_reading import only, read, refused

from quarterdeck.errors import AppError, ConfigError
from quarterdeck.registry.importers import FORMATS

VLLM_ENTRY: dict[str, Any] = {
    "name": "coder-7b_(AWQ)",
    "display_name": "Coder 7B (AWQ)",
    "backend": "vllm",
    "backend_config": {
        "port": 24001,
        "model_path": "/models/coder-7b-awq",
        "extra_args": ["--max-model-len", "32k", "--gpu-memory-utilization=0.85", "--enforce-eager", "--odd", "3"],
        "host": "localhost",
        "base_url": None,
    },
    "capabilities": {"text": True, "vision": False, "function_calling": True, "tool_use": True, "cot": True},
    "generation_defaults": {"temperature": 0.7, "context_window": None},
    "artifacts": {"aggregate_sha256": "", "files": []},
    "chat_template": {"source": "external", "path": "/templates/coder.jinja", "sha256": "0"},
    "version_lock": {"locked": True, "expected_aggregate_sha256": "abc", "last_verified": None},
    "performance": {"rolling_samples": 3, "ttft_ms_avg": 80.0, "last_sample": None},
    "probes": {"vision": None},
    "served_model_id": "coder",
    "model_aliases": ["coder-latest"],
    "roles": ["coding", "coding"],
    "role_priority": {"coding": 1},
    "license": None,
    "deprecated": False,
    "family": "coder",
    "quantization": "awq",
    "download_format": "safetensors",
    "download_size_bytes": 5_000_000_000,
    "metadata": {"registry_layer": "curated"},
}
OLLAMA_ENTRY: dict[str, Any] = {
    "name": "llama3.1-local_(Q5_K_M)",
    "backend": "ollama",
    "backend_config": {
        "port": 11434,
        "host": "some-ollama",
        "model_path": "ollama:/llama3.1-local:latest",
        "extra_args": ["--num-ctx", "4096", "--num-gpu", "35"],
    },
    "served_model_id": "llama3.1-local:latest",
    "deprecated": True,
}


def test_an_entry_for_vllm_with_all_its_fields() -> None:
    plan = read(json.dumps([VLLM_ENTRY]))
    entry = only(plan)
    assert (plan.format, entry.name, entry.problem) == ("model_registry", "coder-7b_(AWQ)", None)
    assert entry.values == {
        "backend": "vllm",
        "path": "/models/coder-7b-awq",
        "served_name": "coder",
        "load_config": {
            "chat_template": "/templates/coder.jinja",
            "max_model_len": 32_000,
            "gpu_memory_utilization": 0.85,
            "enforce_eager": True,
            "extra_args": ["--odd", "3"],
        },
        "aliases": ["coder-latest", "Coder 7B (AWQ)"],
        "roles": ["coding"],
        "capabilities": ["chat", "tools", "thinking"],
    }
    assert entry.facts == {
        "family": "coder", "quantization": "AWQ", "size_bytes": 5_000_000_000, "format": "safetensors",
    }  # fmt: skip
    assert entry.locked
    dropped = " ".join(entry.dropped)
    for what in ("sampling", "performance", "order within roles", "expected hash"):
        assert what in dropped
    assert "probes" not in dropped


def test_an_entry_for_ollama_in_a_container() -> None:
    plan = read(json.dumps([OLLAMA_ENTRY]))
    entry = only(plan)
    assert entry.values == {
        "backend": "ollama",
        "served_name": "llama3.1-local:latest",
        "load_config": {"num_ctx": 4096, "num_gpu": 35},
        "deprecated": True,
    }
    assert "some-ollama" in plan.warnings[0]


@pytest.mark.parametrize(
    ("change", "values"),
    [
        (
            {"backend": "gguf", "backend_config": {"model_path": "/m/a.gguf"}},
            {"backend": "embedded", "path": "/m/a.gguf"},
        ),
        (
            {"backend": "gguf", "backend_config": {}, "download_path": "/m/a.gguf"},
            {"backend": "embedded", "path": "/m/a.gguf"},
        ),
        (
            {"backend": "lmdeploy", "backend_config": {"port": 24001}, "served_model_id": "x"},
            {"backend": "openai-compatible", "url": "http://127.0.0.1:24001", "served_name": "x"},
        ),
        (
            {"backend": "triton", "backend_config": {"host": "10.0.0.2", "port": "8001"}, "served_model_id": "None"},
            {"backend": "openai-compatible", "url": "http://10.0.0.2:8001", "served_name": "a"},
        ),
        (
            {"backend": "vllm", "backend_config": {"base_url": "http://gpu.lan:8000/v1"}},
            {"backend": "vllm", "url": "http://gpu.lan:8000/v1", "served_name": "a"},
        ),
    ],
)
def test_where_models_of_other_backends_are(change: dict[str, Any], values: dict[str, Any]) -> None:
    entry = only(read(json.dumps([{"name": "a", **change}])))
    assert (entry.values, entry.problem) == (values, None)


@pytest.mark.parametrize(
    "change",
    [
        {"backend": "warp"},
        {"backend": None},
        {"backend": "vllm"},
        {"backend": "gguf", "backend_config": {"model_path": "models/a.gguf"}},
        {"backend": "gguf", "backend_config": "?"},
    ],
)
def test_entries_that_cannot_be_taken_say_why(change: dict[str, Any]) -> None:
    assert only(read(json.dumps([{"name": "a", "backend_config": {}, **change}]))).problem


def test_curated_stands_over_discovered_when_both_are_in_one_file() -> None:
    discovered = {**VLLM_ENTRY, "backend_config": {**VLLM_ENTRY["backend_config"], "extra_args": ["--seed", "1"]}}
    curated = {
        "name": VLLM_ENTRY["name"], "backend": "vllm", "family": None,
        "backend_config": {"extra_args": ["--seed", "2"]},
    }  # fmt: skip
    entry = only(read(json.dumps({"discovered": [discovered], "curated": [curated]})))
    assert entry.values["load_config"]["seed"] == 2
    assert (entry.values["path"], entry.facts["family"]) == ("/models/coder-7b-awq", "coder")


def test_entries_under_a_key_and_entries_without_a_name() -> None:
    plan = read(json.dumps({"models": {"a": {"backend": "gguf", "backend_config": {"model_path": "/a.gguf"}}}}))
    assert only(plan).name == "a"
    plan = read(json.dumps([{"backend": "gguf"}, {"name": "b", "backend": "gguf"}]))
    assert [entry.name for entry in plan.models] == ["b"]
    assert "Entry 1" in plan.warnings[0]


@pytest.mark.parametrize(
    ("params", "values"),
    [
        ("model: ollama/llama3.1:8b", {"backend": "ollama", "served_name": "llama3.1:8b"}),
        (
            "model: ollama_chat/qwen\n      api_base: http://gpu:11434",
            {"backend": "ollama", "served_name": "qwen", "url": "http://gpu:11434"},
        ),
        (
            "model: openai/local-model\n      api_base: http://127.0.0.1:8080/v1",
            {"backend": "openai-compatible", "served_name": "local-model", "url": "http://127.0.0.1:8080/v1"},
        ),
        (
            "model: openai/gpt-4o",
            {"backend": "openai-compatible", "served_name": "gpt-4o", "url": "https://api.openai.com/v1"},
        ),
        (
            "model: hosted_vllm/Qwen/Qwen2.5-Coder\n      api_base: http://127.0.0.1:8001/v1",
            {"backend": "vllm", "served_name": "Qwen/Qwen2.5-Coder", "url": "http://127.0.0.1:8001/v1"},
        ),
        (
            "model: Qwen/Coder\n      custom_llm_provider: openai\n      api_base: http://127.0.0.1:8001/v1",
            {"backend": "openai-compatible", "served_name": "Qwen/Coder", "url": "http://127.0.0.1:8001/v1"},
        ),
        (
            "model: gemini/gemini-2.5-pro",
            {
                "backend": "openai-compatible", "served_name": "gemini-2.5-pro",
                "url": "https://generativelanguage.googleapis.com/v1beta/openai",
            },
        ),
        (
            "model: azure/gpt\n      api_base: https://me.openai.azure.com",
            {"backend": "openai-compatible", "served_name": "gpt", "url": "https://me.openai.azure.com"},
        ),
        ("model: bedrock/claude", {"backend": "litellm", "served_name": "mine"}),
    ],
)  # fmt: skip
def test_where_litellm_sends_requests(params: str, values: dict[str, Any]) -> None:
    plan = read(f"model_list:\n  - model_name: mine\n    litellm_params:\n      {params}\n")
    assert (plan.format, only(plan).values, only(plan).problem) == ("litellm", values, None)


def test_a_whole_litellm_file() -> None:
    plan = read(
        """
model_list:
  - model_name: coder
    litellm_params: {model: openai/coder, api_base: "http://127.0.0.1:8001/v1", api_key: not-needed, rpm: 10}
    model_info: {mode: chat, supports_function_calling: true, max_input_tokens: 4096}
  - model_name: coder
    litellm_params: {model: openai/coder, api_base: "http://127.0.0.1:8002/v1"}
  - model_name: "openai/*"
    litellm_params: {model: "openai/*"}
  - litellm_params: {}
  - model_name: hidden
    litellm_params: {model: openai/x, api_base: os.environ/WHERE}
  - model_name: azure
    litellm_params: {model: azure/gpt}
router_settings:
  model_group_alias:
    gpt-4: coder
    gpt-3.5: {model: coder, hidden: true}
    listed: [coder, other]
    lost: nobody
litellm_settings: {drop_params: true}
general_settings: {master_key: sk-1234}
"""
    )
    by_name = {entry.name: entry for entry in plan.models if entry.problem is None}
    assert set(by_name) == {"coder"}
    entry = by_name["coder"]
    assert entry.values["url"] == "http://127.0.0.1:8001/v1"
    assert entry.values["capabilities"] == ["chat", "tools"]
    assert entry.values["aliases"] == ["gpt-4", "gpt-3.5", "listed"]
    assert entry.facts == {"context_length": 4096}
    assert entry.dropped == ["its API key (add it to the server)", "the limit of requests"]
    problems = [entry.problem for entry in plan.models if entry.problem]
    assert len(problems) == 4
    assert "several servers" in problems[0]
    said = " ".join(plan.warnings)
    for what in ("“listed”", "“lost”", "Entry 4", "settings of the router", "general settings"):
        assert what in said
    assert "sk-1234" not in said


def test_aliases_that_are_no_mapping_are_told() -> None:
    plan = read("model_list: []\nrouter_settings:\n  model_group_alias: [a, b]\n")
    assert "not a mapping" in plan.warnings[0]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[{"name": "a",}]', (1, 15)),
        ('[\n  {"name": "a"\n', (3, 1)),
        ("model_list:\n  - a: 1\n - b\n", (3, 2)),
        ("models:\n  a: {cmd: x}\n  a: {cmd: y}\n", (3, 3)),
        ("model_list: [\n", (2, 1)),
        ("a: \x01\n", (1, 1)),
        ("model_list: !!python/object:os.system x\n", (1, 13)),
    ],
)
def test_mistakes_have_line_and_column(text: str, place: tuple[int, int]) -> None:
    error = refused(text)
    assert isinstance(error, ConfigError)
    assert error.code == "bad_import"
    assert (error.line, error.column) == place


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "empty_import"),
        ("  \n", "empty_import"),
        ("hello world", "unknown_format"),
        ("{}", "unknown_format"),
        ("[]", "unknown_format"),
        ("a: 1\nb: 2\n", "unknown_format"),
        ("models:\n  a: 1\n", "unknown_format"),
        ("[1, NaN]", "bad_import"),
        ("[" * 10_000, "bad_import"),
        ("a: " + "[" * 5_000, "bad_import"),
    ],
)
def test_texts_that_are_nothing(text: str, code: str) -> None:
    assert refused(text).code == code


@pytest.mark.parametrize(
    ("text", "format"),
    [("models: [a]", "llama_swap"), ("model_list: 5", "litellm"), ("{}", "model_registry"), ("x", "url_lists")],
)
def test_texts_that_are_not_what_was_said(text: str, format: str) -> None:
    assert refused(text, format=format).code == "bad_import"


def test_a_format_that_nobody_knows() -> None:
    error = refused("x", format="toml")
    assert all(word in error.hint for word in FORMATS)


def test_a_tower_of_references_is_no_tower_of_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert refused("\n".join(lines)).code == "unknown_format"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            [
                "name", "backend", "backend_config", "model_list", "models", "cmd", "litellm_params", "model",
                "api_base",
                "model_name", "router_settings", "model_group_alias", "groups", "macros", "aliases", "ttl", "members",
                "extra_args", "model_path", "capabilities", "version_lock", "curated", "peers", "proxy", "host", "port",
            ]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=25,
)  # fmt: skip


@given(JSON, st.sampled_from([None, "model_registry", "litellm", "llama_swap"]))
def test_any_document_gives_a_plan_or_an_error(document: Any, format: str | None) -> None:
    try:
        plan = read(json.dumps(document), format=format)
    except AppError as error:
        assert error.sentence
    else:
        for entry in plan.models:
            assert entry.fingerprint
            json.dumps(entry.values)


@given(st.text(max_size=200), st.sampled_from([None, *FORMATS]))
def test_any_text_gives_a_plan_or_an_error(text: str, format: str | None) -> None:
    try:
        read(text, format=format)
    except AppError as error:
        assert error.sentence


@given(
    st.lists(
        st.sampled_from(["FROM a", "PARAMETER num_ctx 5", 'SYSTEM """', '"""', "x", "TEMPLATE", "#", '"']), max_size=8
    )
)
def test_any_lines_give_a_modelfile_or_an_error(lines: list[str]) -> None:
    try:
        plan = read("\n".join(lines), "Modelfile", "modelfile")
    except AppError as error:
        assert error.code in ("bad_import", "empty_import")
    else:
        assert only(plan).values["served_name"] == "a"
