"""What llama.cpp, what is built on it, and Ollama say of their failures: at least one short log per rule."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.backends import llama_server_options, ollama_options
from quarterdeck.diagnosis.matcher import diagnose, diagnose_log
from quarterdeck.diagnosis.matching.index import Index
from quarterdeck.diagnosis.rules import Rule, RuleFile, rule_files
from quarterdeck.schemas.diagnosis import RemedyKind

LOGS = Path(__file__).parent / "logs"
ENGINES = ("llamacpp", "ollama")
OPTIONS = {
    "llamacpp": {option.name for option in llama_server_options.OPTIONS},
    "ollama": {option.name for option in ollama_options.OPTIONS},
}


def cases() -> list[Any]:
    found = []
    for engine in ENGINES:
        for case in yaml.safe_load((LOGS / engine / "labels.yaml").read_text(encoding="utf-8")):
            found.append(pytest.param(engine, case, id=f"{engine}-{case['log']}"))
    return found


CASES = cases()
FAILURES = [case for case in CASES if case.values[1]["class"] != "none"]


def lines(engine: str, case: dict[str, Any]) -> list[str]:
    return (LOGS / engine / f"{case['log']}.log").read_text(encoding="utf-8").splitlines()


@cache
def files() -> tuple[RuleFile, ...]:
    return tuple(file for file in rule_files() if file.family.startswith(ENGINES))


@cache
def rules() -> dict[str, Rule]:
    return {rule.id: rule for file in files() for rule in file.rules}


@cache
def own_index() -> Index:
    """Only the rules of these engines: those of the machine may know more of the same cause."""
    return Index(files())


@pytest.mark.parametrize(("engine", "case"), CASES)
def test_a_log_is_named(engine: str, case: dict[str, Any]) -> None:
    found = diagnose_log(lines(engine, case), case["service"])
    if case["class"] == "none":
        assert found.kind == "healthy", found.title
        return
    assert (found.kind, found.failure_class) == ("failure", case["class"]), found.title
    assert found.remedies
    assert found.evidence


@pytest.mark.parametrize(("engine", "case"), FAILURES)
def test_the_rule_that_was_meant_names_it(engine: str, case: dict[str, Any]) -> None:
    rule = rules()[case["log"].split("--", maxsplit=1)[0]]
    log = lines(engine, case)
    found = diagnose_log(log, case["service"], index=own_index())
    assert (found.failure_class, found.title) == (rule.failure_class, rule.title)
    assert found.evidence[0].text.rpartition("… ")[2].strip() in log[found.evidence[0].line - 1]
    if "patch" in case:
        assert found.remedies[0].patch == case["patch"]


@given(case=st.sampled_from(FAILURES), cut=st.integers(0, 4))
def test_an_unseen_beginning_changes_nothing(case: Any, cut: int) -> None:
    engine, label = case.values
    log = lines(engine, label)
    whole = diagnose_log(log, label["service"])
    first = min(piece.line for piece in whole.evidence)
    assert diagnose_log(log[min(cut, first - 1) :], label["service"]).failure_class == whole.failure_class


@pytest.mark.parametrize("rule", rules().values(), ids=lambda rule: rule.id)
def test_every_rule_has_a_log_and_a_remedy(rule: Rule) -> None:
    assert rule.remedies
    assert any(case.values[1]["log"].split("--", maxsplit=1)[0] == rule.id for case in FAILURES)


@pytest.mark.parametrize("rule", rules().values(), ids=lambda rule: rule.id)
def test_a_patch_names_options_that_exist(rule: Rule) -> None:
    engine = "ollama" if rule.id.startswith("ollama") else "llamacpp"
    for remedy in rule.remedies:
        assert (remedy.kind is RemedyKind.LOAD_CONFIG) == (remedy.patch is not None), remedy.title
        assert (remedy.kind is RemedyKind.COMMAND) == (remedy.command is not None), remedy.title
        assert set(remedy.patch or ()) <= OPTIONS[engine], remedy.title


def test_a_load_that_failed_is_told_by_the_same_rules() -> None:
    log = (LOGS / "llamacpp/llamacpp_context_in_gpu_memory.log").read_text(encoding="utf-8").splitlines()
    cause = diagnose(log, exit_code=1)
    assert cause.failure_class == "create_context_failed"
    assert cause.remedies[0].patch == {"n_ctx": 16384}


def test_a_refused_request_does_not_end_an_engine() -> None:
    log = (LOGS / "llamacpp/llamacpp_prompt_too_long.log").read_text(encoding="utf-8").splitlines()
    assert diagnose(log, signal="SIGSEGV").failure_class == "other"
