"""Consistency of the sources that some gateways are generated from: a list of providers, and the mapping of models.

A file may hold either part or both. What one file leaves to another is checked against `beside`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from quarterdeck.diagnosis.drift.faults import Fault, warning
from quarterdeck.diagnosis.drift.gateway import Gateway
from quarterdeck.diagnosis.drift.names import circles, meant, nearly_same
from quarterdeck.diagnosis.drift.yaml_file import YamlFile, items, line_of, section, words

_MAPPING = ("exact_matches", "patterns", "fallback_chains", "capabilities", "load_balancing")
_ACTIVE = ("active", "")
_LAST_PORT = 65535
_TARGETS = ("preferred_models", "models")


def is_mapping(file: YamlFile) -> bool:
    """Whether this is such a source."""
    return "providers" in file.mapping or sum(key in file.mapping for key in _MAPPING) > 1


def check(file: YamlFile, *, beside: Sequence[YamlFile] = (), gateway: Gateway | None = None) -> list[Fault]:
    """All faults, by line. `gateway` is the configuration that is made from these sources."""
    if file.root is None:
        return sorted(file.faults)
    known = _Known([file, *beside], gateway)
    return sorted([*file.faults, *_providers(file), *_rules(file, known), *_chains(file, known)])


class _Known:
    """The names that exist: providers with their status, and models."""

    def __init__(self, files: Sequence[YamlFile], gateway: Gateway | None) -> None:
        self.providers: dict[str, str] = {}
        self.models: set[str] = set(gateway.names) if gateway else set()
        self.complete = gateway is not None
        for file in files:
            for name, provider in section(file.mapping, "providers").items():
                self.providers[str(name)] = str(section_value(provider, "status") or "")
                self.models |= set(_model_names(provider))
            if gateway is None:
                self.models |= {str(name) for name in section(file.mapping, "exact_matches")}

    def fault(self, line: int, what: str, name: str) -> Fault | None:
        """A name where a model is needed."""
        if name in self.providers:
            return warning(line, "provider_as_model", f"{what} names the provider “{name}” where a model is needed.",
                           "Name a model of it.")  # fmt: skip
        if self.models and name not in self.models:
            hint = meant(name, self.models) or "Add the model, or take the name out."
            return warning(line, "unknown_name", f"{what} names “{name}”, which is no known model.", hint)
        return None


def section_value(holder: Any, name: str) -> Any:
    """An entry of a mapping; None where `holder` is none."""
    return holder.get(name) if isinstance(holder, Mapping) else None


def _model_names(provider: Any) -> Iterator[str]:
    for each in items(provider, "models"):
        name = each if isinstance(each, str) else section_value(each, "name")
        if isinstance(name, str):
            yield name


def _providers(file: YamlFile) -> Iterator[Fault]:
    providers = section(file.mapping, "providers")
    if not providers and "providers" in file.mapping:
        yield Fault(line_of(file.mapping, "providers"), "no_providers", "There is no provider.", "Add one.")
        return
    states = [str(section_value(each, "status") or "") for each in providers.values()]
    if states and not any(state in _ACTIVE for state in states):
        line = line_of(file.mapping, "providers")
        yield Fault(line, "none_active", "No provider is active.", "Set status: active for at least one.")
    for name, provider in providers.items():
        yield from _provider(str(name), provider, line_of(providers, name))
    for first, second in nearly_same([str(name) for name in providers]):
        yield warning(line_of(providers, second), "near", f"“{second}” is nearly “{first}”.",
                      "If one of them is a slip of the pen, correct it.")  # fmt: skip


def _provider(name: str, provider: Any, line: int) -> Iterator[Fault]:
    url = section_value(provider, "base_url")
    if not isinstance(url, str) or not _is_url(url):
        yield Fault(line, "bad_address", f"The provider “{name}” has no usable base_url.",
                    "Write it like http://127.0.0.1:8001.")  # fmt: skip
    names = list(_model_names(provider))
    if section_value(provider, "status") == "active" and "models" in provider and not names:
        yield warning(line, "no_models", f"The provider “{name}” is active and lists no model.", "Add its models.")
    for twice in dict.fromkeys(each for each in names if names.count(each) > 1):
        yield Fault(line, "duplicate", f"The provider “{name}” lists “{twice}” twice.", "Take one of them out.")


def _rules(file: YamlFile, known: _Known) -> Iterator[Fault]:
    exact = section(file.mapping, "exact_matches")
    for name, rule in exact.items():
        yield from _exact(str(name), rule, line_of(exact, name), known)
    for first, second in nearly_same([str(name) for name in exact]):
        yield warning(line_of(exact, second), "near", f"“{second}” is nearly “{first}”.",
                      "If one of them is a slip of the pen, correct it.")  # fmt: skip
    patterns = items(file.mapping, "patterns")
    for place, rule in enumerate(patterns):
        yield from _pattern(rule, line_of(patterns, place), known)
    for kind in ("load_balancing", "capabilities"):
        holder = section(file.mapping, kind)
        for name, rule in holder.items():
            line = line_of(holder, name)
            yield from _weights(str(name), rule, line)
            yield from _targets(f"“{name}”", rule, line, known)


def _exact(name: str, rule: Any, line: int, known: _Known) -> Iterator[Fault]:
    yield from _named_providers(f"“{name}”", rule, line, known)
    if known.complete and name not in known.models:
        yield warning(line, "not_in_gateway", f"“{name}” is mapped, but the gateway's list has no such model.",
                      meant(name, known.models) or "Generate the gateway's configuration again.")  # fmt: skip
    if section_value(rule, "fallback") == name:
        yield Fault(line, "self", f"“{name}” is to stand in for itself.", "Name another one.")


def _pattern(rule: Any, line: int, known: _Known) -> Iterator[Fault]:
    pattern = section_value(rule, "pattern")
    if not isinstance(pattern, str):
        yield Fault(line, "no_pattern", "This rule has no pattern.", "Add one, or take the rule out.")
        return
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        yield Fault(line, "bad_pattern", f"“{pattern}” is no regular expression: {error}.",
                    "Put a backslash before . ( ) [ ] * + ?")  # fmt: skip
    yield from _named_providers(f"The pattern “{pattern}”", rule, line, known)


def _named_providers(what: str, rule: Any, line: int, known: _Known) -> Iterator[Fault]:
    if not known.providers:
        return
    for key in ("provider", "fallback"):
        name = section_value(rule, key)
        if not isinstance(name, str) or (key == "fallback" and name in known.models):
            continue
        if name not in known.providers:
            hint = meant(name, known.providers) or f"Known: {', '.join(known.providers)}."
            yield Fault(line, "unknown_provider", f"{what} leads to the provider “{name}”, which is not there.", hint)
        elif known.providers[name] not in _ACTIVE:
            yield warning(line, "inactive", f"{what} leads to “{name}”, which is {known.providers[name]}.",
                          "Activate it, or name another one.")  # fmt: skip


def _weights(name: str, rule: Any, line: int) -> Iterator[Fault]:
    shares = [
        weight
        for each in items(rule, "providers")
        if isinstance(weight := section_value(each, "weight"), int | float) and not isinstance(weight, bool)
    ]
    if any(share < 0 for share in shares):
        yield Fault(line, "bad_weight", f"A weight of “{name}” is below zero.", "Write shares such as 0.7 and 0.3.")
    elif shares and abs(sum(shares) - 1) > 0.001:
        yield Fault(line, "weights", f"The weights of “{name}” add up to {sum(shares):g}, not to 1.",
                    "Write shares such as 0.7 and 0.3.")  # fmt: skip


def _targets(what: str, rule: Any, line: int, known: _Known) -> Iterator[Fault]:
    for key in _TARGETS:
        for own_line, name in words(section_value(rule, key)):
            fault = known.fault(own_line or line, what, name)
            if fault is not None:
                yield fault


def _chains(file: YamlFile, known: _Known) -> Iterator[Fault]:
    holder = section(file.mapping, "fallback_chains")
    leads: dict[str, list[str]] = {}
    for name, value in holder.items():
        chain = value if not isinstance(value, Mapping) else value.get("chain") or value.get("models")
        line = line_of(holder, name)
        leads[str(name)] = targets = []
        for own_line, target in words(chain):
            if target == name:
                yield Fault(own_line or line, "self", f"“{name}” is to stand in for itself.", "Name another one.")
                continue
            targets.append(target)
            yield from _link(str(name), target, own_line or line, known)
        for twice in dict.fromkeys(each for each in targets if targets.count(each) > 1):
            yield warning(line, "duplicate", f"The chain of “{name}” has “{twice}” twice.", "Take one of them out.")
    for way in circles(leads):
        yield Fault(line_of(holder, way[0]), "circle", f"These stand in for each other in a circle: {' → '.join(way)}.",
                    "Let the chain end at one of them.")  # fmt: skip


def _link(name: str, target: str, line: int, known: _Known) -> Iterator[Fault]:
    """One step of a chain: the default chain names providers, the others models or providers."""
    everything: Collection[str] = {*known.models, *known.providers}
    if everything and target not in everything:
        yield warning(line, "unknown_name", f"The chain of “{name}” names “{target}”, which is neither a model nor a "
                      "provider.", meant(target, everything) or "Take it out.")  # fmt: skip


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) <= _LAST_PORT
    except ValueError:
        return False
