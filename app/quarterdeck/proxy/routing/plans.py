"""Which rule decides about a name, and which models it leads to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from quarterdeck.errors import AppError
from quarterdeck.proxy.routing.fallbacks import FallbackClass
from quarterdeck.proxy.routing.rules import ANY_MODEL, RuleBook
from quarterdeck.proxy.routing.twins import Twins, find_twins
from quarterdeck.registry.names import ALIAS, EXACT, LONGEST_NAME, fold
from quarterdeck.scheduling.catalog import Catalog
from quarterdeck.schemas.models import ModelView
from quarterdeck.schemas.requests import BalanceRule, RouteStep

BALANCE = "balance"
CAPABILITY = "capability"
PATTERN = "pattern"
DEFAULT = "default"

MOST_COMPARED = 2000


@dataclass(frozen=True, slots=True)
class Lead:
    """The models that a rule leads to, in its order; `any_order` where one is as good as another.

    With `weights` they share the requests for `shared`.
    """

    names: tuple[str, ...]
    any_order: bool = False
    weights: Mapping[str, float] = field(default_factory=dict)
    shared: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of a name as long as neither rules nor models change."""

    rule: str
    lead: Lead
    fallbacks: Mapping[FallbackClass, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Look:
    """One rule that was looked at, and where it leads if it fits."""

    rule: str
    sentence: str
    lead: Lead | None = None

    def step(self) -> RouteStep:
        return RouteStep(rule=self.rule, fits=self.lead is not None, sentence=self.sentence)


class Planner:
    """Goes through the rules in their order: balance → exact → alias → capability → pattern → default."""

    def __init__(self, catalog: Catalog, rules: RuleBook) -> None:
        self._catalog = catalog
        self._rules = rules
        self._twins: Twins = {}
        self._twins_of = -1

    def plan(self, asked: str, default_model: str) -> Plan:
        """Raises AppError `unknown_model` (404) with names that are written alike."""
        for look in self.looks(asked, default_model):
            if look.lead is not None:
                return Plan(look.rule, look.lead, self.fallbacks(asked, look.lead))
        raise self.unknown(asked)

    def looks(self, asked: str, default_model: str) -> Iterator[Look]:
        """The rules as they are looked at; the first one that fits wins."""
        if (shared := self._rules.balance.get(fold(asked))) is not None:
            yield self._look_at_shares(shared)
        yield from self._look_at_names(asked)
        yield self._look_at_capabilities(asked)
        yield self._look_at_patterns(asked)
        yield self._look_at_default(default_model)

    def find(self, name: str) -> ModelView | None:
        """The model that clients reach under a name, as it is now."""
        return self._resolve(name)[0]

    def fallbacks(self, asked: str, lead: Lead) -> dict[FallbackClass, tuple[str, ...]]:
        """The stand-ins of each class: those for the name that was asked, else for its model, else for any."""
        keys = (fold(asked), fold(lead.names[0]), ANY_MODEL)
        rules = [self._rules.fallbacks[key] for key in dict.fromkeys(keys) if key in self._rules.fallbacks]
        found: dict[FallbackClass, tuple[str, ...]] = {}
        for kind in FallbackClass:
            listed: list[str] = next((names for rule in rules if (names := getattr(rule, kind.value))), [])
            leads = [target for name in listed if (target := self._target(name)) is not None]
            names = dict.fromkeys(name for each in leads for name in each.names if name not in lead.names)
            if names:
                found[kind] = tuple(names)
        return found

    def _look_at_shares(self, rule: BalanceRule) -> Look:
        lead = self._shared(rule)
        if lead is None:
            return Look(BALANCE, f"None of the models that share “{rule.name}” exists.")
        total = sum(lead.weights.values())
        told = ", ".join(f"{name} {weight / total:.0%}" for name, weight in lead.weights.items())
        return Look(BALANCE, f"The requests for “{rule.name}” are shared: {told}.", lead)

    def _look_at_names(self, asked: str) -> Iterator[Look]:
        view, rule = self._resolve(asked)
        if view is None:
            yield Look(EXACT, f"No model is called or served as “{asked}”.")
            yield Look(ALIAS, "No model has it as another name, in whatever case, with or without “:latest”.")
            return
        lead = self._with_twins(view.name)
        also = f" The same file is also there as {_listed(lead.names[1:])}." if len(lead.names) > 1 else ""
        if rule == EXACT:
            how = "is its name" if view.name == asked else "is the id under which it is served"
            yield Look(EXACT, f"“{asked}” {how}: {view.name}.{also}", lead)
            return
        yield Look(EXACT, f"No model is called or served as “{asked}”.")
        yield Look(ALIAS, f"“{asked}” is another name, or another way to write the name, of {view.name}.{also}", lead)

    def _look_at_capabilities(self, asked: str) -> Look:
        rule = self._rules.capabilities.get(fold(asked))
        if rule is not None:
            names = self._known(rule.models)
            if names:
                return Look(CAPABILITY, f"“{rule.name}” stands for {_listed(names)}, in this order.", Lead(names))
            return Look(CAPABILITY, f"None of the models that “{rule.name}” stands for exists.")
        names = self._with_word(fold(asked))
        if names:
            sentence = f"These models have the role or capability “{asked}”: {_listed(names)}."
            return Look(CAPABILITY, sentence, Lead(names, any_order=True))
        return Look(CAPABILITY, f"No rule, role or capability is called “{asked}”.")

    def _look_at_patterns(self, asked: str) -> Look:
        sentence = "No pattern matches." if self._rules.patterns else "There are no patterns."
        if len(asked) > LONGEST_NAME:
            return Look(PATTERN, "The name is too long to be compared with patterns.")
        for pattern, rule in self._rules.patterns:
            if pattern.fullmatch(asked):
                if (lead := self._target(rule.model)) is not None:
                    return Look(PATTERN, f"It matches the pattern “{rule.pattern}”, which leads to {rule.model}.", lead)
                sentence = f"It matches the pattern “{rule.pattern}”, but there is no model named “{rule.model}”."
        return Look(PATTERN, sentence)

    def _look_at_default(self, default_model: str) -> Look:
        if not default_model:
            return Look(DEFAULT, "No model for unknown names is set.")
        lead = self._target(default_model)
        if lead is None:
            return Look(DEFAULT, f"The model for unknown names, “{default_model}”, does not exist.")
        return Look(DEFAULT, f"The model for unknown names is {default_model}.", lead)

    def _target(self, name: str) -> Lead | None:
        """Where a name leads that a rule or a setting holds: to shares, a model or a capability."""
        if (shared := self._rules.balance.get(fold(name))) is not None:
            return self._shared(shared)
        view, _rule = self._resolve(name)
        if view is not None:
            return self._with_twins(view.name)
        capability = self._rules.capabilities.get(fold(name))
        names = () if capability is None else self._known(capability.models)
        return Lead(names) if names else None

    def _shared(self, rule: BalanceRule) -> Lead | None:
        weights: dict[str, float] = {}
        for each in rule.models:
            view, _rule = self._resolve(each.model)
            if view is not None:
                weights[view.name] = weights.get(view.name, 0.0) + each.weight
        heaviest_first = sorted(weights, key=lambda name: -weights[name])
        return Lead(tuple(heaviest_first), weights=weights, shared=fold(rule.name)) if weights else None

    def _known(self, listed: list[str]) -> tuple[str, ...]:
        views = (self._resolve(name)[0] for name in listed)
        return tuple(dict.fromkeys(view.name for view in views if view is not None))

    def _with_word(self, word: str) -> tuple[str, ...]:
        """The models of which a role or a capability is called so."""
        views = (view for view in self._catalog.stored() if view.hidden is None)
        return tuple(sorted(view.name for view in views if word in map(fold, view.roles) or word in view.capabilities))

    def _with_twins(self, name: str) -> Lead:
        if self._twins_of != self._catalog.revision:
            self._twins_of = self._catalog.revision
            self._twins = find_twins(self._catalog.stored())
        return Lead((name, *self._twins.get(name, ())))

    def _resolve(self, name: str) -> tuple[ModelView | None, str]:
        try:
            return self._catalog.resolve(name)
        except AppError:
            return None, ""

    def unknown(self, asked: str) -> AppError:
        """The answer to a name that leads nowhere."""
        close = close_names(asked, self.names())
        meant = f"Is {' or '.join(f'“{name}”' for name in close)} meant? " if close else ""
        return AppError(
            "unknown_model",
            f"There is no model named “{asked[:LONGEST_NAME]}”.",
            f"{meant}List the models with `quarterdeck models`, or add it with `quarterdeck models add`.",
            status=404,
            details={"close": close},
        )

    def names(self) -> list[str]:
        """All names that clients may use, but for those of hidden models."""
        models = [view for view in self._catalog.stored() if view.hidden is None]
        of_models = [name for view in models for name in (view.name, *view.aliases)]
        words = [rule.name for rule in self._rules.current.capabilities]
        shared = [rule.name for rule in self._rules.current.balance]
        return list(dict.fromkeys([*words, *shared, *of_models]))


def close_names(asked: str, names: list[str]) -> list[str]:
    """Up to three names that are written much like `asked`, or begin or end with it."""
    if len(asked) > LONGEST_NAME:
        return []
    word = fold(asked)
    by_fold = {fold(name): name for name in names[:MOST_COMPARED]}
    parts = [name for folded, name in by_fold.items() if len(word) > 2 and word in folded]
    alike = [by_fold[folded] for folded in get_close_matches(word, by_fold, n=3, cutoff=0.6)]
    return list(dict.fromkeys([*alike, *parts]))[:3]


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)
