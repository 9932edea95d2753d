"""`/api/routing`: rules that are kept and checked, and the tester."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from scripted_core import ScriptedCore

RULES: dict[str, Any] = {
    "capabilities": [{"name": "code", "models": ["ghost", "Router-A"]}],
    "patterns": [{"pattern": "gpt-.*", "model": "Router-B"}],
    "balance": [],
    "fallbacks": [{"model": "Router-A", "error": ["Router-B"], "context_window": [], "content": []}],
}


@pytest.fixture
def routed(core: ScriptedCore) -> Iterator[ScriptedCore]:
    for name in ("Router-A", "Router-B"):
        if core.http.get(f"/api/models/{name}").status_code == 404:
            core.add(name)
    yield core
    put(core, {}).raise_for_status()


def put(core: ScriptedCore, rules: dict[str, Any]) -> httpx.Response:
    return core.http.put("/api/routing", json=rules)


def ask(core: ScriptedCore, model: str, **question: Any) -> dict[str, Any]:
    answer = core.http.post("/api/routing/test", json={"model": model, **question})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_rules_are_kept_with_what_is_doubtful(routed: ScriptedCore) -> None:
    assert routed.http.get("/api/routing").json() == {
        "rules": {"capabilities": [], "patterns": [], "balance": [], "fallbacks": []},
        "problems": [],
        "default_model": "",
    }
    answer = put(routed, RULES)
    assert (answer.status_code, answer.json()["rules"]) == (200, RULES)
    assert [each["where"] for each in answer.json()["problems"]] == ["capabilities[0].models[0]"]
    assert routed.http.get("/api/routing").json() == answer.json()


@pytest.mark.parametrize(
    ("rules", "status", "code"),
    [
        ({"patterns": [{"pattern": "(", "model": "Router-A"}]}, 400, "bad_rules"),
        ({"fallbacks": [{"model": "Router-A", "error": ["router-a"]}]}, 400, "bad_rules"),
        ({"balance": [{"name": "x", "models": [{"model": "Router-A", "weight": 0}]}]}, 400, "bad_request"),
        ({"capabilities": [{"name": "x", "models": []}]}, 400, "bad_request"),
        ({"surprise": []}, 400, "bad_request"),
    ],
)
def test_bad_rules_are_refused_and_change_nothing(
    routed: ScriptedCore, rules: dict[str, Any], status: int, code: str
) -> None:
    put(routed, RULES).raise_for_status()
    answer = put(routed, rules)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["detail"]
    assert routed.http.get("/api/routing").json()["rules"] == RULES


def test_the_tester_says_which_rule_wins(routed: ScriptedCore) -> None:
    put(routed, RULES).raise_for_status()
    assert [(step["rule"], step["fits"]) for step in ask(routed, "gpt-4o")["steps"]] == [
        ("exact", False), ("alias", False), ("capability", False), ("pattern", True),
    ]  # fmt: skip
    found = ask(routed, "code")
    assert (found["rule"], found["model"], found["backend"]) == ("capability", "Router-A", "embedded")
    down = ask(routed, "router-a", down=["Router-A"])
    assert (down["rule"], down["model"], down["tried"]) == ("fallback", "Router-B", ["Router-B"])
    nothing = ask(routed, "router-a", down=["embedded"])
    assert nothing["model"] is None
    assert nothing["problem"]


def test_the_tester_loads_nothing(routed: ScriptedCore) -> None:
    before = list(routed.backend.loads)
    ask(routed, "Router-A")
    assert routed.backend.loads == before


def test_the_tester_says_what_a_model_lacks(routed: ScriptedCore) -> None:
    found = ask(routed, "Router-A", needs=["vision"])
    assert (found["model"], found["problem"]) == (None, "“Router-A” cannot read pictures.")
    answer = routed.http.post("/api/routing/test", json={"model": "Router-A", "needs": ["x"]})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
