"""`/api/estimate`, `/api/import`, `/api/follows`, `/api/scan`, `/api/absences`: looking before anything is loaded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gguf_writer import CHAT_FACTS, gguf_bytes
from recorded_server import models, serve
from scripted_core import ScriptedCore, scripted_core, wait_for

from quarterdeck.registry.importers.texts import LONGEST_TEXT
from quarterdeck.scheduling import follower

ELSEWHERE = "http://127.0.0.1:9/v1"


def error_of(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert body["detail"]
    assert isinstance(body["hint"], str)
    return answer.status_code, body["code"]


@pytest.fixture(scope="module")
def shared_core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedCore]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(follower, "LOOK_SECONDS", 0.01)
        with scripted_core(tmp_path_factory.mktemp("core"), every_engine=True) as core:
            yield core


def estimate(core: ScriptedCore, **body: Any) -> httpx.Response:
    return core.http.post("/api/estimate", json=body)


class TestEstimate:
    def test_of_a_model_and_of_its_file(self, core: ScriptedCore, model: str) -> None:
        found = estimate(core, model_name=model).json()
        parts = ("weights_bytes", "kv_cache_bytes", "compute_bytes")
        assert sum(found[part] for part in parts) == found["total_bytes"] > 0
        assert (found["model"], found["backend"], found["fits"]) == (model, "embedded", None)
        assert found["sentence"]
        of_file = estimate(core, path=core.model(model)["path"]).json()
        assert of_file["total_bytes"] == found["total_bytes"]

    def test_a_longer_context_needs_more(self, core: ScriptedCore, model: str) -> None:
        small, large = (estimate(core, model_name=model, n_ctx=n).json() for n in (512, 1024))
        assert (small["n_ctx"], large["n_ctx"]) == (512, 1024)
        assert large["kv_cache_bytes"] == 2 * small["kv_cache_bytes"]
        assert large["weights_bytes"] == small["weights_bytes"]

    def test_the_fields_stand_over_the_load_config_in_the_words_of_the_engine(
        self, core: ScriptedCore, model: str
    ) -> None:
        text = '{"ctx_size": 512, "cache_type_k": "f16"}'
        found = estimate(core, model_name=model, load_config=text, n_ctx=1024, kv_type="q8_0", parallel=2).json()
        assert (found["n_ctx"], found["kv_type"], found["parallel"]) == (1024, "q8_0", 2)
        stored = core.http.patch(f"/api/models/{model}/config", json={"load_config": {"n_ctx": 768}})
        assert stored.status_code == 200
        assert estimate(core, model_name=model).json()["n_ctx"] == 768
        of_ollama = estimate(core, path=core.model(model)["path"], backend="ollama", n_ctx=512, kv_type="q8_0").json()
        assert (of_ollama["backend"], of_ollama["n_ctx"], of_ollama["kv_type"]) == ("ollama", 512, "q8_0")

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({}, (400, "bad_request")),
            ({"model_name": "x", "path": "x"}, (400, "bad_request")),
            ({"model_name": "nobody"}, (404, "unknown_model")),
            ({"path": "/nowhere/x.gguf"}, (400, "file_missing")),
            ({"path": "x.gguf", "backend": "warp"}, (400, "unknown_backend")),
            ({"path": "x.gguf", "n_ctx": "many"}, (400, "bad_request")),
            ({"path": "x.gguf", "n_ctx": -5}, (400, "bad_load_config")),
            ({"path": "x.gguf", "kv_type": "q99"}, (400, "bad_load_config")),
            ({"path": "x.gguf", "load_config": {"n_ctxx": 1}}, (400, "unknown_option")),
        ],
    )
    def test_what_is_refused(self, core: ScriptedCore, body: dict[str, Any], expected: tuple[int, str]) -> None:
        status, code = error_of(estimate(core, **body))
        assert (status in (expected[0], 404), code) == (True, expected[1])

    def test_a_mistake_is_shown_at_its_place(self, core: ScriptedCore, model: str) -> None:
        error = estimate(core, model_name=model, load_config='{\n  "n_ctx" 5\n}').json()
        assert (error["code"], error["line"], error["column"]) == ("bad_json", 2, 11)

    def test_a_model_elsewhere_cannot_be_estimated(self, core: ScriptedCore) -> None:
        body = {"model_name": "far away", "url": ELSEWHERE}
        assert core.http.post("/api/models", json=body).status_code == 201
        assert error_of(estimate(core, model_name="far away")) == (404, "no_estimate")

    def test_a_broken_file_is_named(self, core: ScriptedCore, tmp_path: Path) -> None:
        (tmp_path / "broken.gguf").write_bytes(b"no model")
        answer = estimate(core, path=str(tmp_path / "broken.gguf"))
        assert answer.status_code == 400
        assert "broken.gguf" in answer.json()["detail"]


def litellm(**entries: str) -> str:
    """A LiteLLM configuration: model names and where they are served."""
    listed = [
        {"model_name": name, "litellm_params": {"model": f"openai/{name}", "api_base": url}}
        for name, url in entries.items()
    ]
    return json.dumps({"model_list": listed})


def take(core: ScriptedCore, **body: Any) -> httpx.Response:
    return core.http.post("/api/import", json=body)


def actions(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 200, answer.text
    return {entry["name"]: entry["action"] for entry in answer.json()["entries"]}


class TestImport:
    def test_a_preview_changes_nothing_and_the_import_does(self, core: ScriptedCore) -> None:
        text = litellm(preview=ELSEWHERE)
        before = core.http.get("/api/models").json()
        preview = take(core, text=text)
        assert actions(preview) == {"preview": "add"}
        assert preview.json()["format"] == "litellm"
        assert core.http.get("/api/models").json() == before
        assert actions(take(core, text=text, apply=True)) == {"preview": "add"}
        model = core.model("preview")
        assert (model["layer"], model["url"]) == ("curated", ELSEWHERE)
        assert actions(take(core, text=text)) == {"preview": "same"}

    def test_only_the_names_asked_for_are_taken(self, core: ScriptedCore) -> None:
        text = litellm(wanted=ELSEWHERE, unwanted=ELSEWHERE)
        assert actions(take(core, text=text, names=["wanted"], apply=True)) == {"wanted": "add"}
        assert core.http.get("/api/models/unwanted").status_code == 404

    def test_a_file_is_read_by_its_path(self, core: ScriptedCore, tmp_path: Path) -> None:
        model = core.model_file()
        (tmp_path / "Modelfile").write_text(f"FROM {model}\nPARAMETER num_ctx 512\n", encoding="utf-8")
        done = take(core, path=str(tmp_path / "Modelfile"), apply=True)
        [name] = actions(done)
        assert core.model(name)["path"] == str(model)

    async def test_servers_that_it_names_become_known(self, core: ScriptedCore) -> None:
        async with serve({"/v1/models": models("from-list")}) as server:
            done = await asyncio.to_thread(take, core, text=f"{server.url}/v1;http://127.0.0.1:9/v1", apply=True)
            assert len(done.json()["servers"]) == 2
            backends = await asyncio.to_thread(core.http.get, "/api/backends")
            assert server.url in [each["address"] for each in backends.json()]

    @pytest.mark.parametrize(
        ("text", "line", "column"),
        [
            ('{\n  "model_list" []\n}', 2, 16),
            ("model_list:\n  - model_name: x\n   bad: [", 3, 4),
        ],
    )
    def test_a_mistake_has_a_line_and_a_column(self, core: ScriptedCore, text: str, line: int, column: int) -> None:
        answer = take(core, text=text)
        assert error_of(answer) == (400, "bad_import")
        assert (answer.json()["line"], answer.json()["column"]) == (line, column)
        assert f"Line {line}, column {column}" in answer.json()["detail"]

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({}, "bad_request"),
            ({"text": "x", "path": "y"}, "bad_request"),
            ({"text": ""}, "empty_import"),
            ({"text": "just a word"}, "unknown_format"),
            ({"text": "{}", "format": "csv"}, "unknown_format"),
            ({"path": "/nowhere/config.yaml"}, "file_unreadable"),
            ({"path": "/"}, "file_unreadable"),
            ({"text": litellm(x=ELSEWHERE), "follow": True, "apply": True}, "bad_request"),
        ],
    )
    def test_what_cannot_be_imported(self, core: ScriptedCore, body: dict[str, Any], code: str) -> None:
        before = core.http.get("/api/models").json()
        answer = take(core, **body)
        assert error_of(answer) == (400, code)
        assert core.http.get("/api/models").json() == before

    def test_a_file_that_is_too_large_is_not_read(self, core: ScriptedCore, tmp_path: Path) -> None:
        with (tmp_path / "huge.yaml").open("wb") as file:
            file.truncate(LONGEST_TEXT + 1)
        answer = take(core, path=str(tmp_path / "huge.yaml"))
        assert error_of(answer) == (400, "import_too_large")

    def test_a_picture_is_no_list(self, core: ScriptedCore, tmp_path: Path) -> None:
        (tmp_path / "list.yaml").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
        assert error_of(take(core, path=str(tmp_path / "list.yaml"))) == (400, "file_unreadable")


class TestFollowing:
    def test_a_followed_file_is_read_again_until_it_is_followed_no_longer(
        self, core: ScriptedCore, tmp_path: Path
    ) -> None:
        file = tmp_path / "gateway.json"
        file.write_text(litellm(followed=ELSEWHERE), encoding="utf-8")
        actions(take(core, path=str(file), apply=True, follow=True))
        [listed] = core.http.get("/api/follows").json()
        assert (listed["path"], listed["models"], listed["error"]) == (str(file), ["followed"], None)
        file.write_text(litellm(followed=ELSEWHERE, newcomer=ELSEWHERE), encoding="utf-8")
        wait_for(lambda: core.http.get("/api/models/newcomer").status_code == 200)
        file.write_text("{", encoding="utf-8")
        issue = wait_for(lambda: core.http.get("/api/status").json()["issues"])[0]
        assert str(file) in issue["sentence"]
        assert core.http.get("/api/follows").json()[0]["error"]
        assert core.http.delete("/api/follows", params={"path": str(file)}).status_code == 204
        assert core.http.get("/api/status").json()["issues"] == []
        assert core.http.get("/api/follows").json() == []
        assert error_of(core.http.delete("/api/follows", params={"path": str(file)})) == (404, "not_followed")
        assert error_of(core.http.delete("/api/follows")) == (400, "bad_request")
        assert core.model("followed")["layer"] == "curated"

    def test_a_preview_is_not_followed(self, core: ScriptedCore, tmp_path: Path) -> None:
        file = tmp_path / "once.json"
        file.write_text(litellm(once=ELSEWHERE), encoding="utf-8")
        assert actions(take(core, path=str(file), follow=True)) == {"once": "add"}
        assert core.http.get("/api/follows").json() == []


class TestScan:
    def test_models_in_folders_are_found_and_broken_ones_named(self, core: ScriptedCore, tmp_path: Path) -> None:
        (tmp_path / "found.gguf").write_bytes(gguf_bytes(facts=CHAT_FACTS))
        (tmp_path / "broken.gguf").write_bytes(b"no model")
        found = core.http.post("/api/scan", json={"folders": [str(tmp_path)]}).json()
        assert found["added"] == ["found"]
        assert [each["where"] for each in found["passed_over"]] == [str(tmp_path / "broken.gguf")]
        assert core.backend.loads == []
        assert core.model("found")["layer"] == "discovered"
        absences = {each["name"]: each for each in core.http.get("/api/absences").json()}
        assert absences[str(tmp_path / "broken.gguf")]["reasons"]
        assert "found" not in absences

    def test_without_a_body_the_known_places_are_looked_at(self, core: ScriptedCore) -> None:
        assert core.http.post("/api/scan").json()["servers"] == []

    @pytest.mark.parametrize("body", [{"folders": "x"}, {"folders": [3]}, {"folder": []}])
    def test_what_is_refused(self, core: ScriptedCore, body: dict[str, Any]) -> None:
        assert error_of(core.http.post("/api/scan", json=body)) == (400, "bad_request")


def test_a_model_that_clients_do_not_see_says_why(core: ScriptedCore, model: str) -> None:
    core.http.patch(f"/api/models/{model}/config", json={"deprecated": True}).raise_for_status()
    absence = next(each for each in core.http.get("/api/absences").json() if each["name"] == model)
    assert not absence["listed"]
    assert "deprecated" in absence["reasons"][0]
    assert absence["hint"]
    assert model not in [each["id"] for each in core.http.get("/v1/models").json()["data"]]
    assert core.http.get(f"/v1/models/{model}").json()["id"] == model
