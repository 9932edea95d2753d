"""Routing rules as lines of words that a person edits, and where a name leads, in sentences."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import ValidationError

from quarterdeck.gui.presenters.policy import names_in
from quarterdeck.gui.presenters.text import sentence_start
from quarterdeck.schemas.requests import RouteReport, RoutingRules, RuleProblem

NEEDS = (
    ("vision", "Read pictures"), ("tools", "Use tools"), ("embeddings", "Make embeddings"), ("rerank", "Rerank"),
    ("audio", "Speak or listen"), ("images", "Make pictures"),
)  # fmt: skip
RULE_TITLES = {
    "exact": "Own name", "alias": "Other name", "capability": "Capability", "pattern": "Pattern", "balance": "Sharing",
    "default": "Unknown names",
}  # fmt: skip
CLASS_TITLES = {
    "error": "After an error", "context_window": "When the prompt is too long", "content": "When content is refused",
}  # fmt: skip
_WEIGHT = re.compile(r"^(?P<model>.+?)\s+[×x*]\s*(?P<weight>[\d.]+(?:e[+-]?\d+)?)$", re.IGNORECASE)
_PLACE = re.compile(r"^(\w+)\[(\d+)\]")

Cells = tuple[str, ...]


class Kind(StrEnum):
    """The kinds of rules, by their names in RoutingRules."""

    CAPABILITIES = "capabilities"
    PATTERNS = "patterns"
    BALANCE = "balance"
    FALLBACKS = "fallbacks"


class Form(NamedTuple):
    """How rules of one kind are written. In the columns of `models`, names of models are offered while typing.

    `about` says what such a rule does, `none` that there is none, and `begin` how to write the first.
    """

    title: str
    about: str
    none: str
    begin: str
    columns: tuple[str, ...]
    models: tuple[int, ...]
    ordered: bool
    write: Callable[[Any], Cells]
    read: Callable[[Cells], dict[str, Any]]


def written(models: Iterable[tuple[str, float]]) -> str:
    """Models with their weights; a weight of 1 goes without saying."""
    return ", ".join(name if weight == 1 else f"{name} × {weight:.12g}" for name, weight in models)


def weighted(text: str) -> list[tuple[str, float]]:
    """The models and weights in a text such as “a × 3, b”. ValueError for a weight that is no number."""
    found = []
    for part in names_in(text):
        match = _WEIGHT.match(part)
        found.append((match["model"], float(match["weight"])) if match else (part, 1.0))
    return found


FORMS: dict[Kind, Form] = {
    Kind.CAPABILITIES: Form(
        "Capabilities",
        "A word that clients can ask for like a model, such as “code”. The first of its models that is up answers.",
        "No capabilities yet",
        "Add a rule, write the word, and behind it your models, the best first.",
        ("Word", "Models, in order"),
        (1,),
        False,
        lambda rule: (rule.name, ", ".join(rule.models)),
        lambda cells: {"name": cells[0].strip(), "models": list(names_in(cells[1]))},
    ),
    Kind.PATTERNS: Form(
        "Patterns",
        "Names that fit a regular expression from beginning to end, such as “gpt-4.*”. The first that fits counts.",
        "No patterns yet",
        "Add a rule, write gpt-4.* as its pattern, and the model that should answer instead.",
        ("Pattern", "Model"),
        (1,),
        True,
        lambda rule: (rule.pattern, rule.model),
        lambda cells: {"pattern": cells[0].strip(), "model": cells[1].strip()},
    ),
    Kind.BALANCE: Form(
        "Sharing",
        "Requests for one name are shared among models. “a × 3, b” sends three of four requests to a.",
        "Nothing is shared yet",
        "Add a rule, write the name that clients ask for, and the models that share its requests.",
        ("Name", "Models and weights"),
        (0, 1),
        False,
        lambda rule: (rule.name, written((each.model, each.weight) for each in rule.models)),
        lambda cells: {
            "name": cells[0].strip(),
            "models": [{"model": model, "weight": weight} for model, weight in weighted(cells[1])],
        },
    ),
    Kind.FALLBACKS: Form(
        "Fallbacks",
        "The models that answer in place of another, in order. * stands for every model.",
        "No fallbacks yet",
        "Add a rule, write a model that may fail, and behind it those that answer then.",
        ("Model", *CLASS_TITLES.values()),
        (0, 1, 2, 3),
        False,
        lambda rule: (rule.model, *(", ".join(getattr(rule, name)) for name in CLASS_TITLES)),
        lambda cells: {
            "model": cells[0].strip(),
            **{name: list(names_in(text)) for name, text in zip(CLASS_TITLES, cells[1:], strict=True)},
        },
    ),
}  # fmt: skip


class Problem(NamedTuple):
    """What is wrong with a line, by its place in the table; `row` is -1 for what concerns no single line."""

    kind: Kind
    row: int
    error: bool
    words: str


Lines = dict[Kind, list[Cells]]


def lines_of(rules: RoutingRules) -> Lines:
    """The rules as lines of cells."""
    return {kind: [form.write(rule) for rule in getattr(rules, kind)] for kind, form in FORMS.items()}


def rules_of(lines: Lines) -> tuple[RoutingRules | None, list[Problem]]:
    """The rules that the lines mean, empty lines left out; None with the problems when some cannot be read."""
    problems: list[Problem] = []
    raw: dict[str, list[dict[str, Any]]] = {}
    for kind, form in FORMS.items():
        raw[kind] = []
        for row, cells in enumerate(lines[kind]):
            if not any(cell.strip() for cell in cells):
                continue
            try:
                raw[kind].append(form.read(cells))
            except ValueError:
                problems.append(Problem(kind, row, True, "A weight is no number. Write it as in “a × 3, b”."))
            problems.extend(_missing(kind, row, cells))
    if problems:
        return None, problems
    try:
        return RoutingRules.model_validate(raw), []
    except ValidationError as error:
        return None, [_unreadable(lines, each["loc"], each["msg"]) for each in error.errors()]


def _missing(kind: Kind, row: int, cells: Cells) -> list[Problem]:
    empty = [FORMS[kind].columns[place] for place, cell in enumerate(cells) if not cell.strip()]
    # A fallback needs only one of its classes.
    if kind is Kind.FALLBACKS and cells[0].strip():
        empty = []
    return [Problem(kind, row, True, f"“{column}” is empty.") for column in empty]


def _unreadable(lines: Lines, where: Sequence[Any], message: str) -> Problem:
    kind = Kind(where[0])
    row = place_in(lines[kind], int(where[1])) if len(where) > 1 else -1
    return Problem(kind, row, True, f"{message}.")


def place_in(lines: Sequence[Cells], number: int) -> int:
    """The line of the rule with this number, counted without the empty lines; -1 when there is none."""
    filled = [row for row, cells in enumerate(lines) if any(cell.strip() for cell in cells)]
    return filled[number] if number < len(filled) else -1


def placed(problems: Iterable[RuleProblem], lines: Lines) -> list[Problem]:
    """What the core finds, with the lines it is about."""
    found = []
    for problem in problems:
        match = _PLACE.match(problem.where)
        known = match is not None and match[1] in FORMS
        kind = Kind(match[1]) if match is not None and known else Kind.CAPABILITIES
        row = place_in(lines[kind], int(match[2])) if match is not None and known else -1
        words = f"{problem.sentence} {problem.hint}".strip()
        found.append(Problem(kind, row, problem.severity == "error", words))
    return found


def headline(report: RouteReport) -> tuple[str, str]:
    """Where a name leads, in a few words, and by which rule."""
    if report.model is None:
        return "Nobody answers", report.problem or "No rule fits this name."
    where = f"{report.model} at {report.backend}" if report.backend else report.model
    rule = RULE_TITLES.get(report.rule or "", sentence_start(report.rule or ""))
    return where, f"Rule: {rule}"


def further(report: RouteReport) -> list[tuple[str, str]]:
    """Which models are tried one after the other, and who answers instead: a label and names."""
    rows = [("Tried in this order", ", ".join(report.tried))] if len(report.tried) > 1 else []
    rows += [
        (CLASS_TITLES.get(name, sentence_start(name)), ", ".join(models))
        for name, models in report.fallbacks.items()
        if models
    ]
    return rows
