"""Faults of configurations in themselves, each with its line."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.diagnosis.drift import gateway_checks, mapping_checks
from quarterdeck.diagnosis.drift.faults import Fault
from quarterdeck.diagnosis.drift.gateway import read_gateway
from quarterdeck.diagnosis.drift.names import circles, nearly_same
from quarterdeck.diagnosis.drift.yaml_file import read

GOOD = """\
model_list:
  - model_name: coder
    litellm_params:
      model: openai/Qwen/Coder
      api_base: http://localhost:8001/v1
  - model_name: small
    litellm_params:
      model: ollama/llama3.1:latest
router_settings:
  fallbacks:
    - coder: [small]
"""


def gateway_faults(text: str) -> list[Fault]:
    return gateway_checks.check(read_gateway(text))


def mapping_faults(text: str, *beside: str, gateway: str | None = None) -> list[Fault]:
    made = read_gateway(gateway) if gateway is not None else None
    return mapping_checks.check(read(text), beside=[read(each) for each in beside], gateway=made)


def told(faults: list[Fault]) -> list[tuple[int, str]]:
    return [(fault.line, fault.code) for fault in faults]


def test_a_sound_configuration_has_no_fault() -> None:
    assert gateway_faults(GOOD) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("openai/Qwen/Coder", "Qwen/Coder"), (2, "no_provider")),
        (("http://localhost:8001/v1", "localhost:8001"), (2, "bad_address")),
        (("http://localhost:8001/v1", "http://localhost:99999/v1"), (2, "bad_address")),
        (("8001/v1", "8001"), (2, "no_v1")),
        (("8001/v1", "8001/v1/v1"), (2, "double_v1")),
        (("8001/v1", "8001/v1/chat/completions"), (2, "long_address")),
        (("ollama/llama3.1:latest", "ollama/"), (6, "no_target")),
        (("ollama/llama3.1:latest", "ollama/x\n      api_base: http://localhost:11434/v1"), (6, "ollama_v1")),
        (("ollama/llama3.1:latest", "ollama/x\n      timeout: soon"), (6, "bad_number")),
        (("ollama/llama3.1:latest", "ollama/x\n      weight: -1"), (6, "bad_weight")),
        (("model_name: small", "name: small"), (6, "no_name")),
        (("[small]", "[smal]"), (11, "unknown_name")),
        (("[small]", "[coder]"), (11, "self")),
        (("[small]", "[small]\n    - small: [coder]"), (11, "circle")),
        (("model_name: small", "model_name: codeer"), (6, "near")),
        (("  fallbacks:", "  model_group_alias: {gpt: [coder]}\n  fallbacks:"), (10, "alias_list")),
        (("  fallbacks:", "  model_group_alias: {gpt: 3}\n  fallbacks:"), (10, "bad_alias")),
    ],
)
def test_each_fault_is_told_with_its_line(change: tuple[str, str], expected: tuple[int, str]) -> None:
    assert expected in told(gateway_faults(GOOD.replace(*change)))


def test_an_unknown_name_comes_with_the_one_that_is_meant() -> None:
    fault = next(each for each in gateway_faults(GOOD.replace("[small]", "[smal]")))
    assert "“small”" in fault.hint


def test_an_alias_is_a_name_that_fallbacks_may_use() -> None:
    text = GOOD.replace("[small]", "[tiny]").replace("  fallbacks:", "  model_group_alias: {tiny: small}\n  fallbacks:")
    assert gateway_faults(text) == []


def test_weights_of_one_name_have_to_be_shares_of_one() -> None:
    entry = "  - model_name: a\n    litellm_params: {{model: ollama/{}, weight: {}}}\n"
    assert told(gateway_faults("model_list:\n" + entry.format("x", 0.7) + entry.format("y", 0.4))) == [(2, "weights")]
    assert gateway_faults("model_list:\n" + entry.format("x", 0.7) + entry.format("y", 0.3)) == []
    assert gateway_faults("model_list:\n" + entry.format("x", 2) + entry.format("y", 1)) == []


def test_the_same_entry_twice_is_told() -> None:
    entry = "  - model_name: a\n    litellm_params: {model: ollama/x}\n"
    assert told(gateway_faults("model_list:\n" + entry + entry)) == [(4, "duplicate")]


@pytest.mark.parametrize(
    ("text", "line"), [("a: [1,\nb: {", 2), ("model_list:\n\t- x", 2), ("", 0), ("a: 1\na: 2\n", 2)]
)
def test_what_is_no_configuration_says_where(text: str, line: int) -> None:
    faults = gateway_faults(text)
    assert faults
    assert line in {fault.line for fault in faults}


PROVIDERS = """\
providers:
  ollama:
    base_url: http://127.0.0.1:11434
    status: active
    models: [{name: llama3.1}, {name: coder}]
  vllm:
    base_url: http://127.0.0.1:8001
    status: disabled
"""


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("exact_matches:\n  coder: {provider: olama}\n", (2, "unknown_provider")),
        ("exact_matches:\n  coder: {provider: vllm}\n", (2, "inactive")),
        ("patterns:\n  - {pattern: '^(a', provider: ollama}\n", (2, "bad_pattern")),
        ("patterns:\n  - {provider: ollama}\n", (2, "no_pattern")),
        ("load_balancing:\n  c: {providers: [{provider: ollama, weight: 0.7}, {provider: vllm, weight: 0.4}]}\n",
         (2, "weights")),
        ("capabilities:\n  big:\n    preferred_models:\n      - vllm\n", (4, "provider_as_model")),
        ("capabilities:\n  big: {preferred_models: [lama3.1]}\n", (2, "unknown_name")),
        ("fallback_chains:\n  coder: [llama3.1]\n  llama3.1: [coder]\n", (2, "circle")),
        ("fallback_chains:\n  coder: [coder]\n", (2, "self")),
        ("fallback_chains:\n  coder: [nobody]\n", (2, "unknown_name")),
    ],
)  # fmt: skip
def test_faults_of_the_sources_of_a_gateway(rule: str, expected: tuple[int, str]) -> None:
    assert expected in told(mapping_faults(rule, PROVIDERS))


def test_a_mapped_name_has_to_be_in_the_gateways_list() -> None:
    rule = "exact_matches:\n  llama-cpp-default: {provider: ollama}\n"
    assert (2, "not_in_gateway") in told(mapping_faults(rule, PROVIDERS, gateway=GOOD))
    assert mapping_faults(rule, PROVIDERS) == []


def test_providers_are_checked_themselves() -> None:
    text = PROVIDERS.replace("http://127.0.0.1:8001", "127.0.0.1:8001").replace("active", "disabled")
    assert told(mapping_faults(text)) == [(1, "none_active"), (6, "bad_address")]


def test_numbers_in_names_are_no_slip_of_the_pen() -> None:
    assert list(nearly_same(["qwen2.5-coder-7b", "qwen2.5-coder-3b"])) == []
    assert list(nearly_same(["dolphin-uncensored", "dolphin-uncensord"])) == [
        ("dolphin-uncensored", "dolphin-uncensord")
    ]


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=3)))
def test_every_circle_that_is_told_is_one(leads: dict[str, list[str]]) -> None:
    found = circles(leads)
    for way in found:
        assert way[0] == way[-1]
        assert all(following in leads[name] for name, following in pairwise(way))
    in_a_circle = {name for way in found for name in way}
    assert all(name in in_a_circle for name, targets in leads.items() if name in targets)


@given(st.text(alphabet=st.sampled_from("ab:- \n[]{}&*!#'\"|>\t,?%@`\\0"), max_size=60))
def test_any_text_is_read_to_faults_and_never_raises(text: str) -> None:
    gateway_faults(text)
    mapping_faults(text)
    gateway_faults(f"model_list:\n  - {text}\nrouter_settings: {text}")
