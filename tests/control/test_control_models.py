"""`/api/models` and `/api/orchestrate`: what is accepted, what is refused, and how."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fake_backend import Act
from safetensors_writer import write_folder
from scripted_core import ScriptedCore, scripted_core, wait_for


def error_of(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert isinstance(body["detail"], str)
    assert body["detail"]
    assert isinstance(body["hint"], str)
    return answer.status_code, body["code"]


@pytest.mark.parametrize(
    ("method", "path", "content", "expected"),
    [
        ("GET", "/api/nothing", None, (404, "not_found")),
        ("GET", "/nothing", None, (404, "not_found")),
        ("PUT", "/api/models", b"{}", (405, "method_not_allowed")),
        ("POST", "/api/models", b"{", (400, "bad_request")),
        ("POST", "/api/models", b"[]", (400, "bad_request")),
        ("POST", "/api/models", b"{}", (400, "bad_request")),
        ("POST", "/api/models", b'{"model_name": 7, "path": "x"}', (400, "bad_request")),
        ("POST", "/api/models", b'{"model_name": "x", "paht": "x"}', (400, "bad_request")),
        ("POST", "/api/models", b"\xff", (400, "bad_request")),
        ("POST", "/api/orchestrate/load", b'{"model_name": "nobody"}', (404, "unknown_model")),
        ("POST", "/api/orchestrate/load", b'{"force_load": true}', (400, "bad_request")),
        ("POST", "/api/orchestrate/load", b'{"model_name": "x", "force_load": "perhaps"}', (400, "bad_request")),
        ("POST", "/api/orchestrate/cancel", b"{}", (409, "not_loading")),
        ("POST", "/api/orchestrate/cancel", b'{"model_name": "nobody"}', (404, "unknown_model")),
        ("POST", "/api/orchestrate/unload", b'{"model_name": "nobody"}', (404, "unknown_model")),
        ("GET", "/api/models/nobody", None, (404, "unknown_model")),
        ("GET", "/api/models/nobody/attempts", None, (404, "unknown_model")),
        ("DELETE", "/api/models/nobody", None, (404, "unknown_model")),
        ("PATCH", "/api/models/nobody/config", b"{}", (404, "unknown_model")),
        ("GET", "/api/backends/embedded/logs?tail=-1", None, (400, "bad_request")),
        ("GET", "/api/backends/embedded/logs?tail=many", None, (400, "bad_request")),
        ("GET", "/api/events?topics=model,gossip", None, (400, "bad_request")),
    ],
)
def test_every_error_has_the_same_form(
    core: ScriptedCore, method: str, path: str, content: bytes | None, expected: tuple[int, str]
) -> None:
    if "unload" in path or "cancel" in path:
        core.http.post("/api/orchestrate/unload")
    headers = {"content-type": "application/json"} if content is not None else {}
    assert error_of(core.http.request(method, path, content=content, headers=headers)) == expected


def test_a_wrong_method_names_the_right_ones(core: ScriptedCore) -> None:
    assert core.http.put("/api/models").headers["allow"]


def test_a_defect_of_ours_has_the_same_form(core: ScriptedCore, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_name: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(core.core._scheduler.catalog, "get", broken)
    assert error_of(core.http.get(f"/api/models/{model}")) == (500, "internal_error")


def test_a_model_is_added_read_and_removed(core: ScriptedCore) -> None:
    file = core.model_file()
    body = {"model_name": "life cycle", "path": str(file), "load_config": '{"ctx_size": 512}'}
    added = core.http.post("/api/models", json=body)
    assert added.status_code == 201
    view = added.json()
    assert (view["name"], view["model_name"], view["backend"], view["status"]) == (
        "life cycle",
        "life cycle",
        "embedded",
        "unknown",
    )
    assert view == core.model("life cycle")
    assert view in core.http.get("/api/models").json()
    assert error_of(core.http.post("/api/models", json=body)) == (409, "duplicate_model")
    removed = core.http.delete("/api/models/life cycle")
    assert (removed.status_code, removed.content) == (204, b"")
    assert error_of(core.http.get("/api/models/life cycle")) == (404, "unknown_model")
    assert file.exists()


@pytest.mark.parametrize(
    "name", ["acme/tiny", "a/b/c", "100 % fine", "what?#&=+", "ünïcode 模型", "50%2F50", "q:4_0 (x)"]
)
def test_every_name_can_be_addressed(core: ScriptedCore, name: str) -> None:
    core.add(name)
    path = f"/api/models/{quote(name, safe='')}"
    assert core.http.get(path).json()["name"] == name
    assert core.http.get(f"/api/models/{quote(name)}").json()["name"] == name
    assert core.http.get(f"{path}/attempts").json() == []
    assert core.http.patch(f"{path}/config", json={"compatibility_notes": "n"}).json()["notes"] == "n"
    assert core.load(name).status_code == 200
    core.http.post("/api/orchestrate/unload", json={"model_name": name}).raise_for_status()
    assert core.http.delete(path).status_code == 204


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"path": "/nowhere/x.gguf"}, "file_missing"),
        ({"path": "/"}, "config_missing"),
        ({}, "bad_source"),
        ({"path": "x", "backend": "warp"}, "unknown_backend"),
        ({"path": "x", "load_config": "{"}, "bad_json"),
        ({"path": "x", "load_config": {"n_ctxx": 1}}, "unknown_option"),
    ],
)
def test_a_model_that_cannot_be_added_changes_nothing(core: ScriptedCore, fields: dict[str, Any], code: str) -> None:
    before = core.http.get("/api/models").json()
    answer = core.http.post("/api/models", json={"model_name": "refused", **fields})
    assert answer.status_code in (400, 404)
    assert error_of(answer)[1] == code
    assert core.http.get("/api/models").json() == before


def patch(core: ScriptedCore, model: str, **fields: Any) -> httpx.Response:
    return core.http.patch(f"/api/models/{model}/config", json=fields)


def facts(core: ScriptedCore, model: str) -> tuple[str, str, Any]:
    view = core.model(model)
    return view["compatibility_status"], view["compatibility_notes"], json.loads(view["load_config"])


def test_a_patch_changes_only_what_it_names(core: ScriptedCore, model: str) -> None:
    assert patch(core, model, compatibility_status="degraded").status_code == 200
    assert facts(core, model) == ("degraded", "", {})
    patch(core, model, compatibility_notes="slow but works")
    assert facts(core, model) == ("degraded", "slow but works", {})
    patch(core, model, load_config='{"n_ctx": 512}')
    assert facts(core, model) == ("degraded", "slow but works", {"n_ctx": 512})
    patch(core, model, load_config={"n_ctx": 1024})
    patch(core, model, compatibility_notes="")
    assert facts(core, model) == ("degraded", "", {"n_ctx": 1024})
    patch(core, model)
    assert facts(core, model) == ("degraded", "", {"n_ctx": 1024})


@pytest.mark.parametrize(
    ("field", "value", "usual"),
    [
        ("aliases", ["nick", "team/nick"], []),
        ("roles", ["chat", "coding"], []),
        ("capabilities", ["chat", "vision"], ["chat"]),
        ("group", "together", None),
        ("pinned", True, False),
        ("idle_timeout", 0, None),
        ("idle_timeout", 90.5, None),
        ("deprecated", True, False),
    ],
)
def test_a_policy_is_decided_and_taken_back(
    core: ScriptedCore, model: str, field: str, value: object, usual: object
) -> None:
    before = core.model(model)
    assert before[field] == usual
    assert patch(core, model, **{field: value}).json()[field] == value
    view = core.model(model)
    assert (view[field], view["layers"][field]) == (value, "curated")
    patch(core, model, compatibility_notes="something else")
    assert core.model(model)[field] == value
    patch(core, model, **{field: None})
    assert core.model(model)[field] == usual


def test_a_model_is_reached_by_its_aliases(core: ScriptedCore, model: str) -> None:
    patch(core, model, aliases=["house/Writer"])
    assert core.http.get("/v1/models/house/writer").json()["id"] == model
    assert "house/Writer" not in [each["id"] for each in core.http.get("/v1/models").json()["data"]]
    other = core.add()
    assert error_of(patch(core, other, aliases=["HOUSE/writer"])) == (409, "duplicate_model")
    assert core.model(other)["aliases"] == []


def test_a_model_is_locked_to_its_files(core: ScriptedCore, model: str) -> None:
    path = f"/api/models/{model}"
    assert core.http.post(f"{path}/lock").json()["locked"]
    verified = core.http.post(f"{path}/verify").json()
    assert verified["expected_hash"]
    assert core.http.post(f"{path}/verify").json()["expected_hash"] == verified["expected_hash"]
    file = Path(verified["path"])
    file.write_bytes(file.read_bytes() + b"changed")
    assert error_of(core.http.post(f"{path}/verify")) == (409, "version_lock_violation")
    assert not core.http.post(f"{path}/unlock").json()["locked"]
    for action in ("lock", "unlock", "verify"):
        assert error_of(core.http.post(f"/api/models/nobody/{action}")) == (404, "unknown_model")


def test_a_folder_of_safetensors_is_for_vllm(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    write_folder(folder)
    with scripted_core(tmp_path, every_engine=True) as core:
        body = {"model_name": "tiny", "path": str(folder), "load_config": '{"max_model_len": 512}'}
        added = core.http.post("/api/models", json=body)
        assert (added.status_code, added.json()["backend"]) == (201, "vllm")
        refused = core.http.post("/api/models", json=body | {"model_name": "other", "load_config": '{"n_ctxx": 1}'})
        assert (error_of(refused), refused.json()["column"]) == ((400, "unknown_option"), 2)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"idle_timeout": -1}, "bad_request"),
        ({"idle_timeout": "soon"}, "bad_request"),
        ({"pinned": "perhaps"}, "bad_request"),
        ({"aliases": "one"}, "bad_request"),
        ({"aliases": ["two\nlines"]}, "bad_name"),
        ({"compatibility_status": "testing"}, "bad_status"),
        ({"compatibility_status": "great"}, "bad_status"),
        ({"compatibility_status": 3}, "bad_request"),
        ({"status": "degraded"}, "bad_request"),
        ({"load_config": "{"}, "bad_json"),
        ({"load_config": "[]"}, "bad_load_config"),
        ({"load_config": {"n_ctx": "many"}}, "bad_load_config"),
        ({"load_config": {"n_ctxx": 1}}, "unknown_option"),
    ],
)
def test_a_patch_that_is_refused_changes_nothing(
    core: ScriptedCore, model: str, fields: dict[str, Any], code: str
) -> None:
    before = core.model(model)
    answer = patch(core, model, compatibility_notes="must not be kept", **fields)
    status, found = error_of(answer)
    assert status == 400
    assert found == code or (code == "bad_load_config" and found == "bad_json")
    assert core.model(model) == before


def test_the_place_of_a_mistake_is_told(core: ScriptedCore, model: str) -> None:
    error = patch(core, model, load_config='{\n  "n_ctx": 512,\n  "n_batch" 8\n}').json()
    assert (error["code"], error["line"], error["column"]) == ("bad_json", 3, 13)
    error = patch(core, model, load_config='{\n  "n_ctx": 512,\n    "n_bacht": 8\n}').json()
    assert (error["code"], error["line"], error["column"], error["option"]) == ("unknown_option", 3, 5, "n_bacht")
    assert "Did you mean “n_batch”?" in error["hint"]
    error = core.load(model, load_config='{"n_ctx": "many"}').json()
    assert (error["code"], error["line"], error["column"]) == ("bad_load_config", 1, 2)
    assert core.attempts(model) == []


def test_load_answers_with_the_status(core: ScriptedCore, model: str) -> None:
    answer = core.load(model)
    assert answer.status_code == 200
    assert answer.json() | {"load_seconds": 0} == {
        "message": answer.json()["message"], "model_id": model, "model_name": model,
        "parameter_count": answer.json()["parameter_count"], "model_type": "llama",
        "compatibility_status": "compatible", "load_seconds": 0,
    }  # fmt: skip
    status = core.http.get("/api/status").json()
    assert (status["loaded_model"], status["loaded_models"], status["queue"]) == (model, [model], [])


def test_an_incompatible_model_is_refused_until_forced(core: ScriptedCore, model: str) -> None:
    core.set_status(model, "incompatible", "crashed in May")
    answer = core.load(model)
    assert error_of(answer) == (409, "incompatible")
    assert answer.json()["compatibility_notes"] == "crashed in May"
    assert "force_load" in answer.json()["hint"]
    assert core.load(model, force_load=True).json()["compatibility_status"] == "degraded"


@pytest.mark.parametrize(("act", "status"), [(Act.CRASH, 424), (Act.OUT_OF_MEMORY, 507), (Act.TIME_OUT, 424)])
def test_a_failed_load_is_answered_with_its_diagnosis(core: ScriptedCore, model: str, act: Act, status: int) -> None:
    core.backend.plan[model] = act
    answer = core.load(model)
    assert error_of(answer)[0] == status
    body = answer.json()
    [attempt] = core.attempts(model)
    assert body["attempt_id"] == attempt["id"]
    assert body["diagnosis"]["failure_class"] == attempt["failure_class"]
    assert body["compatibility_status"] == core.model(model)["status"]
    assert core.model(model)["last_error"]


def test_a_load_is_cancelled(core: ScriptedCore, model: str) -> None:
    core.backend.plan[model] = Act.WAIT
    with httpx.Client(base_url=core.url, headers=core.http.headers, trust_env=False, timeout=20) as other:
        import concurrent.futures

        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            loading = pool.submit(other.post, "/api/orchestrate/load", json={"model_name": model})
            wait_for(lambda: core.model(model)["phase"] == "loading")
            assert (
                core.http.patch(f"/api/models/{model}/config", json={"compatibility_status": "unknown"}).json()["code"]
                == "model_busy"
            )
            assert error_of(core.http.delete(f"/api/models/{model}")) == (409, "model_busy")
            assert core.http.get("/api/status").json()["queue"][0]["model"] == model
            assert core.http.post("/api/orchestrate/cancel", json={"model_name": model}).status_code == 200
            assert error_of(loading.result()) == (409, "load_cancelled")
    assert (core.model(model)["status"], core.model(model)["phase"]) == ("unknown", "unloaded")


def test_unload_without_a_body_means_the_loaded_one(core: ScriptedCore, model: str) -> None:
    core.load(model)
    assert core.http.post("/api/orchestrate/unload").json()["model_name"] == model
    assert error_of(core.http.post("/api/orchestrate/unload")) == (409, "not_loaded")
    assert error_of(core.http.post("/api/orchestrate/unload", json={"model_name": model})) == (409, "not_loaded")
