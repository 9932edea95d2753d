"""Consistency of a LiteLLM configuration in itself."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from urllib.parse import urlsplit

from quarterdeck.diagnosis.drift.faults import Fault, warning
from quarterdeck.diagnosis.drift.gateway import FALLBACKS, Entry, Gateway
from quarterdeck.diagnosis.drift.names import circles, meant, nearly_same
from quarterdeck.diagnosis.drift.yaml_file import items, line_of

_LAST_PORT = 65535
# What LiteLLM takes for a provider when it stands before the first slash.
_PROVIDER_WORDS = """
openai azure azure_ai anthropic ollama ollama_chat hosted_vllm vllm huggingface gemini vertex_ai bedrock groq mistral
cohere together_ai openrouter deepseek xai lm_studio llamafile custom_openai openai_like replicate perplexity
fireworks_ai text-completion-openai github watsonx nvidia_nim cerebras sambanova databricks cloudflare deepinfra voyage
jina_ai infinity sagemaker triton xinference litellm_proxy
"""
_PROVIDERS = frozenset(_PROVIDER_WORDS.split())
_PATHS = ("/chat/completions", "/completions", "/models", "/embeddings")


def check(gateway: Gateway) -> list[Fault]:
    """All faults, by line; errors keep requests from being answered, warnings do not."""
    if gateway.file.root is None:
        return sorted(gateway.file.faults) or [Fault(0, "empty", "The file is empty.", "Add a model_list.")]
    found = [
        *gateway.file.faults, *_form(gateway), *_entries(gateway), *_repeated(gateway), *_references(gateway),
        *_aliases(gateway), *_twins(gateway),
    ]  # fmt: skip
    return sorted(found)


def _form(gateway: Gateway) -> Iterator[Fault]:
    root = gateway.file.mapping
    line = line_of(root, "model_list")
    if "model_list" not in root:
        yield Fault(0, "no_models", "There is no model_list.", "Add one with at least one model.")
    elif not items(root, "model_list"):
        yield Fault(line, "no_models", "The model_list has no entry.", "Add at least one model.")


def _entries(gateway: Gateway) -> Iterator[Fault]:
    for entry in gateway.entries:
        called = f"“{entry.name}”" if entry.name else "This entry"
        if not entry.name:
            yield Fault(entry.line, "no_name", "This entry has no model_name.", "Clients need a name to ask for.")
        if not entry.target:
            yield Fault(
                entry.line, "no_target", f"{called} does not say which model is meant.", "Add litellm_params.model."
            )
            continue
        yield from _target(entry, called)
        if entry.url:
            yield from _address(entry, called)
        yield from _numbers(entry, called)


def _target(entry: Entry, called: str) -> Iterator[Fault]:
    prefix, slash, rest = entry.target.partition("/")
    if slash and not rest:
        yield Fault(entry.line, "no_target", f"{called} names a provider and no model.", f"Write {prefix}/MODEL.")
    elif entry.url and not entry.params.get("custom_llm_provider") and prefix not in _PROVIDERS:
        yield Fault(
            entry.line,
            "no_provider",
            f"{called} has an address, but its model “{entry.target}” names no provider that LiteLLM knows.",
            f"Write openai/{entry.target}, or add custom_llm_provider: openai.",
        )


def _address(entry: Entry, called: str) -> Iterator[Fault]:
    try:
        parts = urlsplit(entry.url)
        well = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) <= _LAST_PORT
    except ValueError:
        well = False
    if not well or any(map(str.isspace, entry.url)):
        yield Fault(entry.line, "bad_address", f"The address of {called}, “{entry.url}”, is none.",
                    "Write it like http://127.0.0.1:8001/v1.")  # fmt: skip
        return
    path = parts.path.rstrip("/")
    if any(path.endswith(end) for end in _PATHS):
        yield Fault(entry.line, "long_address", f"The address of {called} goes on behind its base.",
                    "End it at /v1; LiteLLM adds the rest.")  # fmt: skip
    elif path.endswith("/v1/v1"):
        yield Fault(entry.line, "double_v1", f"The address of {called} has /v1 twice.", "Write it once.")
    elif entry.provider in ("openai", "hosted_vllm", "vllm") and not path:
        yield warning(entry.line, "no_v1", f"The address of {called} does not end in /v1.",
                      "Most servers need it: add /v1.")  # fmt: skip
    elif entry.provider.startswith("ollama") and path.endswith("/v1"):
        yield Fault(entry.line, "ollama_v1", f"The address of {called} ends in /v1; Ollama's own interface has none.",
                    "Take /v1 away, or write openai/ before the model.")  # fmt: skip


def _numbers(entry: Entry, called: str) -> Iterator[Fault]:
    weight = entry.params.get("weight")
    if isinstance(weight, int | float) and not isinstance(weight, bool) and weight < 0:
        yield Fault(entry.line, "bad_weight", f"The weight of {called} is below zero.", "Write a share such as 0.7.")
    for name in ("rpm", "tpm", "timeout", "max_retries"):
        value = entry.params.get(name)
        if isinstance(value, str) and not value.startswith("os.environ/") and not _is_number(value):
            yield Fault(entry.line, "bad_number", f"{name} of {called} is “{value}” and no number.", "Write a number.")


def _repeated(gateway: Gateway) -> Iterator[Fault]:
    by_name: dict[str, list[Entry]] = defaultdict(list)
    for entry in gateway.entries:
        if entry.name:
            by_name[entry.name].append(entry)
    for name, entries in by_name.items():
        for place, entry in enumerate(entries):
            first = next((each for each in entries[:place] if (each.target, each.address) ==
                          (entry.target, entry.address)), None)  # fmt: skip
            if first is not None:
                yield Fault(entry.line, "duplicate", f"“{name}” is there twice (line {first.line}), with one target.",
                            "Take one of them out.")  # fmt: skip
        yield from _weights(name, entries)


def _weights(name: str, entries: list[Entry]) -> Iterator[Fault]:
    given = [entry.params.get("weight") for entry in entries]
    shares = [each for each in given if isinstance(each, int | float) and not isinstance(each, bool)]
    line = entries[0].line
    if len(entries) > 1 and shares and len(shares) < len(entries):
        yield warning(line, "some_weights", f"Not every server of “{name}” has a weight.", "Give each of them one.")
    elif len(shares) > 1 and all(0 <= each < 1 for each in shares) and abs(sum(shares) - 1) > 0.001:
        yield warning(
            line,
            "weights",
            f"The weights of “{name}” add up to {sum(shares):g}, not to 1.",
            "They are taken in that proportion; correct them if that is not meant.",
        )


def _references(gateway: Gateway) -> Iterator[Fault]:
    known = {*gateway.names, *(alias for _, alias, _ in gateway.aliases())}
    patterns = [re.compile(re.escape(name).replace(r"\*", ".*")) for name in known if "*" in name]
    leads: dict[str, list[str]] = defaultdict(list)
    lines: dict[str, int] = {}
    for each in gateway.references():
        what = "The alias" if each.kind == "alias" else "A fallback"
        if each.name not in known and each.name != "*" and not any(p.fullmatch(each.name) for p in patterns):
            yield Fault(each.line, "unknown_name", f"{what} leads to “{each.name}”, which this file does not define.",
                        meant(each.name, known) or "Add the model, or take the name out.")  # fmt: skip
        elif each.of and each.of == each.name:
            yield Fault(each.line, "self", f"“{each.of}” is to stand in for itself.", "Name another model.")
        elif each.kind in FALLBACKS and each.of:
            leads[each.of].append(each.name)
            lines.setdefault(each.of, each.line)
    for way in circles(leads):
        yield warning(lines.get(way[0], 0), "circle", f"These stand in for each other in a circle: {' → '.join(way)}.",
                      "Let the chain end at one of them.")  # fmt: skip


def _aliases(gateway: Gateway) -> Iterator[Fault]:
    for line, alias, target in gateway.aliases():
        if isinstance(target, list):
            yield Fault(
                line,
                "alias_list",
                f"The alias “{alias}” is a list; LiteLLM answers its requests with error 500.",
                f"Write one model: {alias}: {target[0] if target else 'MODEL'}.",
            )
        elif not isinstance(target, str):
            yield Fault(line, "bad_alias", f"The alias “{alias}” names no model.", "Write the name of a model.")


def _twins(gateway: Gateway) -> Iterator[Fault]:
    lines = {entry.name: entry.line for entry in reversed(gateway.entries)}
    for first, second in nearly_same([name for name in gateway.names if name]):
        yield warning(lines[second], "near", f"“{second}” is nearly “{first}” (line {lines[first]}).",
                      "If one of them is a slip of the pen, correct it.")  # fmt: skip


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
