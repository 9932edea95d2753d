"""What of the drift is a problem, with the changes that end it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from pydantic import JsonValue

from quarterdeck.diagnosis.drift import compare, layers
from quarterdeck.diagnosis.drift.facts import Facts, ModelFact, Running, ServerFact, place
from quarterdeck.diagnosis.drift.files import ConfigFile
from quarterdeck.diagnosis.drift.git import GitState
from quarterdeck.diagnosis.drift.plans import Way
from quarterdeck.diagnosis.matcher import diagnose_log
from quarterdeck.diagnosis.titles import continued
from quarterdeck.schemas.backends import OwnerKind
from quarterdeck.schemas.diagnosis import Evidence
from quarterdeck.schemas.problems import Fix, FixKind, ProblemView, Severity
from quarterdeck.schemas.report import Difference, FileState

SOURCE = "drift"
DOWN_CLASS = "connection_refused"
TOOLS_CLASS = "tool_calling_not_enabled"
_MOST_EVIDENCE = 3
_REFUSED = "A tool call was refused."
_NOT_ASKED = "It was started without its options for tool calling."


def problems(facts: Facts, files: Sequence[ConfigFile], found: Sequence[Difference]) -> list[ProblemView]:
    """The problems, the worst first; every id stays the same while the problem does."""
    listed = [
        *_stopped(facts),
        *_tools(facts, found),
        *(each for file in files for each in _of_file(file)),
        *_not_deployed(files),
        *_others(found, facts, files),
    ]
    order = list(Severity)
    return sorted(listed, key=lambda each: order.index(each.severity))


def _stopped(facts: Facts) -> Iterator[ProblemView]:
    """Servers that somebody set up as a service, and that do not run."""
    for server in facts.servers:
        if server.state is not Running.DOWN or not server.startable:
            continue
        start = Fix(
            id="start", kind=FixKind.START_SERVER, title=f"Start {server.title}", target=server.name, undoable=False
        )
        problem = ProblemView(
            id=f"drift:stopped:{server.name}",
            severity=Severity.HIGH,
            source=SOURCE,
            subject=f"server:{server.name}",
            title=f"{server.title} is down",
            why=f"{server.detail or 'It does not run.'} {server.last_error}".strip(),
            hint="Start it; what it was started with stays as it is.",
            failure_class=DOWN_CLASS,
            fixes=[start],
            commands=[f"systemctl --user start {server.unit}"] if server.unit.endswith(".service") else [],
        )
        _explain(problem, server)
        yield problem


def _explain(problem: ProblemView, server: ServerFact) -> None:
    """Why a server ended, where its last words tell it."""
    told = diagnose_log(server.last_words, server.kind)
    if told.kind != "failure" or told.failure_class is None:
        return
    problem.title = f"{server.title} does not run: {continued(told.title)}"
    problem.why, problem.failure_class, problem.evidence = told.why, told.failure_class, told.evidence
    problem.hint = "Mend that, then start it."
    problem.known_issue = told.known_issue
    problem.advice = [remedy.title for remedy in told.remedies]


def _tools(facts: Facts, found: Sequence[Difference]) -> Iterator[ProblemView]:
    """One problem for each server that refuses tool calls, though some file or the registry says that it can."""
    for server in facts.servers:
        refused = next((model for model in server.models if model.tools is False), None)
        if refused is None or not _is_declared(server, refused.id, facts, found):
            continue
        model = _model_at(facts, server, refused.id)
        flags = (model.tool_flags if model else {}) or refused.tool_flags
        fixes = []
        ours = model is not None and model.loaded and server.owner == OwnerKind.QUARTERDECK
        if model is not None and ours and flags:
            patch: dict[str, JsonValue] = {name: _json(value) for name, value in flags.items()}
            title = f"Turn tool calling on (parser “{flags.get('tool_call_parser')}”)"
            fixes = [
                Fix(id="tool-flags", kind=FixKind.LOAD_CONFIG, title=title, target=model.name, patch=patch,
                    retries=True)
            ]  # fmt: skip
        yield ProblemView(
            id=f"drift:tools:{server.name}:{refused.id}",
            severity=Severity.CRITICAL,
            source=SOURCE,
            subject=f"model:{model.name}" if model is not None and ours else f"server:{server.name}",
            title=f"{server.title} cannot call tools, though its clients are told that it can",
            why=f"{_REFUSED if refused.tools_error else _NOT_ASKED} Every request with tools fails or loses them, and "
            "clients that try again may give up for good.",
            hint="Restart the server with its two options for tool calling.",
            failure_class=TOOLS_CLASS,
            evidence=[Evidence(line=0, text=refused.tools_error)] if refused.tools_error else [],
            commands=[_command(server, flags)] if server.arguments and flags and not fixes else [],
            fixes=fixes,
        )


def _is_declared(server: ServerFact, id: str, facts: Facts, found: Sequence[Difference]) -> bool:
    """Whether a file or the registry says that this model can call tools."""
    subjects = {model.name for model in facts.models if id in (model.served_name, model.name)}
    told = (each for each in found if each.what == compare.TOOLS)
    return any(each.running.startswith(f"{server.name} ") or each.subject in subjects for each in told)


def _model_at(facts: Facts, server: ServerFact, id: str) -> ModelFact | None:
    named = [model for model in facts.models if id in (model.served_name, model.name)]
    here = [model for model in named if model.url and place(model.url) == place(server.address)]
    return next(iter(here), None) or next((model for model in named if model.loaded), None)


def _command(server: ServerFact, flags: Mapping[str, object]) -> str:
    added: list[str] = []
    for name, value in flags.items():
        added += [f"--{name.replace('_', '-')}"] if value is True else [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join([*server.arguments, *added])


def _of_file(file: ConfigFile) -> Iterator[ProblemView]:
    subject = f"file:{file.path}"
    errors = [fault for fault in file.faults if fault.level == "error"]
    if file.faults:
        worst = errors or file.faults
        weight = Severity.LOW if not errors else Severity.HIGH if file.active else Severity.MEDIUM
        yield ProblemView(
            id=f"drift:faults:{file.path}",
            severity=weight,
            source=SOURCE,
            subject=subject,
            title=f"{file.path.name} has {_count(len(file.faults), 'fault')}",
            why=worst[0].sentence,
            hint=worst[0].hint,
            evidence=[Evidence(line=each.line, text=_line(file, each.line)) for each in worst[:_MOST_EVIDENCE]],
            advice=[f"{text[:1].upper()}{text[1:]}" for text in map(str, file.faults) if text != str(worst[0])],
        )
    if FileState.STALE in file.states:
        made = layers.made_from(file.text) is not None
        yield ProblemView(
            id=f"drift:stale:{file.path}",
            severity=Severity.MEDIUM,
            source=SOURCE,
            subject=subject,
            title=f"{file.path.name} is older than what it is made from",
            why="Its sources have changed since it was made, and the gateway does not know of it.",
            hint="Make it again." if made else "Run what generates it again.",
            fixes=[_config(Way.MAKE_AGAIN, file, None, "Make it again")] if made else [],
        )
    if file.active and FileState.MODIFIED in file.states and FileState.DEPLOYED not in file.states and file.usable:
        yield ProblemView(
            id=f"drift:reload:{file.path}",
            severity=Severity.HIGH,
            source=SOURCE,
            subject=subject,
            title=f"Changes in {file.path.name} are not in use yet",
            why=f"{_capital(file.used_by)} was started before the file was changed.",
            hint="Restart it, so that it reads the file again.",
            fixes=[_config(Way.RELOAD, file, None, "Restart with the file as it is")],
        )
    if file.git.uncommitted:
        yield _uncommitted(file)


def _uncommitted(file: ConfigFile) -> ProblemView:
    ways = [("commit", "Commit it", "when the change is in use, or will be")]
    if file.git.state is not GitState.UNTRACKED:
        ways += [
            ("revert", "Go back to the last commit", "when the change is not wanted"),
            ("stash", "Set the change aside", "when something else is to be tried first"),
        ]
    told = f"Since the last commit – {file.since_commit}." if file.since_commit else ""
    return ProblemView(
        id=f"drift:uncommitted:{file.path}",
        severity=Severity.LOW,
        source=SOURCE,
        subject=f"file:{file.path}",
        title=f"{file.path.name} is not committed",
        why=f"{told} Git has no copy of the file as it is now, so that nobody can go back to it.".strip(),
        hint="" if len(ways) > 1 else "Commit it, if it is to stay.",
        advice=[f"{title}, {when}." for _, title, when in ways] if len(ways) > 1 else [],
        since=datetime.fromtimestamp(file.modified_at, UTC) if file.modified_at is not None else None,
        fixes=[
            Fix(id=way, kind=FixKind.GIT, title=title, target=str(file.path), patch={"action": way})
            for way, title, _ in ways
        ],
    )


def _not_deployed(files: Sequence[ConfigFile]) -> Iterator[ProblemView]:
    active = [file for file in files if file.gateway and file.active and file.usable]
    for file in files:
        if file.gateway is None or FileState.NOT_DEPLOYED not in file.states or not file.usable:
            continue
        for used in active:
            if str(used.path) in layers.separate_from(file.text):
                continue
            then = f", and start {used.used_by}" if used.rests else ""
            yield ProblemView(
                id=f"drift:undeployed:{used.path}:{file.path}",
                severity=Severity.HIGH,
                source=SOURCE,
                subject=f"file:{file.path}",
                title=f"{file.path.name} is used by nothing",
                why=f"{_capital(used.used_by)} uses {used.path}. Whatever is changed in "
                f"{file.path.name} has no effect.",
                hint="Merge the two, make one from the other as its base, or keep them apart on purpose.",
                fixes=[
                    _config(Way.LAYERED, used, file, f"Use it as the base, with an overlay{then}"),
                    _config(Way.MERGE, used, file, f"Merge it into {used.path.name}{then}"),
                    _config(Way.SEPARATE, used, file, "Keep both, on purpose"),
                ],
            )


def _others(found: Sequence[Difference], facts: Facts, files: Sequence[ConfigFile]) -> Iterator[ProblemView]:
    """Differences for which there is no button; they are told with what to do."""
    hints = {
        compare.SERVED_NAME: "Write the id that the server offers into the file, or start the server under that id.",
        compare.ADDRESS: "Start the server, or correct the address.",
        compare.CONTEXT: "Correct the declared length, or start the server with the one that is needed.",
        compare.VARIABLE: "Set the variable where the server is started, and restart it.",
        compare.ARGUMENTS: "Restart it, so that it runs as declared.",
        compare.MODELS: "Restart the gateway; if that does not help, look at its log.",
    }
    kinds = {model.name: "model" for model in facts.models} | {str(file.path): "file" for file in files}
    for each in found:
        if each.what not in hints:
            continue
        yield ProblemView(
            id=f"drift:{each.what}:{each.subject}:{each.declared}",
            severity=Severity(each.severity),
            source=SOURCE,
            subject=f"{kinds.get(each.subject, 'server')}:{each.subject}",
            title=f"{each.what[:1].upper()}{each.what[1:]}: declared and running differ",
            why=f"Declared: {each.declared}. Running: {each.running}.",
            hint=hints[each.what],
        )


def _config(way: Way, used: ConfigFile, other: ConfigFile | None, title: str) -> Fix:
    patch: dict[str, JsonValue] = {"action": way.value}
    if other is not None:
        patch["file"] = str(other.path)
    return Fix(id=way.value.replace(" ", "-"), kind=FixKind.CONFIG_FILE, title=title, target=str(used.path),
               patch=patch)  # fmt: skip


def _capital(text: str) -> str:
    """The beginning of a sentence; a name stays as it is."""
    return f"T{text[1:]}" if text.startswith("the ") else text


def _line(file: ConfigFile, number: int) -> str:
    lines = file.text.splitlines()
    return lines[number - 1].strip() if 0 < number <= len(lines) else ""


def _count(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number} {what}s"


def _json(value: object) -> JsonValue:
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
