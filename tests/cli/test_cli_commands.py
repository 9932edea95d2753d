"""Every command against a running core: what it prints where, and how it ends."""

from __future__ import annotations

import concurrent.futures
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Ended, Run
from fake_backend import Act
from scripted_core import ScriptedCore, scripted_core, wait_for


@pytest.fixture(scope="module")
def shared_core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedCore]:
    with scripted_core(tmp_path_factory.mktemp("core")) as core:
        yield core


@pytest.fixture
def core(shared_core: ScriptedCore, monkeypatch: pytest.MonkeyPatch) -> ScriptedCore:
    monkeypatch.setenv("QUARTERDECK_DATA_DIR", str(shared_core.folder / "data"))
    shared_core.backend.plan.clear()
    while shared_core.http.post("/api/orchestrate/unload").status_code == 200:
        pass
    return shared_core


@pytest.fixture
def model(core: ScriptedCore) -> str:
    return core.add()


def failed(ended: Ended) -> tuple[str, str]:
    return ended.failure


def test_models_are_listed(core: ScriptedCore, run: Run, model: str) -> None:
    for words in (["models"], ["models", "list"]):
        plain = run(*words)
        assert (plain.code, plain.err) == (0, "")
        assert any(line.split()[:3] == [model, "unknown", "unloaded"] for line in plain.out.splitlines())
    for words in (["models", "--json"], ["models", "list", "--json"], ["models", "--json", "list"]):
        ended = run(*words)
        listed = {item["name"]: item for item in ended.json}
        assert ended.err == ""
        assert {"backend", "status", "loaded", "layer", "notes"} <= set(listed[model])


def test_a_model_is_added_shown_and_removed(core: ScriptedCore, run: Run) -> None:
    file = core.model_file()
    added = run("models", "add", "acme/new one", "--path", str(file), "--served-name", "new-id", "--load-config",
                '{"n_ctx": 512}')  # fmt: skip
    assert (added.code, added.err) == (0, "")
    assert "acme/new one" in added.out
    shown = run("models", "show", "acme/new one", "--json").json
    assert (shown["served_name"], json.loads(shown["load_config"]), shown["attempts"]) == ("new-id", {"n_ctx": 512}, [])
    assert str(file) in run("models", "show", "acme/new one").out
    removed = run("models", "remove", "acme/new one")
    assert removed.code == 0
    assert file.exists()
    assert "acme/new one" in failed(run("models", "show", "acme/new one"))[0]


def test_a_model_shows_its_layers_and_names(core: ScriptedCore, run: Run, model: str) -> None:
    patch = {"aliases": ["house/writer"], "roles": ["coding"], "group": "small", "pinned": True, "idle_timeout": 0}
    core.http.patch(f"/api/models/{model}/config", json=patch).raise_for_status()
    page = run("models", "show", model).out
    for words in ("other names: house/writer", "roles: coding", "group: small", "pinned: yes", "when idle: never"):
        assert words in page
    curated, discovered = (
        next(line for line in page.splitlines() if line.strip().startswith(f"{layer}:"))
        for layer in ("curated", "discovered")
    )
    assert "aliases" in curated
    assert "architecture" in discovered
    shown = run("models", "show", model, "--json").json
    assert (shown["aliases"], shown["layers"]["aliases"]) == (["house/writer"], "curated")
    core.http.patch(f"/api/models/{model}/config", json={"deprecated": True}).raise_for_status()
    assert "hidden from clients: It is marked as deprecated." in run("models", "show", model).out


def test_several_loaded_models_are_all_named(core: ScriptedCore, run: Run, model: str) -> None:
    other = core.add()
    for name in (model, other):
        core.http.patch(f"/api/models/{name}/config", json={"group": "both"}).raise_for_status()
        assert run("load", name).code == 0
    lines = run("current").out.splitlines()
    assert [line.split()[0] for line in lines] == [model, other]
    current = run("current", "--json").json
    assert (current["name"], current["loaded_models"]) == (other, [model, other])
    assert f"{model}, {other}" in run("status").out
    run("unload", model)
    assert run("current", "--json").json["loaded_models"] == [other]


def test_json_answers_of_changes(core: ScriptedCore, run: Run) -> None:
    file = str(core.model_file())
    assert run("models", "add", "in json", "--path", file, "--json").json["name"] == "in json"
    assert run("load", "in json", "--json").json["compatibility_status"] == "compatible"
    assert run("current", "--json").json["name"] == "in json"
    assert run("set-status", "in json", "degraded", "--json").json["status"] == "degraded"
    assert run("unload", "--json", "in json").json == {"unloaded": "in json"}
    assert run("current", "--json").json is None
    assert run("models", "remove", "in json", "--json").json == {"removed": "in json"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--path", "/nowhere/x.gguf"], "“x.gguf” in “/nowhere”"),
        (["--path", "http://127.0.0.1:9/v1", "--backend", "embedded"], "cannot use a running server"),
        (["--path", "x.gguf", "--backend", "vllm"], "vLLM reads folders of safetensors"),
        (["--path", "x.gguf", "--backend", "ollama"], "is a server that has its models itself"),
        (["--path", "x.gguf", "--load-config", '{"n_ctx" 1}'], "Line 1, column 10"),
        (["--path", "x.gguf", "--load-config", '{"n_ctxx": 1}'], "n_ctxx"),
    ],
)
def test_a_model_that_cannot_be_added_is_refused(
    core: ScriptedCore, run: Run, arguments: list[str], words: str
) -> None:
    assert words in failed(run("models", "add", "refused", *arguments))[0]


def test_a_relative_path_is_meant_from_here(core: ScriptedCore, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    file = core.model_file()
    monkeypatch.chdir(file.parent)
    assert run("models", "add", "relative", "--path", file.name, "--json").json["path"] == str(file)


def test_scan_adds_what_is_new_and_names_what_is_broken(core: ScriptedCore, run: Run, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    good = core.model_file().rename(tmp_path / "deep" / "scanned.gguf")
    (tmp_path / "broken.gguf").write_bytes(b"no model")
    first = run("models", "scan", str(tmp_path))
    assert first.code == 0
    assert "1 added" in first.out
    assert "broken.gguf" in first.err
    second = run("models", "scan", str(tmp_path), "--json").json
    assert second["added"] == []
    assert [refused["where"] for refused in second["passed_over"]] == [str(tmp_path / "broken.gguf")]
    assert core.model("scanned")["path"] == str(good)
    assert "is not a folder" in failed(run("models", "scan", "/nowhere"))[0]


def test_load_current_unload(core: ScriptedCore, run: Run, model: str) -> None:
    assert run("current").out == "No model is loaded.\n"
    loaded = run("load", model)
    assert (loaded.code, loaded.err) == (0, "")
    assert "Status: compatible." in loaded.out
    assert model in run("current").out
    assert run("unload", model).out == "Unloaded.\n"
    assert "is not loaded" in failed(run("unload", model))[0]
    assert failed(run("unload"))[0] == "No model is loaded."


def test_an_incompatible_model_needs_force(core: ScriptedCore, run: Run, model: str) -> None:
    status = run("set-status", model, "incompatible", "--notes", "crashed in May")
    assert (status.code, status.out) == (0, f"{model} is now incompatible.\n")
    sentence, hint = failed(run("load", model))
    assert "crashed in May" in sentence
    assert "force" in hint
    assert "Status: degraded." in run("load", model, "--force").out


def test_a_load_that_fails_says_why(core: ScriptedCore, run: Run, model: str) -> None:
    core.backend.plan[model] = Act.CRASH
    sentence, hint = failed(run("load", model))
    assert "SIGSEGV" in sentence
    assert hint
    assert "failed" in run("models", "show", model).out


@pytest.mark.parametrize("status", ["testing", "great"])
def test_a_status_that_a_person_cannot_set(core: ScriptedCore, run: Run, model: str, status: str) -> None:
    assert status in failed(run("set-status", model, status))[0]


def test_notes_stay_when_only_the_status_is_set(core: ScriptedCore, run: Run, model: str) -> None:
    run("set-status", model, "degraded", "--notes", "keep me")
    run("set-status", model, "compatible")
    assert (core.model(model)["status"], core.model(model)["notes"]) == ("compatible", "keep me")


def test_status_gpu_and_backends(core: ScriptedCore, run: Run, model: str) -> None:
    run("load", model)
    assert run("status", "--json").json["loaded_models"] == [model]
    assert core.public_url in run("status").out
    assert run("gpu", "--json").json["host"]["memory_total"] > 0
    assert "No GPU:" in run("gpu").out
    [backend] = run("backends", "--json").json
    assert (backend["name"], backend["models"]) == ("embedded", [model])
    assert "embedded" in run("backends", "list").out
    assert f"serving {model}" in run("backends", "logs", "embedded").out
    assert run("backends", "logs", "embedded", "--json").json[-1]["text"] == f"serving {model}"
    assert run("backends", "restart", "embedded", "--json").json["models"] == [model]
    assert run("backends", "stop", "embedded", "--json").json["models"] == []
    assert "not running" in failed(run("backends", "stop", "embedded"))[0]
    assert run("backends", "start", "embedded", "--json").json["models"] == [model]


def test_backends_that_are_missing_or_unknown(core: ScriptedCore, run: Run) -> None:
    for action in ("stop", "logs", "add"):
        assert "name of the backend" in failed(run("backends", action))[0]
    for action in ("restart", "logs"):
        assert "nobody" in failed(run("backends", action, "nobody"))[0]


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["load"], ["models", "add", "x"], ["serve", "--port", "many"], ["backends", "explode"],
     ["--nonsense"], ["set-status", "x"], ["estimate"], ["estimate", "x", "--ctx", "many"],
     ["backends", "logs", "embedded", "-f", "--json"]],
)  # fmt: skip
def test_wrong_usage_ends_with_two(run: Run, arguments: list[str]) -> None:
    ended = run(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "usage: quarterdeck" in ended.err


def test_the_queue_is_shown_with_its_places(core: ScriptedCore, run: Run, model: str) -> None:
    other = core.add()
    core.backend.plan[model] = Act.WAIT
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        loads = [pool.submit(core.load, model)]
        wait_for(lambda: core.model(model)["phase"] == "loading")
        loads.append(pool.submit(core.load, other))
        wait_for(lambda: len(core.http.get("/api/status").json()["queue"]) == 2)
        lines = run("status").out.splitlines()
        core.backend.let_go(model)
        assert all(each.result().status_code == 200 for each in loads)
    place = lines.index("waiting")
    assert lines[place + 1].split()[:2] == ["now", model]
    assert lines[place + 2].split()[:2] == ["1.", other]
    assert f"Waits until “{model}” is loaded." in lines[place + 2]
    assert "waiting   nothing" in run("status").out


def test_version_and_help(run: Run) -> None:
    assert run("--version").out.startswith("quarterdeck ")
    for words in (["--help"], ["load", "--help"], ["models", "add", "--help"]):
        assert run(*words).code == 0


def test_a_core_named_by_address(core: ScriptedCore, run: Run, model: str, tmp_path: Path) -> None:
    there = ["--data-dir", str(tmp_path), "--url", core.public_url]
    assert model in run("models", *there, "--token", core.thread.token).out
    assert "token" in failed(run("models", *there))[0]
    assert "needs the local token" in failed(run("models", *there, "--token", "wrong"))[0]
    assert "does not answer" in failed(run("models", "--url", "http://127.0.0.1:9", "--token", "x"))[0]


def test_where_the_core_is_may_stand_before_the_command(
    core: ScriptedCore, run: Run, model: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("QUARTERDECK_DATA_DIR", str(tmp_path / "another"))
    place = ["--data-dir", str(core.folder / "data")]
    for words in ([*place, "models"], [*place, "models", "list"], ["models", *place, "list"]):
        assert model in run(*words).out
    there = ["--url", core.public_url, "--token", core.thread.token]
    assert model in run(*there, "models").out


def test_a_bad_setting_ends_with_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUARTERDECK_PORT", "many")
    assert "“port” from environment" in failed(run("models"))[0]
    assert "“port”" in failed(run("serve"))[0]


def test_without_a_core_commands_start_their_own(run: Run, monkeypatch: pytest.MonkeyPatch, data_dir: Path) -> None:
    monkeypatch.setenv("QUARTERDECK_NVML", "0")
    listed = run("models", "--json")
    assert (listed.code, listed.err) == (0, "")
    assert isinstance(listed.json, list)
    assert run("current").out == "No model is loaded.\n"
    assert run("status", "--json").json["public_url"] is None
    assert "nobody" in failed(run("load", "nobody"))[0]
    assert not (data_dir / "core.json").exists()


@pytest.mark.engine
def test_a_load_without_a_core_says_that_it_was_a_test(
    run: Run, monkeypatch: pytest.MonkeyPatch, starter_file: object
) -> None:
    monkeypatch.setenv("QUARTERDECK_NVML", "0")
    ended = run("load", "SmolLM2-135M-Instruct", "--json")
    assert ended.json["compatibility_status"] == "compatible"
    assert "this was a test" in ended.err
    [model] = run("models", "--json").json
    assert (model["status"], model["loaded"]) == ("compatible", False)
