"""The checklist after a change: does everything answer, lead where it should, and last."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from quarterdeck.diagnosis.drift import compare
from quarterdeck.diagnosis.drift.facts import Facts, Running, ServerFact
from quarterdeck.schemas.lengths import duration
from quarterdeck.schemas.problems import Severity
from quarterdeck.schemas.report import CheckItem, Difference

LONG_ENOUGH_S = 3600.0
GATEWAY = "litellm"
_ROUTES = (compare.SERVED_NAME, compare.ADDRESS, compare.MODELS)
_TITLES = {
    "gateway": "The gateway answers",
    "models": "Every model server lists its models",
    "routes": "Every model of the gateway leads to a server that has it",
    "tools": "Tool calls work",
    "logs": "No errors in the logs of the services",
    "uptime": "Everything has run for an hour without a crash",
}


def unchecked() -> list[CheckItem]:
    """The checklist before it was run."""
    return [CheckItem(name=name, title=title) for name, title in _TITLES.items()]


def run(facts: Facts, differences: Sequence[Difference]) -> list[CheckItem]:
    """The checklist from thorough facts; an item that cannot be told stays open, with the reason."""
    found = {
        "gateway": _gateway(facts),
        "models": _models(facts),
        "routes": _routes(facts, differences),
        "tools": _tools(facts),
        "logs": _logs(facts),
        "uptime": _uptime(facts),
    }
    return [
        CheckItem(name=name, title=title, passed=found[name][0], detail=found[name][1], checked_at=facts.at)
        for name, title in _TITLES.items()
    ]


def _gateway(facts: Facts) -> tuple[bool | None, str]:
    gateways = [server for server in facts.servers if server.kind == GATEWAY]
    if not gateways:
        if facts.own_address:
            return True, f"Quarterdeck answers at {facts.own_address}; there is no other gateway."
        return None, "No gateway is known."
    down = [server for server in gateways if not server.up]
    return not down, "; ".join(f"{server.name} is {server.state}" for server in down or gateways) + "."


def _models(facts: Facts) -> tuple[bool | None, str]:
    up = [server for server in facts.servers if server.up and server.kind and server.kind != GATEWAY]
    if not up:
        return None, "No model server runs."
    empty = [server.name for server in up if not server.models]
    if empty:
        return False, f"{', '.join(empty)}: the list is empty."
    return True, "; ".join(f"{server.name}: {', '.join(server.ids[:3])}" for server in up) + "."


def _routes(facts: Facts, differences: Iterable[Difference]) -> tuple[bool | None, str]:
    found = [each for each in differences if each.what in _ROUTES]
    wrong = [each for each in found if each.severity != Severity.LOW]
    if wrong:
        return False, " ".join(f"{each.declared}: {each.running}." for each in wrong[:3])
    gateways = [server for server in facts.servers if server.kind == GATEWAY and server.up]
    if not gateways:
        return None, "No gateway runs that could be compared with its file."
    names = ", ".join(sorted({id for server in gateways for id in server.ids}))
    return True, " ".join([f"{names}.", *(f"{each.declared}: {each.running}." for each in found[:3])])


def _tools(facts: Facts) -> tuple[bool | None, str]:
    asked = [(server, model) for server in facts.servers for model in server.models if model.tools is not None]
    refused = [f"{model.id} on {server.name}: {model.tools_error}" for server, model in asked if not model.tools]
    if refused:
        return False, " ".join(refused)
    if not asked:
        return None, "No server could be asked for a tool call."
    return True, ", ".join(model.id for _, model in asked) + "."


def _logs(facts: Facts) -> tuple[bool | None, str]:
    if not facts.log_errors:
        return None, "No log can be read here."
    wrong = [f"{name}: {line}" for name, line in facts.log_errors.items() if line]
    return (False, " ".join(wrong)) if wrong else (True, f"Looked at {', '.join(facts.log_errors)}.")


def _uptime(facts: Facts) -> tuple[bool | None, str]:
    down = [server.name for server in facts.servers if server.state is Running.DOWN and server.startable]
    if down:
        return False, f"{', '.join(down)} is down."
    known = [server for server in facts.servers if server.up and server.uptime_s is not None]
    if not known:
        return None, "It is not known since when the services run."
    youngest = min(known, key=_seconds)
    seconds = _seconds(youngest)
    if seconds >= LONG_ENOUGH_S:
        return True, f"{youngest.name}, the youngest, runs for {duration(seconds)}."
    return None, f"{youngest.name} runs for {duration(seconds)}; an hour is full at {_when(facts.at, seconds)}."


def _seconds(server: ServerFact) -> float:
    return server.uptime_s or 0.0


def _when(at: datetime, seconds: float) -> str:
    return f"{(at + timedelta(seconds=LONG_ENOUGH_S - seconds)).astimezone():%H:%M}"
