"""The known issues that come with the program: whole, searchable, and raised where they fit and nowhere else."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from quarterdeck.diagnosis.known_issues import names, situations
from quarterdeck.diagnosis.known_issues.catalogue import KnownIssues
from quarterdeck.diagnosis.known_issues.entries import EntryError, builtin, parse_entries
from quarterdeck.diagnosis.known_issues.page import read_page
from quarterdeck.diagnosis.known_issues.situations import Fact, Situation
from quarterdeck.diagnosis.known_issues.writing import write_page
from quarterdeck.diagnosis.rules import rule_files
from quarterdeck.schemas.backends import BackendView
from quarterdeck.schemas.models import ModelView
from quarterdeck.schemas.requests import RequestView

NOW = datetime(2026, 11, 21, tzinfo=UTC)
OUT_OF_WORKSPACE = "RuntimeError: Out of workspace memory in AlignedAlloactor"


@pytest.fixture
def known(tmp_path: Path) -> KnownIssues:
    return KnownIssues(tmp_path / "known-issues.md")


def ids(known: KnownIssues, **facts: Any) -> list[str]:
    return [match.issue_id for match in known.match(Situation(**facts))]


def test_the_ten_combinations_are_there_with_what_helps(known: KnownIssues) -> None:
    ten = {
        "gemma-2-system-role": ["vllm searxng webui", "cmdh", "chatui"],
        "litellm-prisma": ["litellm webui"],
        "webui-empty-key": ["webui openai-compatible", "webui mistralrs", "webui litellm"],
        "webui-old-audio": ["webui openedai-speech"],
        "exllama-gptq-4-bit": ["exllamav2", "aphrodite", "tabbyapi"],
        "vllm-flashinfer-workspace": ["vllm flashinfer"],
        "tts-xtts-late-download": ["openedai-speech webui"],
        "ollama-cuts-input": ["ollama openai-compatible", "ollama webui"],
        "webui-comfyui-login": ["comfyui webui"],
        "optillm-webui": ["optillm webui", "optillm webui openai-compatible"],
    }
    for id, combinations in ten.items():
        issue = known.get(id)
        assert issue is not None
        assert [" ".join(each.services) for each in issue.affected] == combinations
        assert issue.cause
        assert issue.workarounds
        assert issue.versions
        assert issue.checked is not None


def test_every_entry_says_what_helps_and_nothing_is_the_persons_own(known: KnownIssues) -> None:
    for issue in known.all():
        assert issue.workarounds, issue.id
        assert issue.cause.endswith("."), issue.id
        assert not issue.own


def test_what_rules_name_is_known(known: KnownIssues) -> None:
    named = {rule.known_issue for file in rule_files() for rule in file.rules if rule.known_issue}
    assert named <= {issue.id for issue in known.all()}


def test_all_entries_can_be_written_and_read(known: KnownIssues) -> None:
    page = read_page(write_page(known.all()))
    assert page.problems == []
    assert page.issues == [issue.model_copy(update={"own": True}) for issue in known.all()]


@pytest.mark.parametrize(
    ("id", "services", "line"),
    [
        (
            "gemma-2-system-role",
            ["vllm"],
            '{"message":"System role not supported","type":"BadRequestError","code":400}',
        ),
        ("exllama-gptq-4-bit", [], "RuntimeError: q_weight and gptq_qzeros have incompatible shapes"),
        ("exllama-gptq-4-bit", [], "RuntimeError: qweight and qzeros have incompatible shapes"),
        ("vllm-flashinfer-workspace", [], OUT_OF_WORKSPACE),
        ("vllm-flashinfer-workspace", [], OUT_OF_WORKSPACE.replace("Alloactor", "Allocator")),
        ("vllm-flashinfer-workspace", [], "Buffer overflow when allocating memory for batch_prefill_tmp_v with size 9"),
        ("tts-xtts-late-download", [], "First startup may download 2GB of speech models. Please wait."),
        ("ollama-cuts-input", ["ollama"], 'level=WARN msg="truncating input prompt" limit=4096 prompt=9000 keep=5'),
        ("codex-tools-llamacpp", ["llama-server"], "400: 'type' of tool must be 'function'"),
        ("vllm-rocm-images", ["vllm"], "No module named 'vllm.entrypoints.openai'"),
        ("base-url-v1", [], '"POST /v1/v1/chat/completions HTTP/1.1" 404 Not Found'),
        ("wsl-dxg-permission", [], "Unable to open /dev/dxg read-write: Permission denied"),
        ("vllm-tool-flags", ["vllm"], '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser'),
        ("litellm-alias-list", ["LiteLLM"], "TypeError: list indices must be integers or slices, not str"),
        ("litellm-prisma", ["litellm"], "nodeenv installation failed; You may want to try installing"),
        ("check-websocket", [], "https://chat.example is not an accepted origin. (further occurrences are not logged)"),
        ("check-tls", [], "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"),
        ("webui-empty-key", [], 'openai.api_keys = [""]'),
        ("webui-empty-key", [], '{"openai": {"api_keys": ["sk-a", ""], "enabled": true}}'),
        ("webui-empty-key", [], "- OPENAI_API_KEY="),
        ("webui-empty-key", ["webui"], "httpcore.LocalProtocolError: Illegal header value b'Bearer '"),
    ],
)
def test_a_line_shows_an_entry(known: KnownIssues, id: str, services: list[str], line: str) -> None:
    matches = known.match(Situation(subject="server:x", services=services, lines=["INFO ready", f"  {line}\n", "more"]))
    assert (matches[0].issue_id, matches[0].subject, matches[0].evidence) == (id, "server:x", line)


@pytest.mark.parametrize(
    ("services", "line"),
    [
        ([], "TypeError: list indices must be integers or slices, not str"),
        (["vllm"], "TypeError: list indices must be integers or slices, not str"),
        (["vllm"], "Fetching 30 files:  10%|█         | 3/30"),
        (["litellm"], "INFO:     Application startup complete."),
        (["vllm"], "INFO: Using FlashInfer backend."),
        (["open-webui"], 'INFO: "GET /ollama/api/tags HTTP/1.1" 200 OK'),
        (["host"], "amdgpu: module not loaded"),
        (["comfyui"], "AssertionError: Torch not compiled with CUDA enabled"),
        (["open-webui"], 'openai.api_keys = ["sk-a"]'),
        (["open-webui"], "OPENAI_API_KEY=EMPTY"),
    ],
)
def test_a_line_that_shows_nothing(known: KnownIssues, services: list[str], line: str) -> None:
    assert ids(known, services=services, lines=[line]) == []


@pytest.mark.parametrize(
    ("id", "service", "line"),
    [
        ("litellm-prisma", "litellm", "Installing Prisma CLI"),
        ("litellm-prisma", "litellm", " * Install prebuilt node (22.5.1) ....."),
        ("tts-xtts-late-download", "openedai-speech", "2024-08-01 | INFO | Loading model xtts to cuda"),
        ("webui-slow-first-start", "webui", "Fetching 30 files:  10%|█         | 3/30"),
    ],
)
def test_a_start_that_hangs_shows_in_its_last_lines(known: KnownIssues, id: str, service: str, line: str) -> None:
    assert ids(known, services=[service], lines=["Starting", line, "", "\n"]) == [id]
    later = [line, *(f"INFO: request {number}" for number in range(5))]
    assert ids(known, services=[service], lines=later) == []


@pytest.mark.parametrize(
    ("id", "facts"),
    [
        ("gemma-2-system-role", {"services": ["vllm"], "model": "google/gemma-2-9b-it"}),
        ("gemma-2-system-role", {"model": "attic gemma2:27b Q4_K_M"}),
        ("gemma-2-system-role", {"services": ["tgi"], "model": "gemma", "failure_class": "system_role_unsupported"}),
        ("exllama-gptq-4-bit", {"services": ["tabbyapi"], "model": "Mixtral-GPTQ-3bit"}),
        ("exllama-gptq-4-bit", {"services": ["exllamav2/tabbyapi"], "failure_class": "unsupported_quantization"}),
        ("ollama-cuts-input", {"services": ["ollama"], "failure_class": "context_overflow"}),
        ("optillm-webui", {"services": ["optillm"], "facts": frozenset({Fact.STREAMING})}),
        ("optillm-webui", {"services": ["OptiLLM"], "facts": frozenset({Fact.TWIN_IDS})}),
        ("comfyui-keeps-memory", {"services": ["ComfyUI"], "facts": frozenset({Fact.HOLDS_MEMORY})}),
        (
            "vllm-qwen-vision-memory",
            {"services": ["vllm"], "model": "Qwen/Qwen2.5-VL-7B-Instruct", "failure_class": "cuda_oom"},
        ),
        ("vllm-rocm-images", {"services": ["vllm"], "model": "Qwen3.6-35B-A3B-GGUF"}),
        ("chatui-several-models", {"services": ["HuggingFace ChatUI"], "facts": frozenset({Fact.MANY_MODELS})}),
        ("litellm-restart", {"services": ["litellm"], "facts": frozenset({Fact.CONFIG_CHANGED})}),
        ("stuck-in-testing", {"facts": frozenset({Fact.STUCK_TESTING})}),
        ("all-models-incompatible", {"facts": frozenset({Fact.ALL_INCOMPATIBLE})}),
        ("all-models-incompatible", {"failure_class": "wsl_gpu_lost"}),
        ("proxy-no-models", {"services": ["quarterdeck"], "facts": frozenset({Fact.NO_MODELS})}),
        ("provider-without-models", {"services": ["litellm"], "facts": frozenset({Fact.NO_MODELS})}),
        ("vllm-tool-flags", {"services": ["vllm"], "failure_class": "tool_calling_not_enabled"}),
        ("webui-slow-first-start", {"services": ["open_webui"], "facts": frozenset({Fact.STARTING})}),
        ("check-cors", {"failure_class": "cors_blocked"}),
        ("check-reverse-proxy", {"failure_class": "proxy_buffering_stream_broken"}),
        ("check-failed-requests", {"failure_class": "connection_refused"}),
        ("check-third-party", {"failure_class": "rate_limited"}),
        ("check-openai-api", {"services": ["webui"], "failure_class": "auth_invalid_key"}),
    ],
)
def test_a_combination_shows_an_entry(known: KnownIssues, id: str, facts: dict[str, Any]) -> None:
    assert ids(known, **facts) == [id]


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"services": ["vllm"], "model": "google/gemma-3-27b-it"},
        {"services": ["vllm"], "model": "gemma-2.5-something"},
        {"services": ["vllm"], "model": "Qwen/Qwen2.5-VL-7B-Instruct"},
        {"services": ["vllm"], "model": "Mixtral-GPTQ-3bit"},
        {"services": ["tabbyapi"], "model": "Mixtral-GPTQ-4bit"},
        {"services": ["ollama"], "facts": frozenset({Fact.STREAMING})},
        {"services": ["vllm"], "facts": frozenset({Fact.HOLDS_MEMORY, Fact.TWIN_IDS})},
        {"services": ["vllm"], "failure_class": "cuda_oom", "model": "meta-llama/Llama-3.1-8B"},
        {"services": ["open-webui"]},
    ],
)
def test_a_combination_that_shows_nothing(known: KnownIssues, facts: dict[str, Any]) -> None:
    assert ids(known, **facts) == []


def test_what_is_mended_needs_a_version_that_has_it(known: KnownIssues) -> None:
    empty = {"services": ["Open WebUI"], "facts": frozenset({Fact.EMPTY_KEY})}
    assert ids(known, **empty) == []
    assert ids(known, **empty, versions={"open-webui": "v0.6.18"}) == ["webui-empty-key"]
    assert ids(known, **empty, versions={"webui": "0.6.41"}) == []
    assert ids(known, **empty, versions={"vllm": "0.1"}) == []
    lines = ["Illegal header value b'Bearer '"]
    assert ids(known, services=["webui"], lines=lines) == ["webui-empty-key"]
    assert ids(known, services=["webui"], lines=lines, versions={"webui": "0.9.0"}) == []


def test_the_proven_entry_comes_before_the_named_one(known: KnownIssues) -> None:
    found = ids(known, services=["vllm"], lines=[OUT_OF_WORKSPACE], known_issue="vllm-tool-flags")
    assert found == ["vllm-flashinfer-workspace", "vllm-tool-flags"]


def test_a_line_as_long_as_a_prompt_is_cut(known: KnownIssues) -> None:
    [match] = known.match(Situation(lines=[OUT_OF_WORKSPACE + " x" * 50_000]))
    assert len(match.evidence) == 300
    assert ids(known, lines=["x" * 5000 + OUT_OF_WORKSPACE]) == []


def test_models_servers_and_requests_are_asked_about(known: KnownIssues) -> None:
    gemma = ModelView(
        name="writer",
        backend="vllm",
        served_name="writer",
        layer="curated",
        hf_path="google/gemma-2-9b-it",
        created_at=NOW,
    )
    [match] = known.match(situations.of_model(gemma))
    assert (match.issue_id, match.subject) == ("gemma-2-system-role", "model:writer")
    server = BackendView(name="optillm", title="OptiLLM", kind="openai-compatible", version="0.3")
    [match] = known.match(situations.of_server(server, facts=frozenset({Fact.TWIN_IDS})))
    assert (match.issue_id, match.subject) == ("optillm-webui", "server:optillm")
    request = RequestView(
        id="1",
        at=NOW,
        path="/v1/chat/completions",
        model="writer",
        backend="openai-compatible",
        status=200,
        stream=True,
        total_ms=1,
    )
    [match] = known.match(situations.of_request(request, None, server="OptiLLM"))
    assert (match.issue_id, match.subject) == ("optillm-webui", "model:writer")


def test_search_finds_words_anywhere_and_services_by_any_name(known: KnownIssues) -> None:
    def found(query: str) -> list[str]:
        return [issue.id for issue in known.search(query)]

    assert found("") == [entry.issue.id for entry in builtin()]
    assert found("PRISMA node") == ["litellm-prisma"]
    assert "webui-empty-key" in found("open-webui")
    assert found("flashinfer")[0] == "vllm-flashinfer-workspace"
    named_first = found("optillm")
    assert named_first[0] == "optillm-webui"
    assert found("a zeppelin") == []


@pytest.mark.parametrize(
    ("limit", "version", "affected"),
    [
        ("<0.6.41", "0.6.40", True),
        ("<0.6.41", "0.6.41", False),
        ("<0.6.41", "0.6.9", True),
        (">=0.3 <0.5.4", "v0.5.3.post1", True),
        (">=0.3 <0.5.4", "0.2.9", False),
        ("<=1.2", "1.2.0", True),
        ("==2", "2.0", True),
        (">9000", "b10488", True),
        ("<1", "newest", None),
    ],
)
def test_versions(limit: str, version: str, affected: bool | None) -> None:
    assert names.is_affected({"vllm": limit}, {"vLLM": version}) is affected


def test_a_service_has_one_name() -> None:
    for written in ("webui", "Open WebUI", "open_webui", "`open-webui`", "OpenWebUI"):
        assert names.service(written) == "open-webui"
    assert names.services(["exllamav2/tabbyapi", "host driver / wsl"]) == {"exllamav2", "tabbyapi", "host", "wsl"}


GOOD = "- {id: a, title: A, subject: x, cause: C., workarounds: [Do it.], "


@pytest.mark.parametrize(
    "text",
    [
        "- {id: a}",
        "id: a",
        GOOD + "colour: red}",
        GOOD + "signatures: ['(unclosed']}",
        GOOD + "signatures: ['.*']}",
        GOOD + "last: ['(?:a+b+)+cdef']}",
        GOOD + "classes: [gremlins]}",
        GOOD + "limits: {vllm: soon}}",
        GOOD + "when: [{}]}",
        GOOD + "when: [{facts: [sunshine]}]}",
        "- [",
    ],
)
def test_violations_of_the_schema_are_found(text: str) -> None:
    with pytest.raises(EntryError, match=r"bad\.yaml"):
        parse_entries("bad.yaml", text)
