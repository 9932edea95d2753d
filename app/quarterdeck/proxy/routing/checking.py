"""What is wrong with routing rules: errors are refused, warnings are shown."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator
from difflib import get_close_matches

from quarterdeck.diagnosis.drift.names import circles
from quarterdeck.registry.names import LONGEST_NAME, fold
from quarterdeck.schemas.backends import BackendKind
from quarterdeck.schemas.models import ModelView, Status
from quarterdeck.schemas.requests import RoutingRules, RuleProblem

MOST_RULES = 1000
LONGEST_PATTERN = 500
LARGEST_WEIGHT = 1e6
SMALLEST_WEIGHT = 1e-6
CLASSES = ("error", "context_window", "content")

_NESTED_REPEAT = re.compile(r"(?<!\\)\((?:[^()\\]|\\.)*(?<!\\)[*+}](?:[^()\\]|\\.)*\)[*+{]")
_WHOLE_SHARES = 0.001

Resolve = Callable[[str], ModelView | None]
"""The model that a name means to clients."""


def errors_of(rules: RoutingRules) -> list[RuleProblem]:
    """What makes the rules unusable."""
    return [
        *_too_many(rules), *_bad_names(rules), *_bad_patterns(rules), *_bad_weights(rules), *_repeated(rules),
        *_leading_to_itself(rules),
    ]  # fmt: skip


def warnings_of(
    rules: RoutingRules, resolve: Resolve, known: Collection[str], default_model: str = ""
) -> list[RuleProblem]:
    """What is doubtful about rules without errors. `known` are the names of all models and their other names."""
    return [
        *_doubtful_targets(rules, resolve, known, default_model), *_hidden_names(rules, resolve),
        *_odd_shares(rules), *_same_patterns(rules), *_circles(rules),
    ]  # fmt: skip


def _error(where: str, sentence: str, hint: str = "") -> RuleProblem:
    return RuleProblem(where=where, severity="error", sentence=sentence, hint=hint)


def _warning(where: str, sentence: str, hint: str = "") -> RuleProblem:
    return RuleProblem(where=where, severity="warning", sentence=sentence, hint=hint)


def _too_many(rules: RoutingRules) -> Iterator[RuleProblem]:
    for kind in ("capabilities", "patterns", "balance", "fallbacks"):
        if len(getattr(rules, kind)) > MOST_RULES:
            yield _error(
                kind, f"There are more than {MOST_RULES} rules of one kind.", "One pattern can stand for many."
            )


def _bad_names(rules: RoutingRules) -> Iterator[RuleProblem]:
    for where, name in [*_named(rules), *_targets(rules)]:
        if not name.strip() or name != name.strip():
            yield _error(where, "A name is empty, or has spaces at its ends.", "Write the name of a model.")
        elif len(name) > LONGEST_NAME or not name.isprintable():
            yield _error(where, f"A name has more than {LONGEST_NAME} signs, or invisible ones.", "Write it shorter.")


def _bad_patterns(rules: RoutingRules) -> Iterator[RuleProblem]:
    for number, rule in enumerate(rules.patterns):
        where = f"patterns[{number}]"
        if not rule.pattern or len(rule.pattern) > LONGEST_PATTERN:
            yield _error(where, f"A pattern has 1 to {LONGEST_PATTERN} signs.", "Two patterns may lead to one model.")
        elif _NESTED_REPEAT.search(rule.pattern):
            yield _error(
                where,
                f"The pattern “{rule.pattern}” repeats a group that has a repetition in it: some names would take "
                "for ever.",
                "Write it without the outer repetition.",
            )
        else:
            try:
                re.compile(rule.pattern)
            except (re.error, RecursionError, OverflowError) as error:
                yield _error(
                    where,
                    f"“{rule.pattern}” is no regular expression: {error}.",
                    "Put a backslash before . ( ) [ ] * + ?",
                )


def _bad_weights(rules: RoutingRules) -> Iterator[RuleProblem]:
    for number, rule in enumerate(rules.balance):
        for place, each in enumerate(rule.models):
            if not (math.isfinite(each.weight) and SMALLEST_WEIGHT <= each.weight <= LARGEST_WEIGHT):
                yield _error(
                    f"balance[{number}].models[{place}]",
                    f"The weight of “{each.model}” is not between {SMALLEST_WEIGHT:g} and {LARGEST_WEIGHT:g}.",
                    "Use shares such as 0.7 and 0.3, or 2 and 1.",
                )


def _repeated(rules: RoutingRules) -> Iterator[RuleProblem]:
    met: dict[tuple[str, str], str] = {}
    for where, name in _named(rules):
        kind = "fallbacks" if where.startswith("fallbacks") else "names"
        first = met.setdefault((kind, fold(name)), where)
        if first != where:
            yield _error(where, f"There is another rule for “{name}” ({first}).", "Put both into one rule.")
    for where, models in _lists(rules):
        folded = list(map(fold, models))
        for name in dict.fromkeys(name for name in folded if folded.count(name) > 1):
            yield _error(where, f"“{name}” is there twice.", "Name each model once.")


def _leading_to_itself(rules: RoutingRules) -> Iterator[RuleProblem]:
    for number, rule in enumerate(rules.capabilities):
        if fold(rule.name) in map(fold, rule.models):
            yield _error(f"capabilities[{number}]", f"“{rule.name}” leads to itself.", "Name models.")
    for number, fallback in enumerate(rules.fallbacks):
        for kind in CLASSES:
            if fold(fallback.model) in map(fold, getattr(fallback, kind)):
                yield _error(
                    f"fallbacks[{number}].{kind}",
                    f"“{fallback.model}” is to stand in for itself.",
                    "Name another model.",
                )


def _doubtful_targets(
    rules: RoutingRules, resolve: Resolve, known: Collection[str], default_model: str
) -> Iterator[RuleProblem]:
    of_rules = {fold(name) for where, name in _named(rules) if not where.startswith("fallbacks")}
    keys = [(f"fallbacks[{n}].model", rule.model) for n, rule in enumerate(rules.fallbacks) if rule.model != "*"]
    default = [("default_model", default_model)] if default_model else []
    for where, name in [*_targets(rules), *keys, *default]:
        view = resolve(name)
        if view is not None:
            yield from _unfit(where, view)
        elif fold(name) not in of_rules:
            yield _unknown(where, name, known)


def _unknown(where: str, name: str, known: Collection[str]) -> RuleProblem:
    if fold(name) in list(BackendKind):
        return _warning(where, f"“{name}” is a backend and no model.", "Name a model that runs on it.")
    close = get_close_matches(name, known, n=1, cutoff=0.7)
    hint = f"Is “{close[0]}” meant?" if close else "The rule passes it over until there is one."
    return _warning(where, f"There is no model named “{name}”.", hint)


def _unfit(where: str, view: ModelView) -> Iterator[RuleProblem]:
    if not view.installed:
        yield _warning(
            where, f"“{view.name}” is not there any more.", "Its file is gone, or its server does not offer it."
        )
    elif view.deprecated:
        yield _warning(where, f"“{view.name}” is marked as deprecated.", "Name its successor.")
    elif view.status is Status.INCOMPATIBLE:
        yield _warning(where, f"“{view.name}” is marked incompatible with this hardware.", "It will not be loaded.")


def _hidden_names(rules: RoutingRules, resolve: Resolve) -> Iterator[RuleProblem]:
    for number, rule in enumerate(rules.capabilities):
        if (view := resolve(rule.name)) is not None:
            yield _warning(
                f"capabilities[{number}]",
                f"Clients reach the model “{view.name}” as “{rule.name}”, so this rule is never used.",
                "Give the rule another name.",
            )


def _odd_shares(rules: RoutingRules) -> Iterator[RuleProblem]:
    for number, rule in enumerate(rules.balance):
        weights = [each.weight for each in rule.models]
        total = sum(weights)
        if all(weight < 1 for weight in weights) and abs(total - 1) > _WHOLE_SHARES:
            yield _warning(
                f"balance[{number}]",
                f"The shares for “{rule.name}” add up to {total:g}, not to 1; they are taken in that proportion.",
                f"“{rule.models[0].model}” gets {weights[0] / total:.0%} of the requests.",
            )


def _same_patterns(rules: RoutingRules) -> Iterator[RuleProblem]:
    met: dict[str, int] = {}
    for number, rule in enumerate(rules.patterns):
        first = met.setdefault(rule.pattern, number)
        if first != number:
            yield _warning(
                f"patterns[{number}]", f"The same pattern comes earlier (patterns[{first}]).", "It is never used."
            )


def _circles(rules: RoutingRules) -> Iterator[RuleProblem]:
    for kind in CLASSES:
        leads = {fold(rule.model): list(map(fold, getattr(rule, kind))) for rule in rules.fallbacks}
        numbers = {fold(rule.model): number for number, rule in enumerate(rules.fallbacks)}
        for path in circles(leads):
            yield _warning(
                f"fallbacks[{numbers[path[0]]}].{kind}",
                f"These stand in for each other in a circle: {' → '.join(path)}.",
                "No request goes round: only the list of the model that was asked for is used.",
            )


def _named(rules: RoutingRules) -> list[tuple[str, str]]:
    """The names that rules are for, with their places."""
    return [
        *((f"capabilities[{number}]", rule.name) for number, rule in enumerate(rules.capabilities)),
        *((f"balance[{number}]", rule.name) for number, rule in enumerate(rules.balance)),
        *((f"fallbacks[{number}]", rule.model) for number, rule in enumerate(rules.fallbacks)),
    ]


def _lists(rules: RoutingRules) -> list[tuple[str, list[str]]]:
    """The lists of models that rules lead to, with their places."""
    return [
        *((f"capabilities[{number}].models", rule.models) for number, rule in enumerate(rules.capabilities)),
        *(
            (f"balance[{number}].models", [each.model for each in rule.models])
            for number, rule in enumerate(rules.balance)
        ),
        *(
            (f"fallbacks[{number}].{kind}", getattr(rule, kind))
            for number, rule in enumerate(rules.fallbacks)
            for kind in CLASSES
        ),
    ]


def _targets(rules: RoutingRules) -> list[tuple[str, str]]:
    """The models that rules lead to, with their places."""
    listed = [(f"{where}[{place}]", name) for where, names in _lists(rules) for place, name in enumerate(names)]
    return [*listed, *((f"patterns[{number}]", rule.model) for number, rule in enumerate(rules.patterns))]
