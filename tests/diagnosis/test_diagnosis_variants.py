"""The same failure is told from other forms of its log: other prefixes, cut, mixed with noise; and without the rules
that were written for its engine.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest
from log_variants import VARIANTS, LabelledLog, labelled_logs

from quarterdeck.diagnosis.matcher import diagnose_log
from quarterdeck.diagnosis.matching.index import Index
from quarterdeck.diagnosis.rules import rule_files
from quarterdeck.schemas.diagnosis import Diagnosis

LOGS = labelled_logs()
SHARES = 4
ENGINES = ["llamacpp", "ollama", "vllm", "sglang", "tgi", "exllama", "transformers"]


def told(log: LabelledLog, lines: list[str], index: Index | None = None) -> Diagnosis:
    return diagnose_log(lines, log.service, index=index)


def named(found: Diagnosis) -> str:
    return (found.failure_class or "") if found.kind == "failure" else "none"


@cache
def plainly(number: int) -> Diagnosis:
    return told(LOGS[number], list(LOGS[number].lines))


@pytest.mark.parametrize("variant", VARIANTS)
def test_another_form_of_a_log_tells_the_same(variant: str) -> None:
    # Each form is tried on another part of the logs, so that all parts meet some.
    part = range(list(VARIANTS).index(variant) % SHARES, len(LOGS), SHARES)
    changed = [
        f"{LOGS[number].name}: {named(found)}"
        for number in part
        if named(found := told(LOGS[number], VARIANTS[variant](list(LOGS[number].lines)))) != named(plainly(number))
    ]
    assert len(changed) <= len(part) * 0.02, changed


@pytest.mark.parametrize("cut", ["head", "tail"])
def test_a_log_cut_beside_its_evidence_tells_the_same(cut: str) -> None:
    changed = []
    for number in range(cut == "tail", len(LOGS), SHARES):
        found, lines = plainly(number), list(LOGS[number].lines)
        if found.kind == "healthy":
            continue
        at = [evidence.line for evidence in found.evidence]
        again = told(LOGS[number], lines[min(at) - 1 :] if cut == "head" else lines[: max(at)])
        if named(again) != named(found):
            changed.append(f"{LOGS[number].name}: {named(again)}")
    assert changed == []


@pytest.mark.parametrize("engine", ENGINES)
def test_without_the_rules_of_its_engine_a_failure_is_rather_unknown_than_misnamed(engine: str) -> None:
    index = Index([file for file in rule_files() if not file.family.startswith(engine)])
    logs = [log for log in LOGS if log.name.startswith(f"{engine}/") and log.failure_class != "none"]
    verdicts = Counter[str]()
    for log in logs:
        found = named(told(log, list(log.lines), index))
        verdicts["right" if found == log.failure_class else "unknown" if found in ("none", "other") else "wrong"] += 1
    assert verdicts["right"] >= len(logs) * 0.25, verdicts
    assert verdicts["wrong"] <= max(2, len(logs) * 0.45), verdicts
