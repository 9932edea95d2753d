"""Adding, listing and removing models, and the starter model."""

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from gguf_writer import CHAT_FACTS, Tensor, gguf_bytes

from quarterdeck.errors import AppError, ConfigError
from quarterdeck.registry import models
from quarterdeck.registry.models import Registry
from quarterdeck.schemas.jsontext import config_hash
from quarterdeck.schemas.models import ConfigPatch, ModelCreate, Retest, Status
from quarterdeck.storage.database import Database

WriteModel = Callable[..., Path]


def new(name: str = "tiny", **fields: Any) -> ModelCreate:
    return ModelCreate(model_name=name, **fields)


async def refused(registry: Registry, model: ModelCreate) -> AppError:
    before = await registry.list()
    with pytest.raises(AppError) as caught:
        await registry.add(model)
    assert caught.value.hint
    assert await registry.list() == before
    return caught.value


async def test_added_model_has_the_facts_of_its_file(registry: Registry, write_model: WriteModel) -> None:
    path = write_model()
    view = await registry.add(new(path=str(path), load_config='{"ctx_size": 512}'))
    assert view == await registry.get("tiny")
    assert [view] == await registry.list()
    assert (view.backend, view.served_name, view.layer) == ("embedded", "tiny", "curated")
    assert view.path == str(path)
    assert view.size_bytes == path.stat().st_size
    assert (view.architecture, view.quantization, view.context_length) == ("llama", "Q8_0", 2048)
    assert view.parameter_count == 64 * 32
    assert view.has_chat_template is True
    assert view.capabilities == ["chat"]
    assert view.status is Status.UNKNOWN
    assert view.load_config == '{\n  "ctx_size": 512\n}'


@pytest.mark.parametrize(
    ("arguments", "capabilities"),
    [
        ({"facts": {}}, ["completion"]),
        ({"facts": {}, "architecture": "nomic-bert"}, ["embeddings"]),
        ({"facts": {**CHAT_FACTS, "llama.pooling_type": 3}}, ["embeddings"]),
        ({"facts": {"llama.pooling_type": 4}}, ["rerank"]),
    ],
)
async def test_capabilities(
    registry: Registry, write_model: WriteModel, arguments: dict[str, Any], capabilities: list[str]
) -> None:
    view = await registry.add(new(path=str(write_model(**arguments))))
    assert view.capabilities == capabilities


@pytest.mark.parametrize(
    ("typed", "kept"),
    [("  tiny ", "tiny"), ("team / tiny", "team/tiny"), ("a /b/ c", "a/b/c"), ("two  words", "two words")],
)
async def test_names_are_cleaned(registry: Registry, write_model: WriteModel, typed: str, kept: str) -> None:
    assert (await registry.add(new(typed, path=str(write_model())))).name == kept


@pytest.mark.parametrize("name", ["", "   ", "/", "a//b", "/a", "a/", "..", "a/../b", "a\nb", "a\0b", "x" * 201])
async def test_bad_names(registry: Registry, write_model: WriteModel, name: str) -> None:
    assert (await refused(registry, new(name, path=str(write_model())))).code == "bad_name"


async def test_duplicates_are_refused(registry: Registry, write_model: WriteModel) -> None:
    path = str(write_model())
    await registry.add(new("one", path=path, served_name="first"))
    for model in (new(" one ", path=path), new("first", path=path), new("two", path=path, served_name="one")):
        error = await refused(registry, model)
        assert (error.code, error.status) == ("duplicate_model", 409)


async def test_same_file_under_another_name_is_fine(registry: Registry, write_model: WriteModel) -> None:
    path = str(write_model())
    await registry.add(new("b", path=path))
    await registry.add(new("a", path=path, load_config={"ctx_size": 8192}))
    assert [view.name for view in await registry.list()] == ["a", "b"]


async def test_relative_and_home_paths(
    registry: Registry, write_model: WriteModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_model()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert (await registry.add(new("a", path="./tiny.gguf"))).path == str(path)
    assert (await registry.add(new("b", path="~/tiny.gguf"))).path == str(path)


async def test_links_are_kept(registry: Registry, write_model: WriteModel, tmp_path: Path) -> None:
    link = tmp_path / "link.gguf"
    link.symlink_to(write_model("0a1b2c"))
    assert (await registry.add(new(path=str(link)))).path == str(link)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_file"),
        (b"<html>", "not_gguf"),
        (gguf_bytes()[:40], "truncated_header"),
        (gguf_bytes()[:-8], "truncated_file"),
    ],
)
async def test_broken_files_are_refused(registry: Registry, write_model: WriteModel, content: bytes, code: str) -> None:
    assert (await refused(registry, new(path=str(write_model(data=content))))).code == code


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"path": "/none/here.gguf"}, "file_missing"),
        ({"path": "/"}, "config_missing"),
        ({"path": "/", "backend": "embedded"}, "not_a_file"),
        ({}, "bad_source"),
        ({"path": " "}, "bad_source"),
        ({"url": " "}, "bad_source"),
        ({"url": "http://127.0.0.1:1", "path": "/x"}, "bad_source"),
        ({"url": "http://127.0.0.1:1", "backend": "embedded"}, "bad_source"),
        ({"path": "/x", "backend": "warp"}, "unknown_backend"),
        ({"hf_path": "Qwen/Qwen3-4B-GGUF"}, "download_unsupported"),
        ({"path": "/x", "load_config": "{"}, "bad_json"),
    ],
)
async def test_bad_requests(registry: Registry, fields: dict[str, Any], code: str) -> None:
    assert (await refused(registry, new(**fields))).code == code


async def test_unknown_backend_names_those_that_exist(registry: Registry) -> None:
    error = await refused(registry, new(path="/x", backend="warp"))
    assert "embedded" in error.hint
    assert "openai-compatible" in error.hint


async def test_bad_config_has_its_position(registry: Registry, write_model: WriteModel) -> None:
    error = await refused(registry, new(path=str(write_model()), load_config='{"a": 1,\n "a": 2}'))
    assert isinstance(error, ConfigError)
    assert (error.line, error.column) == (2, 2)


async def test_hf_path_that_is_a_local_file(registry: Registry, write_model: WriteModel) -> None:
    path = write_model()
    assert (await registry.add(new(hf_path=str(path)))).path == str(path)


async def test_running_server_is_stored(registry: Registry) -> None:
    view = await registry.add(new(url=" http://127.0.0.1:8000/v1 ", served_name="qwen"))
    assert (view.backend, view.url, view.path) == ("openai-compatible", "http://127.0.0.1:8000/v1", None)
    assert view.served_name == "qwen"


async def test_model_whose_file_vanished_is_still_listed(registry: Registry, write_model: WriteModel) -> None:
    path = write_model()
    await registry.add(new(path=str(path)))
    path.unlink()
    assert [view.name for view in await registry.list()] == ["tiny"]


async def test_remove_forgets_the_model_and_keeps_the_file(registry: Registry, write_model: WriteModel) -> None:
    path = write_model()
    await registry.add(new(path=str(path)))
    await registry.remove("tiny")
    assert await registry.list() == []
    assert path.exists()
    await registry.add(new(path=str(path)))


async def test_unknown_model(registry: Registry) -> None:
    for call in (registry.get, registry.remove):
        with pytest.raises(AppError) as caught:
            await call("none")
        assert (caught.value.code, caught.value.status) == ("unknown_model", 404)


async def test_split_model_counts_all_parts(registry: Registry, write_model: WriteModel) -> None:
    whole: dict[str, object] = {**CHAT_FACTS, "split.count": 2, "split.no": 0}
    first = write_model("big-00001-of-00002.gguf", facts=whole)
    error = await refused(registry, new(path=str(first)))
    assert error.code == "part_missing"
    assert "big-00002-of-00002.gguf" in error.sentence
    second = write_model(
        "big-00002-of-00002.gguf",
        facts={"split.count": 2, "split.no": 1},
        architecture=None,
        tensors=(Tensor("b", (100,), "F32"),),
    )
    error = await refused(registry, new(path=str(second)))
    assert error.code == "not_first_part"
    view = await registry.add(new(path=str(first)))
    assert view.parameter_count == 64 * 32 + 100
    assert view.size_bytes == first.stat().st_size + second.stat().st_size


@pytest.mark.parametrize("facts", [{"general.type": "adapter"}, {"general.type": "mmproj"}])
async def test_additions_to_models_are_refused(
    registry: Registry, write_model: WriteModel, facts: dict[str, object]
) -> None:
    assert (await refused(registry, new(path=str(write_model(facts=facts))))).code == "not_a_model"


async def set_status(database: Database, status: Status, hardware: str, hashed: str) -> None:
    def work(session: Any) -> None:
        from quarterdeck.storage.tables import Model

        row = session.get(Model, "tiny")
        row.status, row.status_hardware, row.status_config_hash = status, hardware, hashed

    await database.run(work)


@pytest.mark.parametrize(
    ("status", "hardware", "config", "retest"),
    [
        (Status.COMPATIBLE, "this", {"a": 1}, None),
        (Status.COMPATIBLE, "other", {"a": 1}, Retest.HARDWARE),
        (Status.INCOMPATIBLE, "this", {"a": 2}, Retest.CONFIG),
        (Status.UNKNOWN, "other", {"a": 2}, None),
    ],
)
async def test_retest(
    registry: Registry,
    database: Database,
    write_model: WriteModel,
    status: Status,
    hardware: str,
    config: dict[str, Any],
    retest: Retest | None,
) -> None:
    await registry.add(new(path=str(write_model()), load_config={"a": 1}))
    registry.hardware = "this"
    await set_status(database, status, hardware, config_hash(config))
    assert (await registry.get("tiny")).retest is retest


@pytest.fixture
def starter(write_model: WriteModel, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = write_model("SmolLM2.gguf")
    monkeypatch.setattr(models, "starter_file", lambda: path)
    return path


async def test_starter_is_offered_once(registry: Registry, starter: Path) -> None:
    view = await registry.seed_starter()
    assert view is not None
    assert (view.name, view.path) == ("SmolLM2-135M-Instruct", str(starter))
    assert await registry.seed_starter() is None
    await registry.remove(view.name)
    assert await registry.seed_starter() is None
    assert await registry.list() == []


async def test_starter_follows_a_moved_installation(
    registry: Registry, starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registry.seed_starter()
    (tmp_path / "new").mkdir()
    moved = starter.rename(tmp_path / "new" / starter.name)
    monkeypatch.setattr(models, "starter_file", lambda: moved)
    view = await registry.seed_starter()
    assert view is not None
    assert view.path == str(moved)


async def test_starter_that_is_not_installed_is_offered_later(
    registry: Registry, starter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "starter_file", lambda: None)
    assert await registry.seed_starter() is None
    monkeypatch.setattr(models, "starter_file", lambda: starter)
    assert await registry.seed_starter() is not None


async def test_broken_starter_does_not_stop_the_start(
    registry: Registry, starter: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.truncate(starter, 100)
    assert await registry.seed_starter() is None
    assert "starter model" in caplog.text


async def test_a_model_of_that_name_is_left_alone(registry: Registry, starter: Path, write_model: WriteModel) -> None:
    own = await registry.add(new("SmolLM2-135M-Instruct", path=str(write_model("own.gguf"))))
    assert await registry.seed_starter() is None
    assert await registry.list() == [own]


async def test_every_backend_takes_models_of_a_server_without_reading_files(registry: Registry) -> None:
    for backend in ("llama-server", "vllm", "ollama", "litellm", "openai-compatible"):
        view = await registry.add(new(backend, url="http://127.0.0.1:1", backend=backend, served_name="same"))
        assert (view.backend, view.url, view.path, view.served_name) == (backend, "http://127.0.0.1:1", None, "same")
        assert view.installed


async def test_a_backend_with_a_usual_address_needs_none(database: Database) -> None:
    registry = Registry(database, usual_url={"ollama": "http://127.0.0.1:11434"}.get)
    view = await registry.add(new("a", backend="ollama", served_name="llama3:8b"))
    assert (view.url, view.served_name) == ("http://127.0.0.1:11434", "llama3:8b")
    assert (await refused(registry, new("b", backend="litellm"))).code == "bad_source"


def safetensors_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    header = b'{"w":{"dtype":"F16","shape":[4],"data_offsets":[0,8]}}'
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    return folder


async def test_files_decide_their_backend(registry: Registry, write_model: WriteModel, tmp_path: Path) -> None:
    folder, file = safetensors_folder(tmp_path / "hf"), write_model()
    view = await registry.add(new("a", path=str(folder)))
    assert (view.backend, view.format, view.parameter_count) == ("vllm", "safetensors", 4)
    assert (await registry.add(new("b", path=str(file)))).backend == "embedded"
    assert (await registry.add(new("c", path=str(file), backend="llama-server"))).backend == "llama-server"
    for backend in ("embedded", "llama-server"):
        error = await refused(registry, new("d", path=str(folder), backend=backend))
        assert "safetensors" in error.sentence
    assert "GGUF" in (await refused(registry, new("d", path=str(file), backend="vllm"))).sentence
    for backend in ("ollama", "litellm", "openai-compatible"):
        assert (await refused(registry, new("d", path=str(file), backend=backend))).code == "bad_source"


async def test_policies_are_a_persons_word(registry: Registry, write_model: WriteModel) -> None:
    await registry.add(new(path=str(write_model())))
    patch = ConfigPatch(
        aliases=[" gpt-4o ", "GPT-4O", "tiny", ""], roles=["coder", "my own role"], group=" pair ", pinned=True,
        capabilities=["Text", "function_calling", "tools"], idle_timeout=0, deprecated=False,
    )  # fmt: skip
    view = await registry.set_facts("tiny", patch)
    assert (view.aliases, view.roles, view.capabilities) == (["gpt-4o"], ["coder", "my own role"], ["chat", "tools"])
    assert (view.group, view.pinned, view.idle_timeout, view.deprecated) == ("pair", True, 0, False)
    assert {view.layers[field] for field in ("aliases", "group", "pinned", "capabilities")} == {"curated"}
    back = ConfigPatch(group=None, idle_timeout=None, capabilities=None)
    view = await registry.set_facts("tiny", back)
    assert (view.group, view.idle_timeout, view.capabilities, view.pinned) == (None, None, ["chat"], True)
    assert view.layers["capabilities"] == "discovered"


@pytest.mark.parametrize("alias", ["other", "OTHER", "served", "taken", "Taken:latest"])
async def test_names_of_other_models_are_no_aliases(registry: Registry, write_model: WriteModel, alias: str) -> None:
    path = str(write_model())
    await registry.add(new("other", path=path, served_name="served"))
    await registry.add(new(path=path))
    await registry.set_facts("other", ConfigPatch(aliases=["taken"]))
    before = await registry.list()
    for call in (registry.set_facts, registry.check_facts):
        with pytest.raises(AppError) as caught:
            await call("tiny", ConfigPatch(pinned=True, aliases=["free", alias]))
        assert (caught.value.code, caught.value.status) == ("duplicate_model", 409)
        assert "“other”" in caught.value.sentence
    assert await registry.list() == before
    error = await refused(registry, new(alias, path=path))
    assert error.code == "duplicate_model"


async def test_bad_policies(registry: Registry, write_model: WriteModel) -> None:
    await registry.add(new(path=str(write_model())))
    for patch in (ConfigPatch(aliases=["a//b"]), ConfigPatch(roles=["x" * 300]), ConfigPatch(roles=["x"] * 300)):
        with pytest.raises(AppError) as caught:
            await registry.set_facts("tiny", patch)
        assert caught.value.code in ("bad_name", "bad_list")
    with pytest.raises(AppError) as caught:
        await registry.set_facts("none", ConfigPatch(pinned=True))
    assert caught.value.code == "unknown_model"


async def test_checking_facts_changes_nothing(registry: Registry, write_model: WriteModel) -> None:
    await registry.add(new(path=str(write_model())))
    before = await registry.list()
    await registry.check_facts("tiny", ConfigPatch(pinned=True, aliases=["x"]))
    assert await registry.list() == before


async def test_models_of_the_first_version_are_curated(tmp_path: Path) -> None:
    from quarterdeck.settings import Folders
    from quarterdeck.storage.database import FILE_NAME

    dump = Path(__file__).parents[1] / "storage" / "versions" / "0001.sql"
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.executescript(dump.read_text(encoding="utf-8"))
    database = Database(Folders(tmp_path, tmp_path))
    database.open()
    try:
        registry = Registry(database)
        before = await registry.get("old friend")
        assert before.layers["backend"] == before.layers["load_config"] == "curated"
        assert before.layers["size_bytes"] == "discovered"
        await registry.set_facts("old friend", ConfigPatch(pinned=True))
        after = await registry.get("old friend")
        changed = {"pinned": True, "layers": {**before.layers, "pinned": "curated"}}
        assert after == before.model_copy(update=changed)
    finally:
        database.close()
