"""What is declared against what runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from quarterdeck.diagnosis.drift import layers
from quarterdeck.diagnosis.drift.facts import Facts, ModelFact, ServedModel, ServerFact, place
from quarterdeck.diagnosis.drift.files import ConfigFile
from quarterdeck.diagnosis.drift.gateway import Entry
from quarterdeck.schemas.problems import Severity
from quarterdeck.schemas.report import Difference, FileState

TOOLS = "tool calling"
SERVED_NAME = "model id"
ADDRESS = "server behind it"
CONTEXT = "context length"
MODELS = "models of the gateway"
VERSION = "version of the file"
VARIABLE = "environment variable"
ARGUMENTS = "arguments"
DEPLOYED = "deployed models"
_HIDDEN = "…"


def differences(facts: Facts, files: Sequence[ConfigFile]) -> list[Difference]:
    """Every point in which they disagree, the worst first."""
    found = [
        *(each for file in files if file.gateway and file.active for each in _active(file, facts)),
        *_undeployed(files),
        *(each for server in facts.servers for each in _process(server)),
        *(each for model in facts.models for each in _model(model)),
    ]
    unique = list({(each.subject, each.what, each.declared): each for each in found}.values())
    order = list(Severity)
    return sorted(unique, key=lambda each: order.index(Severity(each.severity)))


def _active(file: ConfigFile, facts: Facts) -> Iterator[Difference]:
    assert file.gateway is not None
    for entry in file.gateway.entries:
        yield from _entry(file, entry, facts)
    for server in (facts.server(name) for name in file.fact.users):
        if server is None or not server.up:
            continue
        if FileState.MODIFIED in file.states and FileState.DEPLOYED not in file.states:
            yield _found(file, VERSION, "changed since", f"{server.name} runs with the earlier version", Severity.HIGH)
        yield from _listed(file, server)
        for name, line in file.gateway.environment().items():
            if server.pid is not None and server.environment and name not in server.environment:
                yield _found(
                    file, VARIABLE, f"{name} (line {line})", f"{server.name} was started without it", Severity.HIGH
                )


def _entry(file: ConfigFile, entry: Entry, facts: Facts) -> Iterator[Difference]:
    """An entry against the server that it leads to."""
    subject = f"{entry.name} (line {entry.line})"
    server = facts.server_at(entry.address) if entry.address else None
    if server is None:
        return
    if not server.up:
        severity = Severity.HIGH if server.state.value == "down" else Severity.LOW
        running = f"{server.title} is {server.state}"
        yield _stood_in(file, entry, facts,
                        _found(file, ADDRESS, f"{subject} at {entry.address}", running, severity))  # fmt: skip
        return
    if entry.served_id and server.models and "*" not in entry.served_id:
        served = _served(server, entry.served_id)
        if served is None:
            offered = ", ".join(server.ids[:5])
            found = _found(file, SERVED_NAME, f"{subject}: {entry.served_id}", f"{server.name} offers {offered}",
                           Severity.HIGH)  # fmt: skip
            yield _stood_in(file, entry, facts, found)
            return
        if entry.tools and served.tools is False:
            yield _found(file, TOOLS, f"{subject} says it can", refusal(server, served), Severity.CRITICAL)
        if entry.context and served.context_length and entry.context > served.context_length:
            yield _found(file, CONTEXT, f"{subject}: {entry.context:,} tokens",
                         f"{server.name} runs with {served.context_length:,}", Severity.MEDIUM)  # fmt: skip


def refusal(server: ServerFact, model: ServedModel) -> str:
    """Why the server takes no tool calls, in words that begin with its name."""
    return f"{server.name} {f'refuses: {model.tools_error}' if model.tools_error else 'runs without tool calling'}"


def _stood_in(file: ConfigFile, entry: Entry, facts: Facts, found: Difference) -> Difference:
    """The same, but hardly a problem, where another model is meant to answer instead and can."""
    assert file.gateway is not None
    names = file.gateway.stand_ins(entry.name)
    able = next((each.name for each in file.gateway.entries if each.name in names and _answers(each, facts)), None)
    if able is None:
        return found
    return found.model_copy(update={"running": f"{found.running}; {able} answers instead", "severity": Severity.LOW})


def _answers(entry: Entry, facts: Facts) -> bool:
    server = facts.server_at(entry.address) if entry.address else None
    return server is not None and server.up and _served(server, entry.served_id) is not None


def _served(server: ServerFact, id: str) -> ServedModel | None:
    wanted = {id, f"{id}:latest"}
    return next((model for model in server.models if model.id in wanted), None)


def _listed(file: ConfigFile, gateway: ServerFact) -> Iterator[Difference]:
    """The gateway's own list against that of its file."""
    assert file.gateway is not None
    if FileState.MODIFIED in file.states and FileState.DEPLOYED not in file.states:
        return  # Said already: it runs with the earlier version.
    names = [name for name in file.gateway.names if name and "*" not in name]
    running = {*gateway.ids, *(route.name for route in gateway.routes)}
    missing = [name for name in names if name not in running]
    if running and missing:
        yield _found(file, MODELS, ", ".join(missing), f"{gateway.name} does not list them", Severity.HIGH)
    targets = {route.name: route for route in gateway.routes}
    for entry in file.gateway.entries:
        route = targets.get(entry.name)
        if route is None or sum(each.name == entry.name for each in file.gateway.entries) > 1:
            continue
        elsewhere = bool(route.url and entry.url) and place(route.url) != place(entry.url)
        if elsewhere or (route.target and entry.target and route.target != entry.target):
            yield _found(
                file, MODELS, f"{entry.name} (line {entry.line}): {entry.target} {entry.url}".rstrip(),
                f"{gateway.name} sends it to {route.target} {route.url}".rstrip(), Severity.HIGH,
            )  # fmt: skip


def _undeployed(files: Sequence[ConfigFile]) -> Iterator[Difference]:
    """Configurations that no gateway uses, beside one that is used."""
    active = [file for file in files if file.gateway and file.active and file.usable]
    for file in files:
        if file.gateway is None or FileState.NOT_DEPLOYED not in file.states or not active:
            continue
        if all(str(each.path) in layers.separate_from(file.text) for each in active):
            continue
        there = {name for each in active if each.gateway for name in each.gateway.names}
        lacking = [name for name in file.gateway.names if name not in there]
        words = ", ".join(lacking) if lacking else "the same names, set otherwise"
        yield _found(file, DEPLOYED, words, f"{' and '.join(str(each.path) for each in active)} is used instead",
                     Severity.HIGH)  # fmt: skip


def _process(server: ServerFact) -> Iterator[Difference]:
    """The process against the unit or the settings that start it."""
    if not server.up:
        return
    declared, running = _options(server.declared_arguments), _options(server.arguments)
    if server.declared_arguments and server.arguments:
        for name in sorted(declared.keys() | running.keys()):
            if declared.get(name) != running.get(name):
                yield Difference(
                    subject=server.name,
                    what=ARGUMENTS,
                    declared=_option(name, declared),
                    running=_option(name, running),
                    severity=Severity.MEDIUM,
                )
    for name, value in server.declared_environment.items():
        now = server.environment.get(name)
        if server.environment and now != value and _HIDDEN not in (now, value):
            yield Difference(
                subject=server.name, what=VARIABLE, declared=f"{name}={value}",
                running=f"{name}={now}" if now is not None else f"{name} is not set", severity=Severity.MEDIUM,
            )  # fmt: skip


def _options(arguments: Sequence[str]) -> Mapping[str, str]:
    """The options of a command line by name; several values of one are put together."""
    found: dict[str, str] = {}
    name = ""
    for argument in arguments:
        if argument.startswith("-") and not _is_number(argument):
            name, equals, value = argument.partition("=")
            found[name] = value if equals else ""
        elif name:
            found[name] = f"{found[name]} {argument}".strip()
    return found


def _option(name: str, options: Mapping[str, str]) -> str:
    return f"{name} {options[name]}".rstrip() if name in options else f"without {name}"


def _is_number(text: str) -> bool:
    return text[1:].replace(".", "", 1).isdigit()


def _model(model: ModelFact) -> Iterator[Difference]:
    """A loaded model against what the registry says of it."""
    if not model.loaded:
        return
    if model.declared_context and model.running_context and model.declared_context != model.running_context:
        yield Difference(
            subject=model.name, what=CONTEXT, declared=f"{model.declared_context:,} tokens",
            running=f"{model.running_context:,} tokens", severity=Severity.MEDIUM,
        )  # fmt: skip
    if "tools" in model.capabilities and model.tools is False:
        yield Difference(
            subject=model.name, what=TOOLS, declared="it can call tools", running="its engine refuses tool calls",
            severity=Severity.CRITICAL,
        )  # fmt: skip


def _found(file: ConfigFile, what: str, declared: str, running: str, severity: Severity) -> Difference:
    return Difference(subject=str(file.path), what=what, declared=declared, running=running, severity=severity)
