"""A setup that grew by itself: what is wrong is told with its weight, and two clicks make it work; all is real."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from real_engines import LITELLM, OLLAMA, VLLM, VLLM_MODEL, needs
from serve_process import command
from situation import GATEWAY, KEY, MODEL, TOOL, Situation, situation

WHAT = "finding and mending a setup of several engines"
SMALL, UNIFIED = "file:litellm_config.yaml", "file:config/litellm-unified.yaml"

pytestmark = [pytest.mark.engine, pytest.mark.slow, needs(LITELLM, WHAT)]


@pytest.fixture
def found(tmp_path: Path) -> Iterator[Situation]:
    with situation(tmp_path) as made:
        yield made


@pytest.mark.timeout(400)
@needs(VLLM, WHAT)
@needs(VLLM_MODEL, WHAT)
@needs(OLLAMA, WHAT)
def test_two_clicks_make_everything_work(found: Situation, starter_file: Path) -> None:
    found.start_engines(starter_file)
    assert found.told() == {
        ("critical", f"model:{MODEL}"), ("high", f"server:{GATEWAY}"), ("high", UNIFIED), ("low", UNIFIED),
    }  # fmt: skip
    asked = found.ask().raise_for_status()
    assert asked.headers["x-quarterdeck-dropped"] == "tools"
    _check_report(found)

    tools = found.fix("drift:tools", "tool-flags").raise_for_status().json()
    assert tools["worked"] is True, tools
    found.fix("drift:undeployed", "layered").raise_for_status()

    assert {severity for severity, _ in found.told()} == {"low"}, found.problems()
    answer = found.ask().raise_for_status()
    assert "x-quarterdeck-dropped" not in answer.headers
    assert answer.json()["usage"]["prompt_tokens"] > asked.json()["usage"]["prompt_tokens"] + 50
    _check_gateway(found)
    items = {each["name"]: each for each in found.serve.http.post("/api/report/checklist").json()}
    passed = {name for name, item in items.items() if item["passed"]}
    assert passed == {"gateway", "models", "routes", "tools", "logs"}, items["logs"]
    assert found.serve.http.get("/api/report").json()["assessment"] == "Everything that is known runs as declared."

    for _ in range(3):
        found.fix("drift:uncommitted", "commit").raise_for_status()
    assert found.git("status", "--short") == ""


def _check_report(found: Situation) -> None:
    """Every part of the situation is told."""
    page = command(found.serve.data_dir, "status", "--markdown").out
    for text in (
        "LiteLLM is down; vLLM with qwen2.5-coder-7b cannot call tools",
        "The unit litellm.service ended 2 h ",
        "| running with a defect |",
        "Models (4): llama3.1:latest, qwen2.5-coder:7b, qwen-coder-vllm, dolphin-uncensored-vllm",
        "1 model on vLLM; fails fast",
        "4 models on Ollama, vLLM",
        "State: not deployed, modified, uncommitted",
        "new: dolphin-uncensored-vllm; changed: router\\_settings",
        "gateway with litellm\\_config.yaml: down, so that nothing goes through it",
        "1. CRITICAL:", "2. HIGH:", "3. HIGH:", "4. LOW:",
        "1. Turn tool calling on (parser “hermes”)", "2. Start LiteLLM",
        "A base with an overlay for each application",
        "[ ] Tool calls work (not checked)",
    ):  # fmt: skip
        assert text in page, (text, page)
    drift = found.serve.http.get("/api/drift").json()
    assert [(each["severity"], each["what"]) for each in drift["differences"]] == [
        ("critical", "tool calling"), ("high", "deployed models"),
    ]  # fmt: skip


def _check_gateway(found: Situation) -> None:
    """What clients of the gateway ask is carried to the model, with its tools."""
    body = {
        "model": "qwen-coder-7b", "messages": [{"role": "user", "content": "The weather?"}], "tools": [TOOL],
        "max_tokens": 4,
    }  # fmt: skip
    answer = httpx.post(
        f"{found.gateway_url}/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {KEY}"}, timeout=100,
        trust_env=False,
    ).raise_for_status()  # fmt: skip
    assert answer.json()["usage"]["prompt_tokens"] > 100


@pytest.mark.timeout(200)
def test_what_the_gateway_does_not_take_is_put_back(found: Situation) -> None:
    """Merge, keep apart and go back, with the real gateway starting each time; git's ways leave no trace."""
    unified = found.unified.read_text()
    before = found.small.read_text()
    found.unified.write_text(f"{unified}litellm_settings:\n  callbacks: nowhere.no_such_handler\n")
    refused = found.fix("drift:undeployed", "merge")
    assert refused.json()["code"] == "rolled_back", refused.text
    assert found.small.read_text() == before
    assert ("high", f"server:{GATEWAY}") not in found.told()
    found.unified.write_text(unified)

    merged = found.fix("drift:undeployed", "merge").raise_for_status().json()
    assert "dolphin-uncensored-vllm" in found.small.read_text()
    found.undo(merged["undo_id"])
    assert found.small.read_text() == before

    apart = found.fix("drift:undeployed", "separate").raise_for_status().json()
    assert found.told() == {("low", SMALL), ("low", UNIFIED)}
    found.undo(apart["undo_id"])
    assert found.told() == {("high", UNIFIED), ("low", UNIFIED)}

    for way in ("stash", "revert"):
        done = found.fix("drift:uncommitted", way).raise_for_status().json()
        assert found.git("status", "--short") == ""
        found.undo(done["undo_id"])
        assert found.unified.read_text() == unified
