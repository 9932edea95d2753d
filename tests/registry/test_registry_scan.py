"""Finding models on disk, in every shape that other programs leave there."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from gguf_writer import CHAT_FACTS, Tensor, gguf_bytes

from quarterdeck.registry import scan
from quarterdeck.registry.caches import cached_model, hugging_face_cache
from quarterdeck.registry.models import Registry
from quarterdeck.registry.scan import find_models, looked_at
from quarterdeck.schemas.discovery import FoundModel, PassedOver
from quarterdeck.schemas.models import ModelCreate

GGUF = gguf_bytes(CHAT_FACTS)
CONFIG = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "max_position_embeddings": 2048}


def put(path: Path, content: bytes = GGUF) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def weights(values: int = 8) -> bytes:
    header = json.dumps({"w": {"dtype": "F16", "shape": [values], "data_offsets": [0, 2 * values]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(2 * values)


def folder_model(folder: Path) -> Path:
    put(folder / "config.json", json.dumps(CONFIG).encode())
    put(folder / "model.safetensors", weights())
    return folder


def look(folder: Path) -> tuple[list[FoundModel], list[PassedOver]]:
    return find_models([folder], caches=False)


def names(folder: Path) -> list[str]:
    found, passed_over = look(folder)
    assert passed_over == []
    return sorted(each.name for each in found)


def repository(cache: Path, name: str, files: dict[str, bytes], *, revision: str = "abc", main: bool = True) -> Path:
    """A repository as the Hugging Face cache keeps it: blobs, and snapshots of links to them."""
    folder = cache / f"models--{name.replace('/', '--')}"
    for file, content in files.items():
        blob = put(folder / "blobs" / f"{len(content):064x}", content)
        link = folder / "snapshots" / revision / file
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    (folder / "snapshots" / revision).mkdir(parents=True, exist_ok=True)
    if main:
        put(folder / "refs" / "main", revision.encode())
    return folder


@pytest.fixture
def cache(own_surroundings: Path) -> Path:
    folder = hugging_face_cache()
    assert folder.is_relative_to(own_surroundings)
    return folder


def test_a_file_with_its_facts(tmp_path: Path) -> None:
    path = put(tmp_path / "deep" / "er" / "Tiny-Q8_0.gguf")
    [found], _ = look(tmp_path)
    assert (found.name, found.path, found.source, found.backend) == ("Tiny-Q8_0", str(path), "folder", "embedded")
    assert (found.format, found.size_bytes, found.architecture) == ("gguf", len(GGUF), "llama")
    assert (found.context_length, found.capabilities, found.has_chat_template) == (2048, ["chat"], True)
    assert found.signature


def test_a_folder_of_safetensors(tmp_path: Path) -> None:
    folder_model(tmp_path / "maker" / "Tiny")
    [found], _ = look(tmp_path)
    assert (found.name, found.path, found.backend) == ("Tiny", str(tmp_path / "maker" / "Tiny"), "vllm")
    assert (found.format, found.architecture, found.parameter_count) == ("safetensors", "llama", 8)


def test_the_folder_itself_may_be_a_model(tmp_path: Path) -> None:
    assert names(folder_model(tmp_path / "Tiny")) == ["Tiny"]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("model.gguf", "Qwen3-4B-GGUF"),
        ("ggml-model-Q4_K_M.gguf", "Qwen3-4B-GGUF-ggml-model-Q4_K_M"),
        ("Q4_K_M.gguf", "Qwen3-4B-GGUF-Q4_K_M"),
        ("f16.gguf", "Qwen3-4B-GGUF-f16"),
        ("Modelled.gguf", "Modelled"),
        ("Qwen3.GGUF", "Qwen3"),
    ],
)
def test_files_whose_names_say_nothing_are_called_after_their_folder(tmp_path: Path, file: str, name: str) -> None:
    put(tmp_path / "Qwen3-4B-GGUF" / file)
    assert names(tmp_path) == [name]


def test_a_split_model_is_found_once_by_its_first_part(tmp_path: Path) -> None:
    whole = {**CHAT_FACTS, "split.count": 2, "split.no": 0}
    put(tmp_path / "big-00001-of-00002.gguf", gguf_bytes(whole))
    rest = gguf_bytes({"split.count": 2, "split.no": 1}, (Tensor("b", (100,)),), architecture=None)
    second = put(tmp_path / "big-00002-of-00002.gguf", rest)
    [found], passed_over = look(tmp_path)
    assert (found.name, passed_over) == ("big", [])
    assert str(found.path).endswith("-00001-of-00002.gguf")
    second.unlink()
    found_now, [passed] = look(tmp_path)
    assert found_now == []
    assert "Part 2" in passed.reason


def test_a_split_model_without_its_first_part_is_told_once(tmp_path: Path) -> None:
    for number in (2, 3):
        put(tmp_path / f"big-0000{number}-of-00003.gguf")
    found, [passed] = look(tmp_path)
    assert found == []
    assert "big-00001-of-00003.gguf" in passed.reason


@pytest.mark.parametrize("facts", [{"general.type": "mmproj"}, {"general.type": "adapter"}])
def test_projectors_and_adapters_are_no_models(tmp_path: Path, facts: dict[str, object]) -> None:
    put(tmp_path / "addition.gguf", gguf_bytes(facts))
    put(tmp_path / "lora" / "adapter_config.json", b"{}")
    put(tmp_path / "lora" / "adapter_model.safetensors", weights())
    assert names(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"<html>", GGUF[:40], GGUF[:-8]])
def test_broken_files_are_passed_over_with_the_reason(tmp_path: Path, content: bytes) -> None:
    path = put(tmp_path / "broken.gguf", content)
    put(tmp_path / "good.gguf")
    [found], [passed] = look(tmp_path)
    assert found.name == "good"
    assert passed.where == str(path)
    assert "broken.gguf" in passed.reason
    assert passed.hint


def test_broken_folders_are_passed_over_with_the_reason(tmp_path: Path) -> None:
    folder_model(tmp_path / "a")
    put(tmp_path / "a" / "config.json", b"{")
    put(folder_model(tmp_path / "b") / "model.safetensors", weights()[:-4])
    found, passed_over = look(tmp_path)
    assert found == []
    assert sorted(Path(each.where).name for each in passed_over) == ["a", "b"]


@pytest.mark.parametrize("ending", [".part", ".incomplete", ".crdownload", ".aria2"])
def test_unfinished_downloads_are_told(tmp_path: Path, ending: str) -> None:
    put(tmp_path / f"big.gguf{ending}")
    found, [passed] = look(tmp_path)
    assert found == []
    assert "not finished" in passed.reason


def test_other_files_and_image_generators_are_left_alone(tmp_path: Path) -> None:
    put(tmp_path / "notes.txt", b"hello")
    put(tmp_path / "config.json", b"{}")
    put(tmp_path / "flux" / "model_index.json", b"{}")
    folder_model(tmp_path / "flux" / "text_encoder")
    put(tmp_path / ".git" / "objects" / "x.gguf")
    assert names(tmp_path) == []


def test_links_in_circles_and_links_to_nowhere(tmp_path: Path) -> None:
    put(tmp_path / "a" / "one.gguf")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "self.gguf").symlink_to(tmp_path / "self.gguf")
    (tmp_path / "gone.gguf").symlink_to(tmp_path / "nothing")
    found, passed_over = look(tmp_path)
    assert [each.name for each in found] == ["one"]
    assert sorted(Path(each.where).name for each in passed_over) == ["gone.gguf", "self.gguf"]


def test_a_linked_folder_and_a_linked_file_are_followed(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere" / "one.gguf")
    blob = put(tmp_path / "elsewhere" / "blobs" / "0123")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "models" / "two.gguf").symlink_to(blob)
    assert names(tmp_path / "models") == ["one", "two"]


def test_a_folder_that_is_missing_or_closed(tmp_path: Path) -> None:
    _, [passed] = look(tmp_path / "none")
    assert "There is no folder" in passed.reason
    assert looked_at([tmp_path / "none"], caches=False) == set()
    assert looked_at([tmp_path], caches=False) == {str(tmp_path)}


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may look into every folder: closed folders are not tested")
def test_a_closed_folder_is_told(tmp_path: Path) -> None:
    put(tmp_path / "closed" / "a.gguf")
    (tmp_path / "closed").chmod(0)
    _, [passed] = look(tmp_path)
    assert "cannot be looked into" in passed.reason


def test_a_folder_that_fails_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "closed" / "a.gguf")
    put(tmp_path / "b.gguf")
    real = os.scandir

    def scandir(folder: Path) -> object:
        if Path(folder).name == "closed":
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    [found], [passed] = look(tmp_path)
    assert found.name == "b"
    assert "Permission denied" in passed.reason


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are read from now on."""
    reads: list[Path] = []
    real: Callable[[Path], object] = scan.read_model

    def read(path: Path) -> object:
        reads.append(path)
        return real(path)

    monkeypatch.setattr(scan, "read_model", read)
    return reads


def test_unchanged_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = counted(monkeypatch)
    good, bad = put(tmp_path / "good.gguf"), put(tmp_path / "bad.gguf", b"no")
    first = look(tmp_path)
    assert look(tmp_path) == first
    assert len(reads) == 2
    put(bad)
    found, passed_over = look(tmp_path)
    assert (len(found), passed_over) == (2, [])
    assert reads[2:] == [bad]
    os.utime(good, (1, 1))
    look(tmp_path)
    assert reads[3:] == [good]


async def test_a_later_run_does_not_read_unchanged_files_again(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "models" / "a.gguf")
    found, passed_over, places = await registry.look([tmp_path / "models"], caches=False)
    assert (passed_over, places) == ([], {str(tmp_path / "models")})
    await registry.reconcile(found, sources=places)
    monkeypatch.setattr(scan, "_memory", {})
    reads = counted(monkeypatch)
    later = Registry(registry._database)
    assert (await later.look([tmp_path / "models"], caches=False))[0] == found
    assert reads == []
    assert (await later.reconcile(found, sources=places)).changed == []


async def test_what_was_passed_over_is_told_among_the_absences(registry: Registry, tmp_path: Path) -> None:
    put(tmp_path / "models" / "bad.gguf", b"")
    await registry.look([tmp_path / "models"], caches=False)
    [absence] = await registry.absences()
    assert not absence.listed
    assert "bad.gguf" in absence.reasons[0]


def test_models_of_the_hugging_face_cache(cache: Path) -> None:
    safetensors = {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": weights()}
    repository(cache, "org/Tiny", safetensors)
    repository(cache, "org/Tiny-GGUF", {"Tiny-Q4.gguf": GGUF, "sub/Q8_0.gguf": gguf_bytes({})})
    repository(cache, "org/embed-only", {"README.md": b"x"})
    (cache / "datasets--org--data" / "snapshots" / "a").mkdir(parents=True)
    found, passed_over = find_models([], caches=True)
    assert passed_over == []
    by_name = {each.name: each for each in found}
    assert set(by_name) == {"org/Tiny", "Tiny-Q4", "Tiny-GGUF-Q8_0"}
    assert {each.source for each in found} == {"hf_cache"}
    assert by_name["org/Tiny"].hf_path == "org/Tiny"
    assert by_name["Tiny-Q4"].hf_path == "org/Tiny-GGUF/Tiny-Q4.gguf"
    assert by_name["Tiny-Q4"].digest == f"sha256:{len(GGUF):064x}"
    assert str(cache) in looked_at([], caches=True)


def test_only_the_newest_state_of_a_repository_counts(cache: Path) -> None:
    repository(cache, "org/M", {"old.gguf": GGUF}, revision="1", main=False)
    folder = repository(cache, "org/M", {"new.gguf": GGUF}, revision="2")
    assert [each.name for each in find_models([], caches=True)[0]] == ["new"]
    put(folder / "refs" / "main", b"1")
    assert [each.name for each in find_models([], caches=True)[0]] == ["old"]
    (folder / "refs" / "main").unlink()
    os.utime(folder / "snapshots" / "1", (1, 1))
    assert [each.name for each in find_models([], caches=True)[0]] == ["new"]


@pytest.mark.parametrize("files", [{}, {"config.json": json.dumps(CONFIG).encode()}])
def test_an_unfinished_download_of_the_cache(cache: Path, files: dict[str, bytes]) -> None:
    folder = repository(cache, "org/Tiny", files)
    put(folder / "blobs" / "1234.incomplete", b"x")
    found, [passed] = find_models([], caches=True)
    assert found == []
    assert passed.reason == "The download of “org/Tiny” is not finished."


def test_a_cache_inside_a_folder_is_known_for_what_it_is(tmp_path: Path) -> None:
    repository(tmp_path / "hub", "org/Tiny-GGUF", {"Tiny-Q4.gguf": GGUF})
    [found], _ = look(tmp_path)
    assert (found.source, found.hf_path) == ("hf_cache", "org/Tiny-GGUF/Tiny-Q4.gguf")


@pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "HF_HOME"])
def test_the_cache_may_be_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, str(tmp_path))
    where = tmp_path / "hub" if variable == "HF_HOME" else tmp_path
    repository(where, "org/Tiny-GGUF", {"Tiny-Q4.gguf": GGUF})
    assert [each.name for each in find_models([], caches=True)[0]] == ["Tiny-Q4"]


def test_models_of_lm_studio(own_surroundings: Path, tmp_path: Path) -> None:
    put(own_surroundings / ".lmstudio" / "models" / "maker" / "Tiny-GGUF" / "Tiny-Q4.gguf")
    put(tmp_path / "chosen" / "maker" / "Other" / "Other-Q4.gguf")
    put(
        own_surroundings / ".lmstudio" / "settings.json", json.dumps({"downloadsFolder": f"{tmp_path}/chosen"}).encode()
    )
    found, _ = find_models([], caches=True)
    assert sorted((each.name, each.source) for each in found) == [("Other-Q4", "lm_studio"), ("Tiny-Q4", "lm_studio")]


async def test_a_cached_model_can_be_added_by_its_name(registry: Registry, cache: Path) -> None:
    repository(cache, "org/Tiny", {"config.json": json.dumps(CONFIG).encode(), "model.safetensors": weights()})
    repository(cache, "org/Tiny-GGUF", {"Tiny-Q4.gguf": GGUF})
    view = await registry.add(ModelCreate(model_name="a", hf_path="org/Tiny"))
    assert (view.backend, view.hf_path, view.format) == ("vllm", "org/Tiny", "safetensors")
    for name, hf_path in (("b", "org/Tiny-GGUF/Tiny-Q4.gguf"), ("c", "org/Tiny-GGUF")):
        view = await registry.add(ModelCreate(model_name=name, hf_path=hf_path))
        assert (view.backend, Path(view.path or "").name) == ("embedded", "Tiny-Q4.gguf")


@pytest.mark.parametrize("name", ["", "x", "org/none", "../..", "a/../b", "a/b\0"])
def test_names_that_the_cache_does_not_have(cache: Path, name: str) -> None:
    cache.mkdir(parents=True)
    assert cached_model(name) is None
