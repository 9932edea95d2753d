"""Fixes of failed loads: what they would change, what they change, whether it helped, and the way back."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from fake_backend import Act
from fake_engine import FakeEngine
from mender import Mender
from scripted_core import ScriptedCore, wait_for


def fail(core: ScriptedCore, name: str, act: Act) -> None:
    core.backend.plan[name] = act
    answer = core.http.post("/api/orchestrate/load", json={"model_name": name, "force_load": True})
    assert answer.status_code in (424, 507)
    core.until_settled()


def load(core: ScriptedCore, name: str) -> None:
    core.http.post("/api/orchestrate/load", json={"model_name": name, "force_load": True}).raise_for_status()


def loaded(core: ScriptedCore) -> list[str]:
    return [model["name"] for model in core.http.get("/api/models").json() if model["loaded"]]


def test_a_smaller_context_is_offered_shown_made_tried_and_taken_back(core: ScriptedCore, mender: Mender) -> None:
    name = core.add(load_config={"n_ctx": 8192, "n_batch": 64})
    fail(core, name, Act.OUT_OF_MEMORY)
    problem = mender.problem(f"model:{name}")
    assert problem["failure_class"] == "cuda_oom"
    assert "out of memory" in problem["evidence"][0]["text"]

    before = mender.config(name)
    preview = mender.ask("preview", problem, "load_config")
    assert preview["changes"] == [{"what": "n_ctx", "before": "8192", "after": "2048"}]
    assert name in preview["consequence"]
    assert mender.config(name) == before

    core.backend.plan.clear()
    result = mender.ask("apply", problem, "load_config")
    assert result["worked"] is True
    assert json.loads(mender.config(name)) == {"n_ctx": 2048, "n_batch": 64}
    assert loaded(core) == [name]
    assert not any(each["subject"] == f"model:{name}" for each in core.http.get("/api/problems").json())

    assert mender.undo(result["undo_id"]).status_code == 200
    assert json.loads(mender.config(name)) == json.loads(before)
    assert mender.undo(result["undo_id"]).json()["code"] == "undone_already"
    (applied,) = core.http.get("/api/fixes").json()
    assert applied["worked"] is True
    assert applied["undone_at"] is not None


def test_a_fix_that_does_not_help_says_so_and_can_be_taken_back(core: ScriptedCore, mender: Mender) -> None:
    name = core.add(load_config={"n_ctx": 8192})
    fail(core, name, Act.OUT_OF_MEMORY)
    result = mender.ask("apply", mender.problem(f"model:{name}"), "load_config")
    assert result["worked"] is False
    assert "still does not load" in result["sentence"]
    assert mender.undo(result["undo_id"]).status_code == 200
    assert json.loads(mender.config(name)) == {"n_ctx": 8192}


def test_what_was_changed_by_a_person_since_is_not_taken_back(core: ScriptedCore, mender: Mender) -> None:
    name = core.add(load_config={"n_ctx": 8192})
    fail(core, name, Act.OUT_OF_MEMORY)
    result = mender.ask("apply", mender.problem(f"model:{name}"), "load_config")
    core.http.patch(f"/api/models/{name}/config", json={"load_config": {"n_ctx": 1000}}).raise_for_status()
    answer = mender.undo(result["undo_id"])
    assert (answer.status_code, answer.json()["code"]) == (409, "changed_since")
    assert json.loads(mender.config(name)) == {"n_ctx": 1000}


def test_models_that_hold_the_memory_are_unloaded(core: ScriptedCore, mender: Mender) -> None:
    holder = core.add()
    core.http.patch(f"/api/models/{holder}/config", json={"pinned": True}).raise_for_status()
    name = core.add()
    fail(core, name, Act.OUT_OF_MEMORY)
    load(core, holder)
    problem = mender.problem(f"model:{name}")
    preview = mender.ask("preview", problem, "free_memory")
    assert preview["changes"] == [{"what": holder, "before": "loaded", "after": "unloaded"}]
    core.backend.plan.clear()
    result = mender.ask("apply", problem, "free_memory")
    assert result["worked"] is True
    assert loaded(core) == [name]
    core.http.post("/api/orchestrate/unload", json={"model_name": name}).raise_for_status()
    assert holder in mender.undo(result["undo_id"]).json()["sentence"]
    assert loaded(core) == [holder]


def test_a_load_that_takes_too_long_gets_more_time(core: ScriptedCore, mender: Mender) -> None:
    name = core.add()
    limit = core.core.preferences.current.load_timeout
    fail(core, name, Act.TIME_OUT)
    problem = mender.problem(f"model:{name}")
    assert problem["failure_class"] == "timeout_loading"
    preview = mender.ask("preview", problem, "setting")
    assert [(each["before"], each["after"]) for each in preview["changes"]] == [(str(limit), str(2 * limit))]
    core.backend.plan.clear()
    result = mender.ask("apply", problem, "setting")
    assert result["worked"] is True
    assert core.core.preferences.current.load_timeout == 2 * limit
    mender.undo(result["undo_id"]).raise_for_status()
    assert core.core.preferences.current.load_timeout == limit


def test_a_model_whose_engine_died_is_loaded_again(core: ScriptedCore, mender: Mender) -> None:
    name = core.add()
    load(core, name)
    core.backend.die(name)
    wait_for(lambda: loaded(core) == [])
    problem = mender.problem(f"model:{name}")
    assert "stopped while it ran" in problem["title"]
    assert mender.ask("preview", problem, "load")["changes"] == []
    result = mender.ask("apply", problem, "load")
    assert (result["worked"], result["undo_id"]) == (True, None)
    assert loaded(core) == [name]
    assert not any(each["subject"] == f"model:{name}" for each in core.http.get("/api/problems").json())


def test_every_model_failing_is_the_fault_of_the_machine(core: ScriptedCore, mender: Mender) -> None:
    names = [core.add() for _ in range(3)]
    for view in core.http.get("/api/models").json():
        if view["name"] not in names:
            core.http.delete(f"/api/models/{view['name']}").raise_for_status()
    for name in names:
        fail(core, name, Act.CRASH)
    first = core.http.get("/api/problems").json()[0]
    assert (first["subject"], first["severity"]) == ("machine", "critical")
    core.backend.plan.clear()
    load(core, names[0])
    assert not any(each["subject"] == "machine" for each in core.http.get("/api/problems").json())


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("fixes/apply", {"problem_id": "attempt:999", "fix_id": "0"}, "problem_over"),
        ("fixes/preview", {"problem_id": "", "fix_id": ""}, "problem_over"),
        ("fixes/nothing/undo", None, "unknown_fix"),
    ],
)
def test_what_is_not_there_is_said_so(core: ScriptedCore, path: str, body: dict[str, Any] | None, code: str) -> None:
    answer = core.http.post(f"/api/{path}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, code)


def test_a_fix_that_is_offered_no_more(core: ScriptedCore, mender: Mender) -> None:
    name = core.add()
    fail(core, name, Act.CRASH)
    problem = mender.problem(f"model:{name}")
    answer = core.http.post("/api/fixes/apply", json={"problem_id": problem["id"], "fix_id": "77"})
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_fix")


TOO_LONG = (
    b'{"error":{"code":400,"message":"request (9000 tokens) exceeds the available context size (8192 tokens), try '
    b'increasing it","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":8192}}'
)


def test_refused_requests_of_clients_are_one_problem(core: ScriptedCore, mender: Mender, engine: FakeEngine) -> None:
    name = core.add()
    load(core, name)
    key = core.http.post("/api/keys", json={"name": "somebody"}).raise_for_status().json()["key"]
    engine.mode, engine.refusal = "400", TOO_LONG
    for _ in range(3):
        answer = httpx.post(
            f"{core.public_url}/v1/chat/completions",
            json={"model": name, "messages": [{"role": "user", "content": "Hello"}]},
            headers={"authorization": f"Bearer {key}"},
            trust_env=False,
        )
        assert answer.status_code == 400
    problem = mender.problem(f"model:{name}")
    assert (problem["source"], problem["times"], problem["failure_class"]) == ("request", 3, "context_overflow")
    assert "9000 tokens" in problem["evidence"][0]["text"]
    assert "somebody" in problem["hint"]


def test_no_more_context_is_offered_than_the_model_was_made_for(
    core: ScriptedCore, mender: Mender, engine: FakeEngine
) -> None:
    name = core.add(load_config={"n_ctx": 1024})
    load(core, name)
    most = core.http.get(f"/api/models/{name}").json()["context_length"]
    assert 1024 < most < 9000
    engine.mode, engine.refusal = "400", TOO_LONG
    body = {"model": name, "messages": [{"role": "user", "content": "Hello"}]}
    assert core.http.post("/v1/chat/completions", json=body).status_code == 400
    preview = mender.ask("preview", mender.problem(f"model:{name}"), "load_config")
    assert preview["changes"] == [{"what": "n_ctx", "before": "1024", "after": str(most)}]
