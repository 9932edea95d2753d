"""The status report as a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from quarterdeck.schemas.lengths import duration
from quarterdeck.schemas.problems import ProblemView, Severity
from quarterdeck.schemas.report import ConfigFileView, StatusReport

_MARKS = {True: "[x]", False: "[ ] **failed**", None: "[ ]"}


def page(report: StatusReport) -> str:
    """The report in Markdown; what has nothing to say is left out."""
    parts = [
        "# Status report",
        f"{report.written_at.astimezone():%Y-%m-%d %H:%M %Z}",
        f"**Assessment:** {_text(report.assessment)}",
        *_section("Summary", _bullets(report.summary)),
        *_section("Services", _services(report)),
        *_section("Configuration landscape", [part for file in report.drift.files for part in _file(file)]),
        *_section("Declared and running", _differences(report)),
        *_section("Expected and actual", _ways(report)),
        *_section("Problems", [_problem(number, each) for number, each in enumerate(report.problems, 1)]),
        *_section("Immediate actions", [_numbered(report.actions)] if report.actions else []),
        *_section("Options", list(_choices(report))),
        *_section("Checklist", [_checklist(report)] if report.checklist else []),
        *_section("Last good state", _last_good(report)),
        *_section("Changed files", _bullets(f"`{path}`" for path in report.changed_files)),
        *_section("Documents", _documents(report)),
        *_section("Next update", [_text(report.next_update)] if report.next_update else []),
    ]
    return "\n\n".join(parts) + "\n"


def _section(title: str, parts: Iterable[str]) -> list[str]:
    listed = [part for part in parts if part]
    return [f"## {title}", *listed] if listed else []


def _bullets(lines: Iterable[str]) -> list[str]:
    text = "\n".join(f"- {line}" for line in lines)
    return [text] if text else []


def _services(report: StatusReport) -> list[str]:
    if not report.services:
        return []
    rows = [
        [service.name, service.kind, service.address, service.state,
         duration(service.uptime_seconds) if service.uptime_seconds is not None else "", service.detail]
        for service in report.services
    ]  # fmt: skip
    return [_table(["Service", "Kind", "Address", "State", "Up for", "Detail"], rows)]


def _file(file: ConfigFileView) -> Iterator[str]:
    yield f"### `{file.path}`"
    lines = [
        f"{file.kind}, {file.size_bytes} bytes, {file.lines} lines",
        f"Models ({len(file.models)}): {', '.join(map(_text, file.models))}" if file.models else "",
        f"Purpose: {_text(file.purpose)}" if file.purpose else "",
        f"State: {', '.join(file.states)}" if file.states else "",
        f"Used by: {', '.join(file.users)}" if file.users else "",
        f"Git: {_text(file.git)}" if file.git else "",
        *(f"Fault: {_text(fault)}" for fault in file.faults),
    ]
    yield from _bullets(line for line in lines if line)


def _differences(report: StatusReport) -> list[str]:
    rows = [[each.severity, each.subject, each.what, each.declared, each.running] for each in report.drift.differences]
    return [_table(["Severity", "Where", "What", "Declared", "Running"], rows)] if rows else []


def _ways(report: StatusReport) -> list[str]:
    expected = ["Expected:", *_bullets(map(_text, report.expected))] if report.expected else []
    return [*expected, *(["Actual:", *_bullets(map(_text, report.actual))] if report.actual else [])]


def _problem(number: int, problem: ProblemView) -> str:
    lines = [f"### {number}. {Severity(problem.severity).upper()}: {_text(problem.title)}", "", _text(problem.why)]
    lines += [f"\n> line {each.line}: {_text(each.text)}" if each.line else f"\n> {_text(each.text)}"
              for each in problem.evidence]  # fmt: skip
    ways = [fix.title for fix in problem.fixes] or [problem.hint]
    lines += ["", *(f"- {_text(way)}" for way in ways if way), *(f"- `{command}`" for command in problem.commands)]
    return "\n".join(lines).rstrip()


def _numbered(lines: Iterable[str]) -> str:
    return "\n".join(f"{number}. {_text(line)}" for number, line in enumerate(lines, 1))


def _choices(report: StatusReport) -> Iterator[str]:
    for question in dict.fromkeys(choice.question for choice in report.choices):
        yield f"### {question}"
        for choice in report.choices:
            if choice.question == question:
                words = [choice.title]
                words += [f"{name}: {text}" for name, text in (("for", choice.pro), ("against", choice.con),
                                                              ("when", choice.when)) if text]  # fmt: skip
                yield f"- **{words[0]}** — {' '.join(words[1:])}"


def _checklist(report: StatusReport) -> str:
    lines = []
    for item in report.checklist:
        when = f" ({item.checked_at.astimezone():%H:%M})" if item.checked_at else " (not checked)"
        lines.append(f"- {_MARKS[item.passed]} {item.title}{when}{f': {_text(item.detail)}' if item.detail else ''}")
    return "\n".join(lines)


def _last_good(report: StatusReport) -> list[str]:
    lines = []
    if report.version:
        lines.append(f"Quarterdeck {report.version}")
    if report.last_good_at is not None:
        lines.append(f"The last load that worked: {report.last_good_at.astimezone():%Y-%m-%d %H:%M %Z}")
    if report.working_models:
        lines.append(f"Models that work: {', '.join(map(_text, report.working_models))}")
    return _bullets(lines)


def _documents(report: StatusReport) -> list[str]:
    return _bullets(
        f"`{each.path}`: {'current' if each.current else 'outdated'} ({each.modified_at.astimezone():%Y-%m-%d})"
        for each in report.documents
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return _text(text).replace("|", "\\|")


def _text(text: str) -> str:
    """In one line, without signs that a page would take for its own."""
    line = " ".join(text.split())
    for sign in "\\`*_<>[]":
        line = line.replace(sign, "\\" + sign)
    return line
