"""Taking imports into the registry, and following imported files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from import_reading import ENGINES

from quarterdeck.errors import AppError
from quarterdeck.registry.models import Registry
from quarterdeck.schemas.discovery import FoundModel, ImportAction, ImportEntry, ImportPreview
from quarterdeck.schemas.models import ConfigPatch, ModelCreate, ModelView
from quarterdeck.storage.database import Database

OLLAMA = "http://127.0.0.1:11434"


@pytest.fixture
async def registry(database: Database) -> Registry:
    usual = {"ollama": OLLAMA, "litellm": "http://127.0.0.1:4000"}
    return Registry(database, usual_url=usual.get, engines=lambda: ENGINES)


def swap(**commands: str) -> str:
    return json.dumps({"models": {name: {"cmd": command} for name, command in commands.items()}})


async def take(
    registry: Registry, text: str, names: list[str] | None = None, *, apply: bool = True, name: str = "file"
) -> ImportPreview:
    return await registry.import_plan(registry.read_import(text, name=name), names, apply)


def actions(done: ImportPreview) -> dict[str, str]:
    return {entry.name: entry.action.value for entry in done.entries}


def entry_of(done: ImportPreview, name: str) -> ImportEntry:
    return next(entry for entry in done.entries if entry.name == name)


async def names_of(registry: Registry) -> list[str]:
    return [view.name for view in await registry.list()]


async def test_imported_models_are_curated_and_have_the_facts_of_their_files(
    registry: Registry, write_model: Any
) -> None:
    path = write_model()
    done = await take(registry, swap(tiny=f"llama-server -m {path} -c 512"))
    assert actions(done) == {"tiny": "add"}
    assert (done.format, entry_of(done, "tiny").where) == ("llama_swap", str(path))
    view = await registry.get("tiny")
    assert (view.layer, view.backend, view.path, view.installed) == ("curated", "llama-server", str(path), True)
    assert view.load_config == '{\n  "n_ctx": 512\n}'
    assert (view.architecture, view.layers["architecture"], view.layers["load_config"]) == (
        "llama",
        "discovered",
        "curated",
    )
    assert actions(await take(registry, swap(tiny=f"llama-server -m {path} -c 512"))) == {"tiny": "same"}


async def test_a_preview_changes_nothing(registry: Registry, write_model: Any) -> None:
    path = write_model()
    await registry.add(ModelCreate(model_name="old", path=str(path), backend="llama-server"))
    before = await registry.list()
    text = swap(new=f"llama-server -m {write_model('b.gguf')}", old=f"llama-server -m {path} -c 9")
    done = await take(registry, text, apply=False)
    assert actions(done) == {"new": "add", "old": "change"}
    assert entry_of(done, "old").changes["load_config"] == ({}, {"n_ctx": 9})
    assert await registry.list() == before
    assert actions(await take(registry, text)) == actions(done)


async def test_only_the_chosen_entries_are_taken(registry: Registry, write_model: Any) -> None:
    text = swap(a=f"llama-server -m {write_model('a.gguf')}", b=f"llama-server -m {write_model('b.gguf')}")
    assert actions(await take(registry, text, ["b"])) == {"b": "add"}
    assert await names_of(registry) == ["b"]


async def test_a_file_that_is_missing_is_added_and_told(registry: Registry) -> None:
    done = await take(registry, swap(a="llama-server -m /none/a.gguf"))
    entry = entry_of(done, "a")
    assert entry.action is ImportAction.ADD
    assert "/none/a.gguf" in str(entry.reason)
    view = await registry.get("a")
    assert (view.installed, view.hidden) == (False, "“/none/a.gguf” is not there.")


async def test_a_broken_file_is_added_and_told(registry: Registry, write_model: Any) -> None:
    done = await take(registry, swap(a=f"llama-server -m {write_model(data=b'no')}"))
    assert actions(done) == {"a": "add"}
    assert (await registry.get("a")).installed


async def test_models_of_the_usual_servers_get_their_address(registry: Registry) -> None:
    text = json.dumps(
        {
            "model_list": [
                {"model_name": "a", "litellm_params": {"model": "ollama/llama3"}},
                {"model_name": "b", "litellm_params": {"model": "bedrock/x"}},
            ]
        }
    )
    assert actions(await take(registry, text)) == {"a": "add", "b": "add"}
    views = {view.name: view for view in await registry.list()}
    assert (views["a"].url, views["a"].served_name) == (OLLAMA, "llama3")
    assert (views["b"].url, views["b"].backend) == ("http://127.0.0.1:4000", "litellm")


async def test_entries_that_cannot_be_taken_are_skipped_with_a_reason(database: Database) -> None:
    registry = Registry(database, ("embedded",), engines=lambda: ENGINES)
    done = await take(registry, swap(a="docker run x", b="llama-server -m /b.gguf"))
    assert actions(done) == {"a": "skip", "b": "skip"}
    assert all(entry.reason for entry in done.entries)
    assert await registry.list() == []


async def test_the_same_model_twice_in_one_file(registry: Registry) -> None:
    entry = {"backend": "ollama", "backend_config": {}, "served_model_id": "llama3:latest"}
    text = json.dumps([{"name": "a", **entry}, {"name": "b", **entry}, {"name": "A", **entry}])
    done = await take(registry, text)
    assert actions(done) == {"a": "add", "b": "skip", "A": "skip"}
    assert "becomes another name" in str(entry_of(done, "b").reason)
    assert "twice" in str(entry_of(done, "A").reason)
    [view] = await registry.list()
    assert view.aliases == ["b"]


async def test_the_same_file_with_other_settings_is_another_model(registry: Registry, write_model: Any) -> None:
    path = write_model()
    text = swap(a=f"llama-server -m {path} -c 1", b=f"llama-server -m {path} -c 2")
    assert actions(await take(registry, text)) == {"a": "add", "b": "add"}
    assert actions(await take(registry, text)) == {"a": "same", "b": "same"}


async def test_a_model_that_was_found_before_gets_the_imported_name_too(registry: Registry) -> None:
    found = FoundModel(name="llama3:latest", source="ollama", backend="ollama", url=OLLAMA)  # type: ignore[arg-type]
    await registry.reconcile([found], sources=[OLLAMA])
    text = json.dumps([{"name": "mine", "backend": "ollama", "served_model_id": "llama3", "roles": ["coder"]}])
    done = await take(registry, text)
    assert actions(done) == {"mine": "change"}
    assert "“llama3:latest”" in str(entry_of(done, "mine").reason)
    [view] = await registry.list()
    assert (view.name, view.aliases, view.roles, view.layer) == ("llama3:latest", ["mine"], ["coder"], "curated")
    assert "url" not in {field for field, layer in view.layers.items() if layer == "curated"}
    again = await take(registry, text)
    assert (actions(again), entry_of(again, "mine").reason) == ({"mine": "same"}, None)


async def test_names_that_clients_use_for_another_model(registry: Registry, write_model: Any) -> None:
    await registry.add(ModelCreate(model_name="first", path=str(write_model("a.gguf"))))
    await registry.set_facts("first", ConfigPatch(aliases=["fast"]))
    text = json.dumps(
        [
            {"name": "fast", "backend": "ollama", "served_model_id": "x"},
            {"name": "new", "backend": "ollama", "served_model_id": "y", "model_aliases": ["FAST", "mine"]},
        ]
    )
    done = await take(registry, text)
    assert actions(done) == {"fast": "skip", "new": "add"}
    assert "“first”" in str(entry_of(done, "fast").reason)
    assert "“FAST”" in str(entry_of(done, "new").dropped)
    assert (await registry.get("new")).aliases == ["mine"]


async def test_what_a_person_set_besides_stays(registry: Registry, write_model: Any) -> None:
    path = write_model()
    await take(registry, swap(a=f"llama-server -m {path} -c 1"))
    await registry.set_facts("a", ConfigPatch(pinned=True, aliases=["mine"], roles=["coder"]))
    done = await take(registry, swap(a=f"llama-server -m {path} -c 2"))
    assert set(entry_of(done, "a").changes) == {"load_config"}
    view = await registry.get("a")
    assert (view.pinned, view.aliases, view.roles) == (True, ["mine"], ["coder"])


async def test_a_lock_is_taken_over(registry: Registry) -> None:
    text = json.dumps([{"name": "a", "backend": "ollama", "served_model_id": "x", "version_lock": {"locked": True}}])
    await take(registry, text)
    view = await registry.get("a")
    assert (view.locked, view.expected_hash) == (True, None)


# --- following --------------------------------------------------------------------------------------------------------


class Followed:
    """A llama-swap file that is followed."""

    def __init__(self, registry: Registry, path: Path) -> None:
        self.registry = registry
        self.path = path
        self._time = 1_000_000_000

    def write(self, text: str) -> None:
        self.path.write_text(text)
        self._time += 10
        os.utime(self.path, (self._time, self._time))

    async def again(self) -> ImportPreview:
        assert await self.registry.changed_files() == [self.path]
        done = await self.registry.reimport(self.path)
        assert await self.registry.changed_files() == []
        return done

    async def view(self, name: str) -> ModelView:
        return await self.registry.get(name)


@pytest.fixture
async def followed(registry: Registry, tmp_path: Path) -> Followed:
    file = Followed(registry, tmp_path / "config.yaml")
    file.write(swap(a="llama-server -m /a.gguf -c 1", b="llama-server -m /b.gguf", c="llama-server -m /c.gguf"))
    await take(registry, file.path.read_text(), ["a", "b"], name=str(file.path))
    await registry.follow(file.path)
    return file


async def test_a_followed_file_is_known_and_quiet(registry: Registry, followed: Followed) -> None:
    [told] = await registry.followed()
    assert (told.path, told.models, told.gone, told.error) == (str(followed.path), ["a", "b"], [], None)
    assert await registry.changed_files() == []
    await registry.unfollow(followed.path)
    assert await registry.followed() == []
    followed.write("{}")
    assert await registry.changed_files() == []


async def test_only_what_changed_in_the_file_is_taken(registry: Registry, followed: Followed) -> None:
    await registry.set_facts("a", ConfigPatch(load_config={"n_ctx": 77}))
    followed.write(
        swap(a="llama-server -m /a.gguf -c 1", b="llama-server -m /b.gguf -c 5", c="llama-server -m /c.gguf")
    )
    assert actions(await followed.again()) == {"b": "change"}
    assert "77" in (await followed.view("a")).load_config
    assert await names_of(registry) == ["a", "b"]


async def test_new_entries_are_taken_and_unwanted_ones_are_not(registry: Registry, followed: Followed) -> None:
    followed.write(
        swap(a="llama-server -m /a.gguf -c 1", b="llama-server -m /b.gguf", c="llama-server -m /c.gguf -c 9",
             d="llama-server -m /d.gguf")
    )  # fmt: skip
    assert actions(await followed.again()) == {"d": "add"}
    assert await names_of(registry) == ["a", "b", "d"]


async def test_entries_that_are_gone_are_marked_and_come_back(registry: Registry, followed: Followed) -> None:
    followed.write(swap(a="llama-server -m /a.gguf -c 1"))
    assert actions(await followed.again()) == {}
    view = await followed.view("b")
    assert (view.deprecated, view.hidden) == (True, "It is marked as deprecated.")
    assert (await registry.followed())[0].gone == ["b"]
    reasons = {each.name: each.reasons for each in await registry.absences()}
    assert any("config.yaml" in reason for reason in reasons["b"])
    followed.write(swap(a="llama-server -m /a.gguf -c 1", b="llama-server -m /b.gguf"))
    await followed.again()
    assert not (await followed.view("b")).deprecated
    assert (await registry.followed())[0].gone == []


async def test_a_mistake_in_the_file_changes_nothing_and_is_told_once(registry: Registry, followed: Followed) -> None:
    before = await registry.list()
    followed.write("models: [")
    with pytest.raises(AppError) as caught:
        await followed.again()
    assert caught.value.code == "bad_import"
    assert await registry.changed_files() == []
    assert await registry.list() == before
    assert "line" in str((await registry.followed())[0].error).lower()
    followed.write(swap(a="llama-server -m /a.gguf -c 3", b="llama-server -m /b.gguf", c="llama-server -m /c.gguf"))
    assert actions(await followed.again()) == {"a": "change"}
    assert (await registry.followed())[0].error is None


async def test_a_file_that_is_gone_is_left_alone(registry: Registry, followed: Followed) -> None:
    followed.path.unlink()
    assert await registry.changed_files() == []
    assert await names_of(registry) == ["a", "b"]


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
async def test_files_that_cannot_be_followed(registry: Registry, tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AppError) as caught:
        await registry.follow(path)
    assert caught.value.code == "file_unreadable"
    with pytest.raises(AppError) as caught:
        await registry.reimport(path)
    assert caught.value.code == "not_followed"
