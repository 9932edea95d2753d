"""Requests that follow the rules: shared, by pattern, to a stand-in, or refused because no model could answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fake_backend import Act
from fake_engine import PLAIN
from scripted_core import ScriptedCore

CHAT = "/v1/chat/completions"


def ask(core: ScriptedCore, model: str, content: Any = "Say hello.", **fields: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": content}], **fields}
    return core.http.post(CHAT, json=body)


def led(answer: httpx.Response) -> tuple[int, str | None, str | None]:
    headers = answer.headers
    return answer.status_code, headers.get("x-quarterdeck-route"), headers.get("x-quarterdeck-model")


@pytest.fixture
def routed(core: ScriptedCore) -> Iterator[ScriptedCore]:
    for name in ("Fragile", "Sturdy"):
        if core.http.get(f"/api/models/{name}").status_code == 404:
            core.add(name)
    yield core
    rule(core)


def rule(core: ScriptedCore, **rules: Any) -> None:
    core.http.put("/api/routing", json=rules).raise_for_status()


def test_a_pattern_leads_to_its_model(routed: ScriptedCore) -> None:
    rule(routed, patterns=[{"pattern": "gpt-.*", "model": "Sturdy"}])
    answer = ask(routed, "gpt-4o")
    assert led(answer) == (200, "pattern", "Sturdy")
    assert ask(routed, "o3").status_code == 404


def test_requests_are_shared(routed: ScriptedCore) -> None:
    shared = [{"model": "Fragile", "weight": 1}, {"model": "Sturdy", "weight": 3}]
    rule(routed, balance=[{"name": "pool", "models": shared}])
    answers = [led(ask(routed, "pool")) for _ in range(8)]
    assert Counter(answers) == {(200, "balance", "Fragile"): 2, (200, "balance", "Sturdy"): 6}


def test_a_model_that_does_not_load_is_replaced(routed: ScriptedCore) -> None:
    routed.http.post("/api/orchestrate/unload", json={"model_name": "Fragile"})
    routed.backend.plan["Fragile"] = Act.OUT_OF_MEMORY
    assert led(ask(routed, "Fragile"))[0] == 507
    rule(routed, fallbacks=[{"model": "Fragile", "error": ["Sturdy"]}])
    answer = ask(routed, "Fragile")
    assert led(answer) == (200, "fallback", "Sturdy")
    assert answer.content == PLAIN[CHAT]


def test_a_request_that_is_wrong_is_asked_once(routed: ScriptedCore) -> None:
    rule(routed, fallbacks=[{"model": "*", "error": ["Sturdy"]}])
    picture = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    answer = ask(routed, "Fragile", picture)
    assert answer.status_code == 409
    error = answer.json()["error"]
    assert (error["code"], error["missing"], error["models"]) == ("capability_mismatch", ["vision"], [])
    routed.http.patch("/api/models/Sturdy/config", json={"capabilities": ["chat", "vision"]}).raise_for_status()
    assert ask(routed, "Fragile", picture).json()["error"]["models"] == ["Sturdy"]
    routed.http.patch("/api/models/Sturdy/config", json={"capabilities": None}).raise_for_status()


def test_a_prompt_that_is_too_long_goes_where_it_fits(routed: ScriptedCore) -> None:
    routed.http.patch("/api/models/Fragile/config", json={"load_config": {"n_ctx": 64}}).raise_for_status()
    long = "word " * 400
    refused = ask(routed, "Fragile", long)
    assert (refused.status_code, refused.json()["error"]["missing"]) == (409, ["context"])
    rule(routed, fallbacks=[{"model": "Fragile", "context_window": ["Sturdy"]}])
    assert led(ask(routed, "Fragile", long)) == (200, "fallback", "Sturdy")


def test_a_name_that_is_nearly_right_is_told(routed: ScriptedCore) -> None:
    error = ask(routed, "Sturdi").json()["error"]
    assert error["code"] == "model_not_found"
    assert "“Sturdy”" in error["message"]
