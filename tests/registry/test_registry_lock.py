"""Version locks: the first check adopts, a later one tells what changed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from quarterdeck.errors import AppError
from quarterdeck.registry import lock as lock_module
from quarterdeck.registry.models import Registry
from quarterdeck.schemas.discovery import FoundModel
from quarterdeck.schemas.models import ModelCreate

OLLAMA = "http://127.0.0.1:11434"


@pytest.fixture
async def model(registry: Registry, write_model: Any) -> Path:
    path = Path(write_model())
    await registry.add(ModelCreate(model_name="tiny", path=str(path)))
    await registry.lock("tiny")
    return path


def change_byte(path: Path, at: int = -1) -> None:
    """Change one byte; size and time of change stay as they were."""
    stat = path.stat()
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


async def violated(call: Any) -> str:
    with pytest.raises(AppError) as caught:
        await call
    assert (caught.value.code, caught.value.status) == ("version_lock_violation", 409)
    assert caught.value.hint
    return caught.value.sentence


async def test_the_first_check_adopts_and_a_changed_byte_is_found(registry: Registry, model: Path) -> None:
    assert (await registry.get("tiny")).locked
    assert (await registry.get("tiny")).expected_hash is None
    view = await registry.verify("tiny")
    assert view.expected_hash == hashlib.sha256(model.read_bytes()).hexdigest()
    await registry.verify("tiny")
    change_byte(model)
    sentence = await violated(registry.verify("tiny"))
    assert "“tiny.gguf” has another content" in sentence
    assert (await registry.get("tiny")).expected_hash == view.expected_hash


async def test_another_size_and_a_missing_file_are_named(registry: Registry, model: Path) -> None:
    await registry.verify("tiny")
    with model.open("ab") as file:
        file.write(b"more")
    assert "has another size" in await violated(registry.verify("tiny"))
    model.unlink()
    with pytest.raises(AppError) as caught:
        await registry.verify("tiny")
    assert caught.value.code == "file_missing"


async def test_before_a_load_only_a_changed_file_is_read(
    registry: Registry, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registry.check_lock("tiny")
    await registry.verify("tiny")
    reads: list[Path] = []
    real = lock_module.Hashing.files

    def files(self: lock_module.Hashing, path: Path) -> Any:
        reads.append(path)
        return real(self, path)

    monkeypatch.setattr(lock_module.Hashing, "files", files)
    await registry.check_lock("tiny")
    assert reads == []
    os.utime(model, (1, 1))
    await registry.check_lock("tiny")
    await registry.check_lock("tiny")
    assert reads == [model]
    change_byte(model)
    os.utime(model, (2, 2))
    await violated(registry.check_lock("tiny"))


async def test_unlocking_forgets_what_was_expected(registry: Registry, model: Path) -> None:
    await registry.verify("tiny")
    change_byte(model)
    view = await registry.unlock("tiny")
    assert (view.locked, view.expected_hash) == (False, None)
    os.utime(model, (1, 1))
    await registry.check_lock("tiny")
    await registry.lock("tiny")
    assert (await registry.verify("tiny")).expected_hash == hashlib.sha256(model.read_bytes()).hexdigest()


def weights(seed: int) -> bytes:
    header = json.dumps(
        {"w": {"dtype": "F16", "shape": [8], "data_offsets": [0, 16]}, "__metadata__": {"s": str(seed)}}
    )
    return struct.pack("<Q", len(header)) + header.encode() + bytes(16)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda folder: (folder / "config.json").write_text('{"model_type": "llama", "x": 1}'), "“config.json” has"),
        (lambda folder: (folder / "model.safetensors").write_bytes(weights(2)), "“model.safetensors” has"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "“tokenizer.json” is gone"),
        (lambda folder: (folder / "chat_template.jinja").write_text("x"), "“chat_template.jinja” is new"),
    ],
)
async def test_a_folder_of_safetensors(registry: Registry, tmp_path: Path, change: Any, word: str) -> None:
    folder = tmp_path / "hf"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights(1))
    await registry.add(ModelCreate(model_name="hf", path=str(folder)))
    await registry.lock("hf")
    await registry.verify("hf")
    await registry.check_lock("hf")
    change(folder)
    assert word in await violated(registry.verify("hf"))
    assert word in await violated(registry.check_lock("hf"))


async def test_a_split_model_counts_with_all_its_parts(registry: Registry, write_model: Any) -> None:
    from gguf_writer import CHAT_FACTS, Tensor

    first = write_model("big-00001-of-00002.gguf", facts={**CHAT_FACTS, "split.count": 2, "split.no": 0})
    second = write_model(
        "big-00002-of-00002.gguf", facts={"split.count": 2, "split.no": 1}, architecture=None,
        tensors=(Tensor("b", (100,)),),
    )  # fmt: skip
    await registry.add(ModelCreate(model_name="big", path=str(first)))
    await registry.lock("big")
    await registry.verify("big")
    change_byte(second)
    assert "big-00002-of-00002.gguf" in await violated(registry.verify("big"))


async def test_a_model_of_ollama_is_compared_by_its_digest(registry: Registry) -> None:
    def found(digest: str) -> FoundModel:
        return FoundModel(name="a", source="ollama", backend="ollama", url=OLLAMA, digest=digest)  # type: ignore[arg-type]

    await registry.reconcile([found("1")], sources=[OLLAMA])
    await registry.lock("a")
    assert (await registry.verify("a")).expected_hash == "1"
    await registry.check_lock("a")
    await registry.reconcile([found("2")], sources=[OLLAMA])
    await violated(registry.check_lock("a"))
    await violated(registry.verify("a"))


async def test_a_server_that_tells_no_version(registry: Registry) -> None:
    await registry.add(ModelCreate(model_name="far", url="http://127.0.0.1:1"))
    with pytest.raises(AppError) as caught:
        await registry.verify("far")
    assert (caught.value.code, caught.value.status) == ("nothing_to_verify", 409)
    await registry.check_lock("far")


async def test_unknown_models(registry: Registry) -> None:
    for call in (registry.lock, registry.unlock, registry.verify, registry.check_lock):
        with pytest.raises(AppError) as caught:
            await call("none")
        assert caught.value.code == "unknown_model"


async def test_progress_is_told_to_the_end(registry: Registry, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "_PIECE", 1000)
    told: list[float] = []
    await registry.verify("tiny", told.append)
    assert told == sorted(told)
    assert len(told) > 3
    assert told[-1] == 1.0


async def test_a_cancelled_check_stops_reading(
    registry: Registry, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_module, "_PIECE", 100)
    started, go_on, told = threading.Event(), threading.Event(), []

    def progress(share: float) -> None:
        told.append(share)
        started.set()
        go_on.wait(10)

    checking = asyncio.ensure_future(registry.verify("tiny", progress))
    await asyncio.to_thread(started.wait, 10)
    checking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await checking
    go_on.set()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert told[-1] < 1.0
    assert (await registry.get("tiny")).expected_hash is None
