"""`estimate`, `import`, `models scan` and `backends` with servers: what they print and how they end."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command import Run
from fake_ollama import FakeOllama, fake_ollama
from recorded_server import RecordedServer, models, serve
from safetensors_writer import write_folder
from scripted_core import ScriptedCore, scripted_core

from quarterdeck.client import logs
from quarterdeck.schemas.backends import LogLine

ELSEWHERE = "http://127.0.0.1:9/v1"
ESTIMATE = {"weights_bytes", "kv_cache_bytes", "compute_bytes", "total_bytes", "fits", "max_ctx_that_fits"}


@pytest.fixture(scope="module")
def shared_core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedCore]:
    with scripted_core(tmp_path_factory.mktemp("core"), every_engine=True) as core:
        yield core


@pytest.fixture
def core(shared_core: ScriptedCore, monkeypatch: pytest.MonkeyPatch) -> ScriptedCore:
    monkeypatch.setenv("QUARTERDECK_DATA_DIR", str(shared_core.folder / "data"))
    return shared_core


@contextmanager
def beside() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop on a thread of its own, for servers that go on while a command runs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="servers")
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def server() -> Iterator[RecordedServer]:
    with beside() as loop:
        serving = serve({"/v1/models": models("phi-4", "gemma-3")})
        yield asyncio.run_coroutine_threadsafe(serving.__aenter__(), loop).result()
        asyncio.run_coroutine_threadsafe(serving.__aexit__(None, None, None), loop).result()


@pytest.fixture
def ollama() -> Iterator[FakeOllama]:
    with beside() as loop:
        serving = fake_ollama()
        yield asyncio.run_coroutine_threadsafe(serving.__aenter__(), loop).result()
        asyncio.run_coroutine_threadsafe(serving.__aexit__(None, None, None), loop).result()


class TestEstimate:
    def test_of_a_file(self, core: ScriptedCore, run: Run) -> None:
        file = str(core.model_file())
        ended = run("estimate", file, "--ctx", "1024", "--parallel", "2", "--kv-type", "q8_0", "--json")
        assert (ended.code, ended.err) == (0, "")
        found = ended.json
        assert set(found) >= ESTIMATE
        assert (found["n_ctx"], found["parallel"], found["kv_type"]) == (1024, 2, "q8_0")
        assert found["weights_bytes"] + found["kv_cache_bytes"] + found["compute_bytes"] == found["total_bytes"]
        assert found["fits"] is None
        page = run("estimate", file).out
        for words in ("Weights", "Together", "Free main memory", "Longest context that fits"):
            assert words in page

    def test_of_a_model_by_its_name_and_of_a_relative_path(
        self, core: ScriptedCore, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = core.add("to estimate")
        assert run("estimate", name, "--json").json["model"] == name
        file = Path(core.model(name)["path"])
        monkeypatch.chdir(file.parent)
        assert run("estimate", file.name, "--json").json["total_bytes"] > 0

    def test_of_a_folder_of_safetensors(self, core: ScriptedCore, run: Run, tmp_path: Path) -> None:
        write_folder(tmp_path / "tiny")
        found = run("estimate", str(tmp_path / "tiny"), "--json").json
        assert (found["backend"], found["fits"]) == ("vllm", None)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["nobody.gguf"], "nobody.gguf"),
            (["/"], "config.json"),
            (["FILE", "--kv-type", "q99"], "cache_type_k"),
            (["FILE", "--ctx", "-1"], "n_ctx"),
            (["FILE", "--backend", "warp"], "warp"),
        ],
    )
    def test_what_cannot_be_estimated(self, core: ScriptedCore, run: Run, arguments: list[str], words: str) -> None:
        file = str(core.model_file())
        sentence, hint = run("estimate", *(file if word == "FILE" else word for word in arguments)).failure
        assert words in sentence
        assert hint

    def test_without_a_core(self, run: Run, tmp_path: Path, shared_core: ScriptedCore, data_dir: Path) -> None:
        found = run("--data-dir", str(tmp_path / "own"), "estimate", str(shared_core.model_file()), "--json")
        assert set(found.json) >= ESTIMATE


def gateway(folder: Path, *names: str) -> str:
    """A LiteLLM configuration."""
    listed = [
        {"model_name": name, "litellm_params": {"model": f"openai/{name}", "api_base": ELSEWHERE}} for name in names
    ]
    (folder / "gateway.yaml").write_text(json.dumps({"model_list": listed}), encoding="utf-8")
    return str(folder / "gateway.yaml")


class TestImport:
    def test_models_are_taken_over(self, core: ScriptedCore, run: Run, tmp_path: Path) -> None:
        file = gateway(tmp_path, "from-cli-1", "from-cli-2")
        dry = run("import", file, "--dry-run")
        assert (dry.code, "from-cli-1" in dry.out) == (0, True)
        assert core.http.get("/api/models/from-cli-1").status_code == 404
        done = run("import", file, "--json")
        assert (done.code, done.json["format"]) == (0, "litellm")
        assert {entry["name"]: entry["action"] for entry in done.json["entries"]} == {
            "from-cli-1": "add", "from-cli-2": "add",
        }  # fmt: skip
        assert core.model("from-cli-1")["layer"] == "curated"
        assert "unchanged" in run("import", file).out

    def test_a_file_of_which_nothing_can_be_taken_ends_with_one(
        self, core: ScriptedCore, run: Run, tmp_path: Path
    ) -> None:
        (tmp_path / "config.yaml").write_text("model_list:\n  - model_name: empty\n", encoding="utf-8")
        ended = run("import", str(tmp_path / "config.yaml"))
        assert ended.code == 1

    @pytest.mark.parametrize(
        ("text", "words"),
        [("model_list: [", "Line 1"), ('{"model_list" []}', "Line 1, column 15"), ("\0", ""), ("hello", "none of")],
    )
    def test_a_mistake_is_shown_at_its_place(
        self, core: ScriptedCore, run: Run, tmp_path: Path, text: str, words: str
    ) -> None:
        (tmp_path / "bad.yaml").write_text(text, encoding="utf-8")
        assert words in run("import", str(tmp_path / "bad.yaml")).failure[0]

    def test_a_file_that_is_not_there(self, core: ScriptedCore, run: Run) -> None:
        assert "cannot be read" in run("import", "/nowhere/models.json").failure[0]

    def test_followed_files_are_listed_and_left(self, core: ScriptedCore, run: Run, tmp_path: Path) -> None:
        assert "No file is followed" in run("import").out
        file = gateway(tmp_path, "followed-by-cli")
        assert run("import", file, "--follow").code == 0
        assert file in run("import").out
        assert run("import", "--json").json[0]["models"] == ["followed-by-cli"]
        assert run("import", file, "--unfollow", "--json").json == []
        assert "is not followed" in run("import", file, "--unfollow").failure[0]


class TestScan:
    def test_only_known_places_without_a_folder(self, core: ScriptedCore, run: Run) -> None:
        ended = run("models", "scan")
        assert (ended.code, ended.err) == (0, "")
        assert "0 added" in ended.out

    def test_folders_of_safetensors_are_for_vllm(self, core: ScriptedCore, run: Run, tmp_path: Path) -> None:
        write_folder(tmp_path / "models" / "Tiny-Scan")
        assert run("models", "scan", str(tmp_path / "models"), "--json").json["added"] == ["Tiny-Scan"]
        assert core.model("Tiny-Scan")["backend"] == "vllm"


class TestAdding:
    def test_a_folder_of_safetensors(self, core: ScriptedCore, run: Run, tmp_path: Path) -> None:
        write_folder(tmp_path / "tiny")
        added = run("models", "add", "tiny-st", "--path", str(tmp_path / "tiny"), "--json").json
        assert (added["backend"], added["path"]) == ("vllm", str(tmp_path / "tiny"))

    def test_a_model_of_ollama(self, core: ScriptedCore, run: Run, ollama: FakeOllama) -> None:
        words = ["--path", ollama.url, "--backend", "ollama", "--served-name", "smollm2", "--json"]
        added = run("models", "add", "smol on ollama", *words).json
        assert (added["backend"], added["url"], added["served_name"]) == ("ollama", ollama.url, "smollm2")
        assert run("load", "smol on ollama", "--json").json["compatibility_status"] == "compatible"
        assert "smollm2:latest" in ollama.running
        assert run("unload", "smol on ollama").code == 0

    def test_a_model_of_a_server(self, core: ScriptedCore, run: Run, server: RecordedServer) -> None:
        added = run("models", "add", "phi there", "--path", f"{server.url}/v1", "--served-name", "phi-4", "--json").json
        assert (added["backend"], added["path"]) == ("openai-compatible", None)
        assert run("load", "phi there").code == 0
        assert run("unload", "phi there").code == 0


class TestServers:
    def test_one_is_added_listed_and_removed(self, core: ScriptedCore, run: Run, server: RecordedServer) -> None:
        added = run("backends", "add", server.url, "--name", "attic")
        assert (added.code, added.out.startswith("Added attic:")) == (0, True)
        assert "known already" in run("backends", "add", server.url).failure[0]
        listed = {each["name"]: each for each in run("backends", "--json").json}
        assert listed["attic"]["models"] == ["phi-4", "gemma-3"]
        row = next(line for line in run("backends").out.splitlines() if line.startswith("attic"))
        assert "running" in row
        assert run("backends", "remove", "attic", "--json").json == {"removed": "attic"}
        assert run("backends", "remove", "attic").code == 1

    def test_what_guests_cannot_do(self, core: ScriptedCore, run: Run, server: RecordedServer) -> None:
        run("backends", "add", server.url, "--name", "guest")
        for action in ("start", "stop", "restart", "reload", "logs"):
            sentence, _ = run("backends", action, "guest").failure
            assert sentence
        run("backends", "remove", "guest")

    def test_a_server_that_cannot_be_added(self, core: ScriptedCore, run: Run) -> None:
        assert "no address" in run("backends", "add", "no address").failure[0]
        assert run("backends", "add", "http://127.0.0.1:9", "--kind", "warp").code == 2


def line(number: int, text: str, second: int = 0) -> LogLine:
    return LogLine.model_validate(
        {"number": number, "at": f"2026-11-21T08:00:{second:02}Z", "source": "x", "level": "info", "text": text}
    )


class TestFollowingLogs:
    def test_only_lines_after_the_last_known_one_are_new(self) -> None:
        known = [line(1, "a"), line(2, "b")]
        assert logs.news([], known) == known
        assert logs.news(known, known) == []
        assert [each.text for each in logs.news(known, [line(1, "b"), line(2, "c")])] == ["c"]
        assert [each.text for each in logs.news(known, [*known, line(3, "b"), line(4, "c")])] == ["c"]

    def test_when_the_last_known_one_is_gone_time_decides(self) -> None:
        known = [line(1, "a", 5)]
        lines = [line(1, "old", 3), line(2, "new", 6)]
        assert [each.text for each in logs.news(known, lines)] == ["new"]
