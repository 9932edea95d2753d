"""Logs of the machine, of hubs, gateways and clients: each is named right, by the rule it was written for."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.diagnosis.matcher import diagnose_log
from quarterdeck.diagnosis.matching.index import Index
from quarterdeck.diagnosis.rules import Rule, RuleFile, parse_rules
from quarterdeck.schemas.diagnosis import Diagnosis

LOGS = Path(__file__).parent / "logs"
RULES = Path(__file__).parents[2] / "app/quarterdeck/diagnosis/rules"
FOLDERS = ("host", "hub", "gateways", "clients")
FILES = ("common", "host", "gpu", "rocm", "hub", "gateways", "proxies", "clients")
HEALTHY = "none"


@cache
def rule_files() -> tuple[RuleFile, ...]:
    return tuple(parse_rules(name, (RULES / f"{name}.yaml").read_text(encoding="utf-8")) for name in FILES)


@cache
def rules() -> dict[str, Rule]:
    return {rule.id: rule for file in rule_files() for rule in file.rules}


@cache
def own_index() -> Index:
    """Only the rules of these files: those of engines may know more of the same cause."""
    return Index(rule_files())


def cases() -> list[tuple[str, str, str]]:
    found = []
    for folder in FOLDERS:
        labels: dict[str, str] = yaml.safe_load((LOGS / folder / "labels.yaml").read_text(encoding="utf-8"))
        assert {path.stem for path in (LOGS / folder).glob("*.log")} == set(labels)
        found += [(folder, name, label) for name, label in labels.items()]
    return found


CASES = cases()
FAILURES = [case for case in CASES if case[2] != HEALTHY]


def lines(folder: str, name: str) -> list[str]:
    return (LOGS / folder / f"{name}.log").read_text(encoding="utf-8").splitlines()


def named(diagnosis: Diagnosis) -> str:
    return diagnosis.failure_class or HEALTHY


@pytest.mark.parametrize(("folder", "name", "label"), CASES)
def test_a_log_is_named(folder: str, name: str, label: str) -> None:
    found = diagnose_log(lines(folder, name))
    assert named(found) == label
    assert (found.kind == "healthy") == (label == HEALTHY)


@pytest.mark.parametrize(("folder", "name", "label"), FAILURES)
def test_the_rule_that_was_meant_names_it_and_offers_a_remedy(folder: str, name: str, label: str) -> None:
    rule = rules()[name.split("--", maxsplit=1)[0]]
    log = lines(folder, name)
    found = diagnose_log(log, index=own_index())
    assert rule.failure_class == label == found.failure_class
    assert found.title == rule.title
    assert found.remedies
    assert found.evidence[0].text.strip() in log[found.evidence[0].line - 1]


@pytest.mark.parametrize(("folder", "name", "label"), FAILURES)
def test_the_service_changes_nothing(folder: str, name: str, label: str) -> None:
    assert named(diagnose_log(lines(folder, name), service="vllm")) == label


@pytest.mark.parametrize(("folder", "name", "label"), FAILURES)
def test_time_and_container_before_each_line_change_nothing(folder: str, name: str, label: str) -> None:
    log = [f"engine-1  | 2025-05-02T08:00:00.123Z {line}" for line in lines(folder, name)]
    assert named(diagnose_log(log)) == label


def test_every_rule_that_reads_a_log_has_one() -> None:
    written = {name.split("--")[0] for _, name, _ in FAILURES}
    assert {rule.id for rule in rules().values() if rule.lines} == written


def test_every_rule_has_a_remedy() -> None:
    assert [rule.id for rule in rules().values() if not rule.remedies] == []


NOISE = [
    'INFO:     127.0.0.1:40000 - "GET /health HTTP/1.1" 200 OK',
    "Loading checkpoint shards:  50%|#####     | 1/2 [00:01<00:01]",
    "INFO 05-02 08:00:00 [loggers.py:116] Avg prompt throughput: 12.0 tokens/s, Running: 1 reqs",
    "",
]


@given(case=st.sampled_from(FAILURES), noise=st.lists(st.sampled_from(NOISE), max_size=30), at=st.integers(0, 40))
def test_noise_around_a_failure_changes_nothing(case: tuple[str, str, str], noise: list[str], at: int) -> None:
    folder, name, label = case
    log = lines(folder, name)
    assert named(diagnose_log([*noise[:at], *log, *noise[at:]])) == label
