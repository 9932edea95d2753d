"""The same failure is told from other forms of its log: other prefixes, cut, mixed with noise; and without the rules
that were written for its engine.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import pytest
from log_variants import VARIANTS, LabelledLog, labelled_logs

from quarterdeck.diagnosis.matcher import diagnose_log
from quarterdeck.diagnosis.matching.index import Index
from quarterdeck.diagnosis.rules import RuleFile, rule_files
from quarterdeck.schemas.diagnosis import Diagnosis

LOGS = labelled_logs()
NAMED = {log.name: log for log in LOGS}
ENGINES = ["llamacpp", "ollama", "vllm", "sglang", "tgi", "exllama", "transformers"]
SURE = 0.7

WELL_AT_FIRST = {"recorded/litellm-ok", "logs/ollama/healthy-second-gpu"}
"""Logs whose second half alone shows what was refused or is missing, and not that something else was answered."""

# Where memory ran out is a matter of the engine's own words; that it did is told without them. So it is with a GPU
# that the engine has no code for: what follows from it has words of its own.
NEIGHBOURS = [
    {"cuda_oom", "kv_cache_too_small", "create_context_failed", "gpu_memory_utilization_too_high", "host_oom_killed"},
    {"no_kernel_image", "illegal_memory_access"},
]


def told(log: LabelledLog, lines: list[str], index: Index | None = None) -> Diagnosis:
    return diagnose_log(lines, log.service, index=index)


def named(found: Diagnosis) -> str:
    return (found.failure_class or "") if found.kind == "failure" else "none"


@cache
def plainly(name: str) -> Diagnosis:
    return told(NAMED[name], list(NAMED[name].lines))


@pytest.mark.parametrize("log", LOGS, ids=lambda log: log.name)
def test_each_log_is_named(log: LabelledLog) -> None:
    assert named(plainly(log.name)) == log.failure_class


@pytest.mark.parametrize("variant", VARIANTS)
def test_another_form_of_a_log_tells_the_same(variant: str) -> None:
    changed = [
        f"{log.name}: {named(found)}"
        for log in LOGS
        if named(found := told(log, VARIANTS[variant](list(log.lines)))) != named(plainly(log.name))
    ]
    assert len(changed) <= len(LOGS) * 0.01, changed


@pytest.mark.parametrize("cut", ["head", "tail"])
def test_a_log_cut_beside_its_evidence_tells_the_same(cut: str) -> None:
    changed = []
    for log in LOGS:
        found, lines = plainly(log.name), list(log.lines)
        if found.kind == "healthy":
            continue
        at = [evidence.line for evidence in found.evidence]
        again = told(log, lines[min(at) - 1 :] if cut == "head" else lines[: max(at)])
        if named(again) != named(found):
            changed.append(f"{log.name}: {named(again)}")
    assert changed == []


HEALTHY = [log for log in LOGS if log.failure_class == "none" and log.name not in WELL_AT_FIRST]


@pytest.mark.parametrize("log", HEALTHY, ids=lambda log: log.name)
def test_a_healthy_log_without_its_beginning_is_healthy(log: LabelledLog) -> None:
    assert told(log, list(log.lines[len(log.lines) // 2 :])).kind == "healthy"


def without(engine: str) -> Iterable[RuleFile]:
    """All rules but those of one engine. How it says that it is ready stays known: that is no rule."""
    for file in rule_files():
        yield file.model_copy(update={"rules": ()}) if file.family.startswith(engine) else file


@pytest.mark.parametrize("engine", ENGINES)
def test_without_the_rules_of_its_engine_a_failure_is_rather_unknown_than_misnamed(engine: str) -> None:
    index = Index(list(without(engine)))
    logs = [log for log in LOGS if log.name.startswith((f"logs/{engine}/", f"recorded/{engine}-"))]
    right, misnamed = 0, []
    for log in logs:
        found = told(log, list(log.lines), index)
        name = named(found)
        right += name == log.failure_class
        near = any({name, log.failure_class} <= group for group in NEIGHBOURS)
        if name not in (log.failure_class, "none", "other") and found.confidence >= SURE and not near:
            misnamed.append(f"{log.name}: {name} ({found.confidence})")
    assert misnamed == []
    assert right >= len(logs) * 0.25
