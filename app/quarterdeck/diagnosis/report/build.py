"""Puts the status report together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from quarterdeck.diagnosis.drift.facts import Facts, Running, ServerFact
from quarterdeck.diagnosis.drift.files import ConfigFile
from quarterdeck.diagnosis.report.checklist import GATEWAY
from quarterdeck.schemas.problems import ProblemView, Severity
from quarterdeck.schemas.report import (
    CheckItem,
    Choice,
    DocumentLine,
    DriftReport,
    FileState,
    ServiceLine,
    StatusReport,
)

_MOST_DOCUMENTS = 20
_MOST_ACTIONS = 8
_MOST_FAILED = 5
_MOST_MODELS = 5
_GRAVE = (Severity.CRITICAL, Severity.HIGH)


def build(
    facts: Facts,
    files: Sequence[ConfigFile],
    drift: DriftReport,
    problems: Sequence[ProblemView],
    *,
    checklist: Sequence[CheckItem],
    documents: Sequence[DocumentLine],
) -> StatusReport:
    """The report, but for its Markdown."""
    loads = [model for model in facts.models if model.last_loaded is not None]
    return StatusReport(
        written_at=facts.at,
        assessment=_assessment(facts, problems),
        summary=list(_summary(facts, drift, problems)),
        services=[_service(server) for server in facts.servers],
        drift=drift,
        problems=list(problems),
        actions=_actions(problems),
        checklist=list(checklist),
        working_models=[model.name for model in facts.models if model.status == "compatible"],
        last_good_at=max((model.last_loaded for model in loads if model.last_loaded), default=None),
        expected=list(_expected(files)),
        actual=list(_actual(facts, files)),
        choices=list(_choices(drift)),
        changed_files=[str(file.path) for file in files if file.git.uncommitted],
        documents=list(documents),
        next_update=_next_update(problems, checklist),
        version=facts.version,
    )


def documents_beside(files: Sequence[ConfigFile]) -> list[DocumentLine]:
    """Pages about the status beside the configurations and at the head of their repositories (blocking)."""
    folders = {file.path.parent for file in files} | {file.git.root for file in files if file.git.root}
    found: list[tuple[float, Path]] = []
    for folder in folders:
        try:
            found += [(path.stat().st_mtime, path) for path in folder.glob("*.md") if _is_status(path)]
        except OSError:
            continue
    found.sort(reverse=True)
    return [
        DocumentLine(path=str(path), modified_at=datetime.fromtimestamp(time, UTC), current=place == 0)
        for place, (time, path) in enumerate(found[:_MOST_DOCUMENTS])
    ]


def _is_status(path: Path) -> bool:
    return any(word in path.stem.lower() for word in ("status", "summary"))


def _assessment(facts: Facts, problems: Sequence[ProblemView]) -> str:
    down = [server.title for server in facts.servers if server.state is Running.DOWN and server.startable]
    defect = [server.title for server in facts.servers if server.state is Running.DEFECT]
    critical = [each for each in problems if each.severity is Severity.CRITICAL]
    parts = []
    if down:
        parts.append(f"{' and '.join(down)} {'is' if len(down) == 1 else 'are'} down")
    if critical:
        parts.append(critical[0].title)
    elif defect:
        parts.append(f"{' and '.join(defect)} runs with a defect")
    if any(each.source == "drift" and each.severity is Severity.HIGH for each in problems):
        parts.append("configurations do not agree with what runs")
    if parts:
        text = "; ".join(parts)
        # Names such as vLLM are written as they are.
        return f"{text[:1].upper()}{text[1:]}." if text.split()[0].islower() else f"{text}."
    if any(each.severity in _GRAVE for each in problems):
        return "Everything runs, with problems."
    if lesser := sum(each.severity is Severity.MEDIUM for each in problems):
        return f"Nothing grave, but {lesser} smaller {'problem' if lesser == 1 else 'problems'}."
    return "Everything that is known runs as declared." if facts.servers else "No server is known yet."


def _summary(facts: Facts, drift: DriftReport, problems: Sequence[ProblemView]) -> Iterator[str]:
    states = Counter(server.state for server in facts.servers)
    if states:
        yield "Services: " + ", ".join(f"{count} {state}" for state, count in states.items()) + "."
    used = [file for file in drift.files if FileState.ACTIVE in file.states]
    idle = [file for file in drift.files if FileState.NOT_DEPLOYED in file.states]
    if drift.files:
        yield f"Configurations: {len(drift.files)} known, {len(used)} used, {len(idle)} used by nothing."
    if drift.differences:
        count = len(drift.differences)
        yield f"Declared and running differ in {count} {'point' if count == 1 else 'points'}."
    told = {each.subject: each.title for each in reversed(problems) if each.source == "attempt"}
    for model in [model for model in facts.models if model.failures][:_MOST_FAILED]:
        title = told.get(f"model:{model.name}", f"“{model.name}” did not load")
        yield f"{title} ({len(model.failures)}×)."
    severities = Counter(each.severity for each in problems)
    if severities:
        yield "Problems: " + ", ".join(f"{severities[each]} {each}" for each in Severity if severities[each]) + "."


def _service(server: ServerFact) -> ServiceLine:
    detail = " ".join(part for part in (server.detail, server.last_error) if part)
    if server.models and not detail:
        detail = f"{', '.join(server.ids[:_MOST_MODELS])}."
    if any(model.tools is False for model in server.models):
        detail = f"{detail} It takes no tool calls."
    if server.unit and server.unit not in detail:
        detail = f"{server.unit}. {detail}".strip()
    if server.config:
        detail = f"{detail} Configuration: {server.config}.".strip()
    if server.state is Running.UNKNOWN:
        detail = detail or "Not validated in this session."
    return ServiceLine(
        name=server.name, kind=server.kind, address=server.address, state=server.state.value, detail=detail,
        uptime_seconds=server.uptime_s if server.up else None,
    )  # fmt: skip


def _actions(problems: Sequence[ProblemView]) -> list[str]:
    found = []
    for each in problems:
        if each.severity in _GRAVE:
            way = each.fixes[0].title if each.fixes else each.hint
            if way:
                found.append(f"{way.rstrip('.')} — {each.title}.")
    return list(dict.fromkeys(found))[:_MOST_ACTIONS]


def _expected(files: Sequence[ConfigFile]) -> Iterator[str]:
    """The ways of requests as the widest configuration has them."""
    gateways = [file for file in files if file.gateway and file.gateway.entries]
    if not gateways:
        return
    widest = max(gateways, key=lambda file: len(file.gateway.names) if file.gateway else 0)
    assert widest.gateway is not None
    for entry in widest.gateway.entries:
        yield f"{entry.name} → {widest.path.name} → {entry.target}{f' at {entry.address}' if entry.address else ''}"


def _actual(facts: Facts, files: Sequence[ConfigFile]) -> Iterator[str]:
    for server in facts.servers:
        if server.kind != GATEWAY:
            continue
        own = next((file for file in files if server.name in file.fact.users), None)
        where = own.path.name if own else "a configuration that is not known"
        if not server.up:
            yield f"{server.name} with {where}: {server.state}, so that nothing goes through it"
        for route in server.routes if server.up else ():
            yield f"{route.name} → {server.name} with {where} → {route.target}{f' at {route.url}' if route.url else ''}"
    for file in files:
        if FileState.NOT_DEPLOYED in file.states:
            yield f"{file.path.name} is used by nothing"


def _choices(drift: DriftReport) -> Iterator[Choice]:
    used = [file for file in drift.files if FileState.ACTIVE in file.states]
    if used and any(FileState.NOT_DEPLOYED in file.states for file in drift.files):
        question = "Several configurations of one gateway"
        yield Choice(question=question, title="One configuration for everything", pro="One source of truth.",
                     con="Clients with their own needs, such as failing fast, lose them.")  # fmt: skip
        yield Choice(question=question, title="Separate configurations", pro="Each fits its purpose.",
                     con="They have to be kept in step by hand, and drift apart.")  # fmt: skip
        yield Choice(question=question, title="A base with an overlay for each application",
                     pro="Flexible, and the same in everything that is not said otherwise.",
                     con="More files; the used one is made, not written.")  # fmt: skip
    if any(FileState.UNCOMMITTED in file.states for file in drift.files):
        question = "A change that is not committed"
        yield Choice(question=question, title="Commit it", when="The models that it adds run.")
        yield Choice(question=question, title="Go back to the last commit", when="It is not used.")
        yield Choice(question=question, title="Set it aside", when="Something else is to be tried first.")


def _next_update(problems: Sequence[ProblemView], checklist: Sequence[CheckItem]) -> str:
    if any(each.severity in _GRAVE for each in problems):
        return "After the actions above, when the checklist was run."
    if any(item.passed is None for item in checklist):
        return "When the rest of the checklist was run."
    return "At the next change of a configuration or a server."
