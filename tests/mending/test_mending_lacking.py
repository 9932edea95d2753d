"""Models that lack something, and clients who miss it; what a new load ends is over."""

from __future__ import annotations

from typing import Any

from fake_engine import FakeEngine
from mender import Mender
from scripted_core import ScriptedCore

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


def ask(core: ScriptedCore, name: str, **fields: Any) -> int:
    body = {"model": name, "messages": [{"role": "user", "content": "Hello"}], **fields}
    return core.http.post("/v1/chat/completions", json=body).status_code


def load(core: ScriptedCore, name: str) -> None:
    core.http.post("/api/orchestrate/unload", json={})
    core.http.post("/api/orchestrate/load", json={"model_name": name}).raise_for_status()


def subjects(core: ScriptedCore) -> set[str]:
    return {each["subject"] for each in core.http.get("/api/problems").json()}


def test_clients_whose_tools_were_left_out_are_told_of_until_the_model_is_loaded_anew(
    core: ScriptedCore, mender: Mender
) -> None:
    name = core.add()
    core.http.patch(f"/api/models/{name}/config", json={"capabilities": ["chat"]}).raise_for_status()
    load(core, name)
    assert ask(core, name) == 200
    assert f"model:{name}" not in subjects(core)
    assert ask(core, name, tools=[TOOL]) == 200
    assert ask(core, name, tools=[TOOL], tool_choice="required") == 409
    problem = mender.problem(f"model:{name}")
    assert (problem["severity"], problem["failure_class"], problem["times"]) == ("low", "tool_calling_not_enabled", 2)
    assert problem["hint"]
    load(core, name)
    assert f"model:{name}" not in subjects(core)


def test_a_failed_request_is_over_when_its_model_is_loaded_anew(core: ScriptedCore, engine: FakeEngine) -> None:
    name = core.add()
    load(core, name)
    engine.mode = "400"
    engine.refusal = (
        b'{"error":{"code":400,"message":"request (9000 tokens) exceeds the available context size (8192 tokens), try '
        b'increasing it","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":8192}}'
    )
    assert ask(core, name) == 400
    assert f"model:{name}" in subjects(core)
    load(core, name)
    assert f"model:{name}" not in subjects(core)
