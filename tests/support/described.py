"""Tries every operation of an OpenAPI document against a running core with what it allows and what it does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import schemathesis
from malformed_room import MalformedRoom
from schemathesis.engine import events, from_schema
from schemathesis.hooks import unregister
from scripted_core import NOTHING_LISTENS

from quarterdeck.settings import Settings

ENDS_PROGRAMS = "/api/gpu/processes/{pid}/stop"
"""Left out: it ends programs of this machine."""

# Rules that a JSON schema does not say: these may refuse what their schema allows.
_STRICTER = (
    "/api/connect/test", "/api/doctor", "/api/estimate", "/api/events",
    "/api/import", "/api/keys", "/api/models", "/api/models/{name}/config",
    "/api/orchestrate/load", "/api/routing", "/api/routing/test", "/api/servers", "/api/settings",
    "/api/verify", "/v1/completions",
)  # fmt: skip
# These are also paths of what carries such a name: a model "a/config", a known issue "export".
_NAMES_TOO = r"^/api/(models|backends)/\{name\}/|^/api/servers/presets$|^/api/known-issues/export$"


class Trial(NamedTuple):
    """One request, what was sent with it, and what is wrong with its answer."""

    operation: str
    sent: str
    problem: str


class Trials:
    """`count` says how many requests were sent, `operations` which operations were tried."""

    def __init__(self, room: MalformedRoom, *, examples: int) -> None:
        self.count = 0
        self.operations: set[str] = set()
        config = schemathesis.Config.from_dict(_config(room, examples))
        document = room.core.http.get("/openapi.json").json()
        whole = schemathesis.openapi.from_dict(document, config=config)
        self._schema = whole.exclude(path=ENDS_PROGRAMS)

    def run(self) -> Iterator[Trial]:
        """Every failed check; the same ones again for the same document."""
        schemathesis.hook("before_call")(_keep_here)
        try:
            for event in from_schema(self._schema).execute():
                if isinstance(event, events.NonFatalError):
                    yield Trial(event.label, "", repr(event.value))
                if isinstance(event, events.FatalError):
                    raise event.exception
                if isinstance(event, events.ScenarioFinished):
                    yield from self._finished(event.recorder)
        finally:
            unregister(_keep_here)

    def _finished(self, recorder: Any) -> Iterator[Trial]:
        self.operations.add(recorder.label)
        self.count += len(recorder.interactions)
        for case_id, checks in recorder.checks.items():
            for check in checks:
                if check.failure_info is not None:
                    case, failure = recorder.cases[case_id].value, check.failure_info.failure
                    sent = f"{case.formatted_path} {case.query!r} {case.body!r}"[:500]
                    yield Trial(recorder.label, sent, f"{check.name}: {failure.title} {failure.message}"[:800])


def _config(room: MalformedRoom, examples: int) -> dict[str, Any]:
    own = ["2xx", "404", "409", "424", "501", "502", "503"]
    stricter = {"checks": {"positive_data_acceptance": {"enabled": False}}}
    # Yes and 1 are true, as everywhere in JSON that people write.
    loose = {"checks": {"positive_data_acceptance": {"enabled": False}, "negative_data_rejection": {"enabled": False}}}
    slashes = {"checks": {"allow_header_conformance": {"enabled": False}}}
    # A page is text, and so is whatever stands in its place.
    any_text = {"checks": {"negative_data_rejection": {"enabled": False}, **slashes["checks"]}}
    return {
        "base-url": room.core.url,
        "headers": {"Authorization": f"Bearer {room.core.thread.token}"},
        "seed": 1,
        "max-stream-events": 1,
        "continue-on-failure": True,
        "suppress-health-check": ["all"],
        "generation": {"max-examples": examples, "deterministic": True, "database": "none"},
        "phases": {"stateful": {"enabled": False}},
        "checks": {
            "positive_data_acceptance": {"expected-statuses": own},
            "not_a_server_error": {"expected-statuses": ["2xx", "4xx", 501, 502, 503, 504, 507]},
        },
        "operations": [
            {"include-path-regex": _NAMES_TOO, **slashes},
            {"include-path": "/api/known-issues/import", **any_text},
            *({"include-path": path, **stricter} for path in _STRICTER if not path.endswith("/config")),
            {"include-path": "/api/models/{name}/config", **loose, "checks": {**loose["checks"], **slashes["checks"]}},
        ],
    }


def _keep_here(_context: Any, case: schemathesis.Case, _kwargs: Any) -> None:
    """Nothing outside is asked, no setting is changed, no folder is searched."""
    body = case.body
    if not isinstance(body, dict):
        return
    if case.path in ("/api/servers", "/api/models", "/api/verify") and isinstance(body.get("url"), str):
        body["url"] = NOTHING_LISTENS
    if case.path == "/api/doctor":
        body["url"] = NOTHING_LISTENS
    if case.path == "/api/settings":
        for name in Settings.model_fields.keys() & body.keys():
            del body[name]
    if case.path == "/api/scan" and body.get("folders"):
        body["folders"] = ["nowhere"]
