"""Writes known issues in the Markdown that `page` reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from quarterdeck.diagnosis.known_issues import patterns
from quarterdeck.diagnosis.known_issues.sections import ANSWERS, default_subject, slug
from quarterdeck.schemas.known_issues import KnownIssue

LEVEL = 2

BEFORE = """\
These are known issues. Each is a heading with its cause, its details as a list, a heading for each service or
combination that is affected, such as `vllm` x `webui`, and headings for workarounds and log lines. A log line between
slashes is a regular expression.

"""


def write_page(issues: Iterable[KnownIssue]) -> str:
    return BEFORE + "\n".join(write_entry(issue) for issue in issues)


def write_entry(issue: KnownIssue) -> str:
    """The entry with a heading of level 2. Reading it gives the same entry again."""
    return "\n\n".join(part for part in _parts(issue) if part) + "\n"


def _parts(issue: KnownIssue) -> Iterator[str]:
    yield f"## {issue.title}"
    yield issue.cause
    marker = next((each for each in "-*" if f"\n{each} " not in f"\n{issue.cause}"), "+")
    yield "\n".join(f"{marker} {name}: {value}" for name, value in _details(issue))
    for each in issue.affected:
        yield f"### {' x '.join(f'`{name}`' for name in each.services)}"
        yield each.effect
    if issue.workarounds:
        yield "### Workarounds"
        yield "\n".join(_item(f"{number}. ", step) for number, step in enumerate(issue.workarounds, 1))
    if issue.signatures:
        yield "### Log lines"
        yield "\n".join(f"- {_signature(pattern)}" for pattern in issue.signatures)


def _details(issue: KnownIssue) -> Iterator[tuple[str, str]]:
    if issue.id != slug(issue.title):
        yield "Id", f"`{issue.id}`"
    if issue.subject != default_subject(issue.title):
        yield "Subject", issue.subject
    if issue.versions:
        yield "Versions", issue.versions
    if issue.still_applies is not None:
        yield "Still applies", next(word for word, answer in ANSWERS.items() if answer is issue.still_applies)
    if issue.checked:
        yield "Checked", issue.checked.isoformat()
    if issue.source:
        yield "Source", issue.source
    if issue.classes:
        yield "Classes", ", ".join(f"`{name}`" for name in issue.classes)


def _item(marker: str, text: str) -> str:
    first, *others = text.split("\n")
    indented = [f"{' ' * len(marker)}{line}".rstrip() for line in others]
    return "\n".join([marker + first, *indented])


def _signature(pattern: str) -> str:
    text = patterns.as_literal(pattern)
    is_plain = text is not None and not text.startswith(("/", "`")) and not text.endswith("`")
    written = text if text is not None and is_plain else f"/{pattern}/"
    fence = "``" if "`" in written else "`"
    return f"{fence}{written}{fence}" if fence == "`" else f"{fence} {written} {fence}"
