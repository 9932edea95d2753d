"""What engines in Python say of their failures: one short log per cause, and logs recorded from a real vLLM."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from quarterdeck.diagnosis.matcher import diagnose, diagnose_log
from quarterdeck.diagnosis.rules import Rule, rule_files

HERE = Path(__file__).parent
ENGINES = ("vllm", "sglang", "tgi", "exllama", "transformers")
TEXTS = tuple(log.read_text() for engine in ENGINES for log in sorted((HERE / "logs" / engine).glob("*.log")))
FAMILIES = ("vllm", "vllm_options", "vllm_requests", "sglang", "tgi", "exllama", "transformers", "python")

# The faults that were made on vLLM 0.32, and what each is.
RECORDED = (
    ("port-in-use", "port_in_use"),
    ("bad-flag", "bad_load_config"),
    ("bad-tool-parser", "tool_parser_unsupported"),
    ("tool-choice-no-parser", "bad_load_config"),
    ("missing-hub-id-offline", "download_failed"),
    ("unknown-arch", "unsupported_architecture"),
    ("maxlen-above-model", "bad_load_config"),
    ("maxlen-above-kv", "kv_cache_too_small"),
    ("kv-space-above-memory", "gpu_memory_utilization_too_high"),
    ("st-garbage-header", "corrupt_model_file"),
    ("st-empty", "corrupt_model_file"),
    ("no-weights", "corrupt_model_file"),
    ("no-config", "model_not_found"),
    ("no-tokenizer", "corrupt_model_file"),
    ("bad-config-json", "corrupt_model_file"),
    ("wrong-hidden", "corrupt_model_file"),
    ("bad-chat-template-path", "bad_load_config"),
)


def cases() -> list[Any]:
    found = []
    for engine in ENGINES:
        folder = HERE / "logs" / engine
        for case in yaml.safe_load((folder / "labels.yaml").read_text()):
            found.append(pytest.param(folder / case["log"], case, id=f"{engine}-{case['log'].removesuffix('.log')}"))
    return found


def ours() -> list[Rule]:
    return [rule for file in rule_files() if file.family in FAMILIES for rule in file.rules]


@pytest.mark.parametrize(("log", "case"), cases())
def test_each_log_is_named_right(log: Path, case: dict[str, Any]) -> None:
    with log.open() as lines:
        found = diagnose_log(lines, case["service"])
    if case["class"] == "none":
        assert found.kind == "healthy", found.title
        return
    assert (found.kind, found.failure_class) == ("failure", case["class"]), found.title
    assert found.remedies
    assert found.evidence and all(piece.line > 0 for piece in found.evidence)
    if "patch" in case:
        assert found.remedies[0].patch == case["patch"]


@pytest.mark.parametrize(("name", "failure_class"), RECORDED)
def test_logs_of_a_real_vllm(name: str, failure_class: str) -> None:
    with (HERE / "logs" / "vllm" / "recorded" / f"{name}.log").open() as lines:
        found = diagnose_log(lines, "vllm")
    assert (found.kind, found.failure_class) == ("failure", failure_class), found.title
    assert found.remedies


def test_a_real_vllm_that_ran_well() -> None:
    with (HERE / "logs" / "vllm" / "recorded" / "ok.log").open() as lines:
        assert diagnose_log(lines, "vllm").kind == "healthy"


@pytest.mark.parametrize(
    ("log", "title"),
    [
        ("vllm/context-above-cache.log", "The context does not fit the KV cache"),
        ("vllm/memory-taken.log", "Less memory is free than vLLM claims"),
        ("sglang/proxy.log", "A proxy stands between the engine and itself"),
    ],
)
def test_a_failed_load_is_told_by_the_same_rules(log: str, title: str) -> None:
    cause = diagnose((HERE / "logs" / log).read_text().splitlines(), exit_code=1)
    assert cause.title == title
    assert cause.remedies


@pytest.mark.parametrize("rule", ours(), ids=lambda rule: rule.id)
def test_every_rule_offers_something(rule: Rule) -> None:
    assert rule.remedies


@pytest.mark.parametrize("rule", ours(), ids=lambda rule: rule.id)
def test_every_rule_has_a_log_with_its_words(rule: Rule) -> None:
    assert any(
        has(rule.lines, text, any) and has(rule.needs, text, all) and not has(rule.unless, text, any) for text in TEXTS
    )


def has(patterns: Sequence[str], text: str, which: Callable[[Iterable[bool]], bool]) -> bool:
    return which(re.search(pattern, text, re.IGNORECASE | re.MULTILINE) is not None for pattern in patterns)
